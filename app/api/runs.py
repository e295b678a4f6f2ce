"""The endpoints /generate, /compare and /schedule: the same settings as everywhere, and PNGs of the exact pixels."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from app.api.fields import fields_of, with_settings
from app.generate.run import watch_run
from app.server.limits import check_cost, check_images
from app.server.services import Services
from app.texts.messages import PageError
from app.ui.images import data_uri, picture, png
from app.ui.lazy_import import lazy_import
from diffusion.errors import PartError
from diffusion.random_seed import draw_seed, with_drawn_seed
from diffusion.settings import SETTINGS, SamplingSettings
from diffusion.sharing.recipe import Recipe

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline
    from diffusion.plan import Plan

comparisons, pairs = lazy_import("app.compare.run"), lazy_import("diffusion.experiments.comparison")

PROGRESS_SECONDS = 1.0


def make_generate(services: Services) -> Callable:
    """Return the function behind /generate."""

    def generate(*given, **named) -> tuple[list[str], dict]:
        """Draw pictures with a checkpoint, using one of the samplers.

        Args:
            SETTINGS

        Returns:
            The pictures as PNG data addresses at their own size, each with its recipe in the text chunk "ddpm-lab";
            and the run: settings, network evaluations, seconds. While it runs: no pictures, but step and steps.
        """
        yield from _generate(services, fields_of(generate, given, named))

    return with_settings(generate, SETTINGS.values())


def make_compare(services: Services) -> Callable:
    """Return the function behind /compare."""

    def compare(a: dict, b: dict) -> tuple[list[str], list[str], dict]:
        """Draw two runs side by side from the same first noise, and measure how far they diverge.

        Args:
            a: The settings of the first run: an object with the fields of /generate.
            b: The settings of the second run; its pictures must have the same size and number.

        Returns:
            The pictures of both runs as PNG data addresses, each with its recipe; and the findings: settings,
            evaluations and seconds of each run, whether they share the noise of each step, and "partings": for
            matching steps, the log SNR and the root mean square differences of the states x_t and of the guesses
            x_0_hat. While it runs: no pictures, but step and steps.
        """
        yield from _compare(services, a, b)

    return compare


def make_schedule(services: Services) -> Callable:
    """Return the function behind /schedule."""

    def schedule(*given, **named) -> dict:
        """Describe a run without running it: the timesteps that it visits, and the noise levels there.

        Args:
            SETTINGS

        Returns:
            timesteps; at each of them alphas_cumprod, log_snr_fed (of the pictures given to the network) and
            log_snr_told (that the network is conditioned on); signal_left at the first; on_trained_betas.
        """
        with said():
            settings = SamplingSettings(**fields_of(schedule, given, named))
            plan = services.catalogue.pipeline(settings.checkpoint).plan(settings)
        levels = plan.noise_levels
        return {
            "timesteps": [t for t, _ in plan.run_pairs],
            "alphas_cumprod": [plan.schedule.alphas_cumprod[t].item() for t, _ in plan.run_pairs],
            "log_snr_fed": (-2 * levels.actual).tolist(),
            "log_snr_told": (-2 * levels.conditioned).tolist(),
            "signal_left": plan.signal_left,
            "on_trained_betas": plan.on_trained_betas,
        }

    return with_settings(schedule, (one for one in SETTINGS.values() if one.decides_levels))


@contextmanager
def said() -> Iterator[None]:
    """Turn a ValueError, which says what is wrong with the request, into the answer; pass on every other exception."""
    try:
        yield
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _generate(services: Services, fields: dict):
    with said():
        settings = SamplingSettings(**with_drawn_seed(fields))
        pipeline, plan = _planned(services, settings)
        check_cost(services.options, plan)
        start = time.monotonic()
        for progress in watch_run(pipeline, plan, every_seconds=PROGRESS_SECONDS):
            if progress.state == "running":
                yield [], {"step": progress.done, "steps": progress.total}
        seconds = round(time.monotonic() - start, 3)
        run = {"settings": settings.model_dump(mode="json"), "evaluations": plan.evaluations, "seconds": seconds}
        yield pngs(pipeline, plan, progress.content.x_t), run


def _compare(services: Services, *runs: dict):
    with said():
        names = ("a", "b")
        seed = draw_seed()  # one for both, if both ask for a random one: they begin with the same noise
        settings = [settings_object(name, fields, seed) for name, fields in zip(names, runs, strict=True)]
        (a, plan_a), (b, plan_b) = planned = [_planned(services, one) for one in settings]
        comparisons.check_comparison(services, a, plan_a, b, plan_b)
        for progress in comparisons.watch_comparison(a, plan_a, b, plan_b, every_seconds=PROGRESS_SECONDS):
            if progress.state == "running":
                yield [], [], {"step": progress.done, "steps": progress.total}
        view = progress.content
        found = {
            name: {"settings": one.model_dump(mode="json"), "evaluations": plan.evaluations, "seconds": round(took, 3)}
            for name, one, (_, plan), took in zip(names, settings, planned, view.seconds, strict=True)
        }
        found["shares_step_noise"] = pairs.shares_step_noise(plan_a, plan_b)
        found["partings"] = [asdict(one) for one in view.divergences]
        yield *(pngs(*run, x_t) for run, x_t in zip(planned, view.x_t, strict=True)), found


def settings_object(name: str, fields, drawn_seed: int | None = None) -> SamplingSettings:
    """Build the settings in the object sent as argument `name`. Raises FieldError naming the argument and the field.

    drawn_seed: in place of a seed of -1; by default a random one.
    """
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise PageError(name, "run_object")
    try:
        return SamplingSettings(**with_drawn_seed(fields, drawn_seed))
    except ValueError as error:
        raise PartError(name, error) from None


def _planned(services: Services, settings: SamplingSettings) -> "tuple[DDPMLabPipeline, Plan]":
    check_images(settings, services.options)
    pipeline = services.catalogue.quick_pipeline(
        settings.checkpoint
    )  # its engine is built where the run would wait anyway
    return pipeline, pipeline.plan(settings)


def pngs(pipeline: "DDPMLabPipeline", plan: "Plan", pixels: np.ndarray) -> list[str]:
    """Encode a whole run's pictures as PNG data addresses, each with its own recipe. pixels: (N, H, W, C) uint8."""
    settings, made_by = plan.settings, pipeline.denoiser(plan).description
    images = []
    for number, image in enumerate(pixels):
        part = settings.part(number, number + 1)
        recipe = Recipe.of(part, image[None], len(pixels), made_by)
        images.append(data_uri(png(picture(image), recipe, size=(image.shape[1], image.shape[0]))))
    return images
