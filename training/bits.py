"""Bits per dimension and noise-prediction error of a checkpoint on the test pictures of its reference/.

Bits per dimension estimate an upper bound; lower is better. Nothing but the checkpoint folder is needed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.bound import (
    BoundEstimate,
    StepError,
    bits_per_dim,
    estimate,
    join,
    measure,
    prior_nats,
    reverse_variances,
)
from diffusion.bound_plan import BoundPlan
from diffusion.denoisers import NetworkDenoiser
from diffusion.objective import training_loss
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_unit_range
from diffusion.sampling import image_generators, noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps
from training.data import DataError, Pictures

VARIANCES = ("posterior", "beta")
QUARTILES = 4


@dataclass(frozen=True)
class Bits:
    """Estimate of the upper bound in bits per dimension, its standard error over pictures and noise, and its floor.

    floor_bpd: the cost of the fixed reverse variance alone, to a network that predicts every x_0 exactly.
    """

    bpd: float
    standard_error_bpd: float
    floor_bpd: float


@dataclass(frozen=True)
class BitsFound:
    """Result of `measure_bits`: the bits by reverse variance, and the errors by noise level.

    eps_mse: mean squared error of the predicted noise in each quarter of [0, T), the least noisy first.
    """

    pictures: int
    evaluations: int
    seed: int
    conditional: bool
    bits: dict[str, Bits]
    eps_mse: list[float]


def measure_bits(folder: Path, pictures: int = 256, evaluations: int = 64, batch: int = 64, seed: int = 0) -> BitsFound:
    """Measure a checkpoint on `pictures` of its test pictures, each with its own label if there are classes.

    evaluations: network calls per picture, a stratified subset of the T terms (64 or more; all T if there are fewer).
    Raises ValueError, naming the argument, and DataError if the checkpoint has too few reference pictures.
    """
    if pictures < 2:
        raise ValueError(f"pictures: must be at least 2 for a standard error, got {pictures}")
    pipeline = DDPMLabPipeline.from_checkpoint(folder).fast()
    test = Pictures.read(folder / "reference" / "test.npz").take(pictures)
    if len(test) < 2:
        raise DataError(f"{folder.name}: a standard error needs at least 2 held-out pictures, there is {len(test)}")
    x_0 = to_unit_range(test.images)
    labels = torch.from_numpy(test.labels) if pipeline.classes else None
    schedule = NoiseSchedule.from_scheduler_config(pipeline.scheduler.config)
    timesteps = visited_timesteps(len(schedule), len(schedule))
    plan = BoundPlan.stratified(schedule, timesteps, evaluations, decoder_draws=2, seed=seed)
    generators = image_generators(seed, len(x_0))

    measured, eps_mse = [], []
    for start in tqdm(range(0, len(x_0), batch), desc="test pictures", leave=False):
        part = slice(start, start + batch)
        own = None if labels is None else labels[part]
        prediction_type, engine = pipeline.scheduler.config.prediction_type, pipeline.engine
        denoiser = NetworkDenoiser(pipeline.unet, schedule, prediction_type, own, engine=engine)
        measured.append(list(measure(denoiser, x_0[part], plan, generators[part])))
        eps_mse.append(_eps_mse_by_quartile(pipeline, schedule, x_0[part], own, generators[part]))
    errors = join(measured)
    prior = prior_nats(x_0, timesteps[0], schedule)
    return BitsFound(
        pictures=len(x_0),
        evaluations=len(plan.evaluations),
        seed=seed,
        conditional=labels is not None,
        bits={variance: _bits(plan, prior, errors, variance) for variance in VARIANCES},
        eps_mse=torch.cat(eps_mse, dim=1).mean(1).tolist(),
    )


def _bits(plan: BoundPlan, prior: Tensor, errors: list[StepError], variance: str) -> Bits:
    variances = reverse_variances(plan, variance)
    bound: BoundEstimate = estimate(plan, prior, errors, variances)
    knowing = [replace(e, x_0_mse=torch.zeros_like(e.x_0_mse), x_0_hat=e.x_0) for e in errors]
    floor = estimate(plan, prior, knowing, variances)
    return Bits(bound.bpd, bound.standard_error_bpd, bits_per_dim(floor.nats.mean().item(), floor.dims))


@torch.no_grad()
def _eps_mse_by_quartile(pipeline, schedule, x_0: Tensor, labels: Tensor | None, generators) -> Tensor:
    """Mean squared error of the predicted noise, (4, B): each picture in each quarter of [0, T), at a t of its own."""
    rows, quarter = [], len(schedule) / QUARTILES
    for q in range(QUARTILES):
        uniforms = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        t = ((q + uniforms) * quarter).long().clamp(max=len(schedule) - 1)
        eps = noise_like(x_0, generators)
        prediction_type = pipeline.scheduler.config.prediction_type
        terms = training_loss(pipeline.unet, x_0, t, eps, schedule, prediction_type, class_labels=labels)
        rows.append(terms.eps_mse)
    return torch.stack(rows)
