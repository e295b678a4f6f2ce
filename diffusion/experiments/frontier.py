"""Quality against cost: how good a sampler's pictures are after a given number of network calls.

A deterministic sampler maps an x_T to one picture, which more steps only approximate better. Its error is the distance
to DDIM's result with all T steps from the same x_T, since all of them solve one equation. Fresh noise leads elsewhere
at every step count, so that distance means nothing there: what counts is whether the pictures together look like the
data, which KID measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from diffusion.errors import AxisError, FieldError
from diffusion.experiments.axes import LEAST_SAMPLES, MOST_SAMPLES, Axis
from diffusion.experiments.comparison import rms
from diffusion.experiments.grid import Job, located, pictures_job, same_pictures, varied
from diffusion.metrics.distances import kid_of_few, shuffled
from diffusion.metrics.features import FeatureSpace
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_uint8
from diffusion.samplers.registry import reads
from diffusion.settings import SamplerName, SamplingSettings

BATCH = 64


@dataclass(frozen=True)
class Point:
    """One measurement; lower is better.

    measure: "rms", between pictures in [-1, 1]; or "kid", in the checkpoint's feature space, which is unbiased and so
    can come out below 0. calls: network calls of one run. standard_error: over the n pictures; None for a single one.
    """

    sampler: SamplerName
    eta: float
    calls: int
    measure: Literal["rms", "kid"]
    value: float
    standard_error: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Measurement:
    """A point to measure, with the jobs that it needs. reference: DDIM's run of all steps, for a deterministic sampler.

    Without a reference, the point is KID.
    """

    settings: SamplingSettings
    job: Job
    reference: Job | None

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs that must run."""
        return (self.job,) if self.reference is None else (self.job, self.reference)

    def point(self, found: Mapping) -> Point | None:
        """Return the point if `found`, results by key, holds those of all its jobs; else None."""
        if any(job.key not in found for job in self.jobs):
            return None
        run = self.settings.sampler, self.settings.effective_eta, self.job.plans[0].calls
        if self.reference is None:
            return Point(*run, "kid", *found[self.job.key])
        x, all_steps = found[self.job.key], found[self.reference.key]
        return Point(*run, "rms", rms(x - all_steps), _rms_error(x - all_steps), len(x))


def sampler_of(base: SamplingSettings, sampler: str | float) -> SamplingSettings:
    """Return the base with the sampler that an axis value means: a name, or a number for DDIM with that eta.

    DDIM by its name has eta 0, and the number 1 is DDPM (with the base's variance, if the base is DDPM too). Raises
    ValueError naming the field.
    """
    if isinstance(sampler, str):
        name = sampler.lower()
        return varied(base, {"sampler": name, "eta": 0.0 if reads(name, "eta") else None})
    ddim = varied(base, {"sampler": "ddim", "eta": sampler})
    return varied(base, {"sampler": "ddpm"}) if sampler == 1 else ddim


def measurements(
    pipeline: DDPMLabPipeline, base: SamplingSettings, steps: Axis, samplers: Axis, samples: int,
    space: FeatureSpace | None, version: str = "",
) -> list[Measurement]:  # fmt: skip
    """Return what to measure for these samplers (see sampler_of) at these step counts.

    base: all other settings of the runs. Distances are measured on its pictures. KID takes `samples` pictures instead,
    each of a class drawn at random if the base names any, since the data hold all classes; without a feature space it
    is left out. Raises AxisError for a value of an axis, FieldError for the rest.
    """
    if type(samples) is not int or not LEAST_SAMPLES <= samples <= MOST_SAMPLES:
        raise FieldError.of("samples", "within", samples, range=f"[{LEAST_SAMPLES}, {MOST_SAMPLES}]")
    if base.start_step:
        raise FieldError("start_step", "whole_way", got=base.start_step)
    found = []
    for place in product(range(len(samplers.values)), range(len(steps.values))):
        try:
            own = sampler_of(base, samplers.values[place[0]])
        except FieldError as error:
            raise AxisError(samplers.name, place[0] + 1, error) from None
        try:
            own = own.replace(num_inference_steps=steps.values[place[1]])
            plan = pipeline.plan(own)
        except FieldError as error:
            raise located(error, (steps,), place[1:]) from None
        if own.effective_eta == 0:
            all_steps = sampler_of(own, 0.0).replace(
                num_inference_steps=pipeline.num_train_timesteps, timestep_spacing="trailing"
            )
            reference = pictures_job(pipeline, pipeline.plan(all_steps), version)
            found.append(Measurement(own, pictures_job(pipeline, plan, version), reference))
        elif space is not None:
            job = kid_job(pipeline, _samples_of(own, samples, pipeline.classes), space, version)
            found.append(Measurement(own, job, None))
    return found


def kid_job(pipeline: DDPMLabPipeline, settings: SamplingSettings, space: FeatureSpace, version: str = "") -> Job:
    """Return the job whose result is the KID of a run's pictures, its standard error, and their number."""

    def measured(x: Tensor) -> tuple[float, float, int]:
        return *kid_of_few(shuffled(space.real, seed=0), space.features(to_uint8(torch.nan_to_num(x)))), len(x)

    count = settings.num_images
    parts = [settings.part(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    key = (version, space.record.get("sha256"), "kid", same_pictures(pipeline.plan(settings)))
    return Job(key, pipeline, tuple(pipeline.plan(part) for part in parts), measured)


def _samples_of(settings: SamplingSettings, count: int, classes: int) -> SamplingSettings:
    label: Any = None
    if settings.class_label is not None:
        generator = torch.Generator().manual_seed(settings.seed)
        label = tuple(torch.randint(classes, (count,), generator=generator).tolist())
    return settings.replace(num_images=count, class_label=label)


def _rms_error(x: Tensor) -> float | None:
    """Return the standard error of the root mean square, from that of the pictures' mean squares (delta method)."""
    if len(x) < 2:
        return None
    squares = x.double().square().flatten(1).mean(1)
    mean = squares.mean().item()
    return 0.0 if mean == 0 else (squares.std() / len(x) ** 0.5).item() / (2 * mean**0.5)
