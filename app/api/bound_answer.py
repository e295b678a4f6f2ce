"""Answer the endpoint /bound: measure the terms of a picture's bound on the network."""

import base64
import binascii
from collections import deque

import torch
from torch import Tensor

from app.maths.scene import Scene
from app.server.limits import check_evaluations
from app.server.network import in_network_thread
from app.server.services import Services
from app.texts.messages import PageError
from diffusion.bound_plan import BoundPlan
from diffusion.derivation.c06_every_term import Ledger, ledger
from diffusion.errors import FieldError
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import MAX_PICTURE_BYTES
from diffusion.trajectory import visited_timesteps

MOST_EVALUATIONS = 100_000  # more than any schedule has steps; as many as it has measure them all
DECODER_DRAWS = 4  # of L_0, the term with the largest scatter


def answer(
    services: Services,
    settings: SamplingSettings,
    picture: int,
    image: str | None,
    class_label: int | None,
    evaluations: int,
) -> dict:
    """Return the answer of /bound, whose docstring describes the arguments and fields.

    settings: has the checkpoint, seed and betas. Raises FieldError naming the argument.
    """
    pipeline = services.catalogue.pipeline(settings.checkpoint)
    scene = Scene(services.catalogue.checkpoint(settings.checkpoint), pipeline, pipeline.plan(settings))
    x_0, label = _asked(scene, picture, image, class_label)
    plan = _plan(scene, evaluations, settings.seed)
    check_evaluations(services.options, len(plan.evaluations))
    return _answer(in_network_thread(lambda: _measured(scene, x_0, label, plan, settings.seed)), label)


def _asked(scene: Scene, picture, image, class_label: int | None) -> tuple[Tensor, Tensor | None]:
    """Return the requested picture (1, C, H, W), and its label (1,) or None for no class."""
    if image is None:
        if class_label is not None:
            raise PageError("class_label", "class_of_image")
        pictures, labels = scene.test_pictures
        if isinstance(picture, bool) or not isinstance(picture, int) or not 1 <= picture <= len(pictures):
            raise FieldError.of("picture", "within", picture, range=f"[1, {len(pictures)}]")
        chosen = slice(picture - 1, picture)
        return pictures[chosen], None if labels is None or not scene.pipeline.classes else labels[chosen]
    if not isinstance(image, str) or len(image) > 2 * MAX_PICTURE_BYTES:
        raise PageError("image", "image_file", most=MAX_PICTURE_BYTES // 10**6)
    try:
        content = base64.b64decode(image.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError):
        raise PageError("image", "no_base64") from None
    return scene.own_picture(content, "image")[None], None if class_label is None else torch.tensor([class_label])


def _plan(scene: Scene, evaluations, seed: int) -> BoundPlan:
    if isinstance(evaluations, bool) or not isinstance(evaluations, int):
        raise FieldError.of("evaluations", "whole_number", evaluations)
    if not 1 <= evaluations <= MOST_EVALUATIONS:
        raise FieldError.of("evaluations", "within", evaluations, range=f"[1, {MOST_EVALUATIONS}]")
    timesteps = visited_timesteps(scene.T, scene.T)
    if evaluations >= scene.T:
        return BoundPlan.all_steps(scene.schedule, timesteps, DECODER_DRAWS)
    return BoundPlan.stratified(scene.schedule, timesteps, evaluations, decoder_draws=DECODER_DRAWS, seed=seed)


def _measured(scene: Scene, x_0: Tensor, label: Tensor | None, plan: BoundPlan, seed: int) -> Ledger:
    return deque(ledger(scene.denoiser(label), x_0, plan, [torch.Generator().manual_seed(seed)]), maxlen=1)[0]


def _answer(book: Ledger, label: Tensor | None) -> dict:
    return {
        "bits_per_dim": {
            kind: {"estimate": total.bpd, "standard_error": total.standard_error_bpd}
            for kind, total in book.totals.items()
        },
        "prior_bpd": book.prior_bpd,
        "decoder_bpd": {kind: book.decoder_bpd(kind) for kind in book.totals},
        "class_label": None if label is None else label.item(),
        "terms": [
            {"t": b.t, "s": b.s, "counts": b.counts, "x_0_mse": b.x_0_mse, "eps_mse": b.eps_mse, "bpd": b.bpd}
            for b in book.bars
        ],
    }
