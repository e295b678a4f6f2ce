"""A grid of runs over one to three fields of their settings: its values, its cells, and the runs themselves.

A grid over the number of steps is many runs, each from noise to its own picture, not snapshots of one run. Runs, here
and in diffusion/experiments/frontier.py, are a list of jobs, the cheap ones first.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from diffusion.errors import AxisError, FieldError
from diffusion.experiments.axes import MAX_AXES, MAX_CELLS, Axis
from diffusion.pipeline import DDPMLabPipeline
from diffusion.plan import Plan
from diffusion.samplers.registry import suited_spacing
from diffusion.sampling import Step
from diffusion.settings import SETTINGS, SamplingSettings


def varied(base: SamplingSettings, changes: Mapping[str, Any]) -> SamplingSettings:
    """Return the base with some fields changed; fields that a change leaves without a meaning get their defaults.

    So a grid over samplers and eta has a row of ddpm, which reads no eta, and a grid over classes has a row without a
    class, and so without guidance. Where the sampler changes, the timestep spacing follows it: see `suited_spacing`.
    Raises FieldError.
    """
    fields = dict(base) | dict(changes)
    if "sampler" in changes and "timestep_spacing" not in changes:
        fields["timestep_spacing"] = suited_spacing(changes["sampler"], base.timestep_spacing)
    for name, setting in SETTINGS.items():
        if setting.when and setting.when.on in changes and not setting.applies(fields):
            fields[name] = setting.default
    return SamplingSettings(**fields)


def same_pictures(plan: Plan) -> SamplingSettings:
    """Return equal settings for all plans of a checkpoint that make the same pictures in different words."""
    facts, changes = plan.settings.facts, {}
    for name, setting in SETTINGS.items():
        if not setting.holds(facts):
            changes[name] = setting.default
        elif setting.cached_as:
            changes[name] = setting.cached_as.value(plan)
    return plan.settings.replace(**changes)


@dataclass(frozen=True, eq=False)
class Cell:
    """A run of a grid. place: the index of its value on each axis."""

    place: tuple[int, ...]
    pipeline: DDPMLabPipeline
    plan: Plan

    def values(self, axes: Sequence[Axis]) -> list:
        """Return the values of this cell on the axes."""
        return [axis.values[k] for axis, k in zip(axes, self.place, strict=True)]


def cells_of(
    axes: Sequence[Axis], planned: Callable[[dict[str, Any]], tuple[DDPMLabPipeline, Plan]]
) -> tuple[Cell, ...]:
    """Return every cell of a grid, the first axis fastest.

    planned: the fields of a cell that the axes set -> its pipeline and plan. Raises AxisError for a value of an axis,
    and FieldError for errors that no axis causes.
    """
    if not 1 <= len(axes) <= MAX_AXES:
        raise FieldError("axes", "axes", most=MAX_AXES, got=len(axes))
    for k, axis in enumerate(axes):
        if axis.field in [other.field for other in axes[:k]]:
            raise AxisError(axis.name, None, FieldError(axis.field, "axis_twice"))
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_CELLS:
        raise FieldError("axes", "cells", most=MAX_CELLS, got=count)
    cells = []
    for place in product(*(range(len(axis.values)) for axis in reversed(axes))):
        place = place[::-1]
        changes = {axis.field: axis.values[k] for axis, k in zip(axes, place, strict=True)}
        try:
            cells.append(Cell(place, *planned(changes)))
        except FieldError as error:
            raise located(error, axes, place) from None
    return tuple(cells)


def located(error: FieldError, axes: Sequence[Axis], place: Sequence[int]) -> FieldError:
    """Convert a cell's error to that of the first axis whose field it names; return other errors unchanged."""
    for axis, k in zip(axes, place, strict=True):
        if axis.field in error.fields:
            return AxisError(axis.name, k + 1, error)
    return error


# Running -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Job:
    """Runs of one network that lead to one result.

    key: of the result; jobs with equal keys have equal results. plans: of the runs. result: maps the pictures of all
    runs together, (N, C, H, W) float32, to the result.
    """

    key: Hashable
    pipeline: DDPMLabPipeline
    plans: tuple[Plan, ...]
    result: Callable[[Tensor], Any]

    @property
    def calls(self) -> int:
        """Number of network calls."""
        return sum(plan.calls for plan in self.plans)

    @property
    def evaluations(self) -> int:
        """Number of pictures that go through the network."""
        return sum(plan.evaluations for plan in self.plans)


def pictures_job(pipeline: DDPMLabPipeline, plan: Plan, version: str = "") -> Job:
    """Return the job of one run, whose result is its final pictures. version: of the checkpoint, if it can change."""
    return Job((version, same_pictures(plan)), pipeline, (plan,), lambda x: x)


@dataclass(frozen=True, eq=False)
class JobStep:
    """A job after a step. calls: network calls so far. taken: calls of this step. result: only after the last step."""

    job: Job
    calls: int
    taken: int
    step: Step
    is_last: bool
    result: Any = None


def cheap_first(jobs: Iterable[Job]) -> list[Job]:
    """Return one job per result, those with the least work first."""
    return sorted({job.key: job for job in jobs}.values(), key=lambda job: job.evaluations)


def run_jobs(jobs: Iterable[Job]) -> Iterator[JobStep]:
    """Run the jobs in order, one step at a time; a caller that stops iterating has the results so far."""
    for job in jobs:
        calls, pictures = 0, []
        for plan in job.plans:
            for step in job.pipeline.steps(plan):
                taken = plan.sampler.calls_of(step.s)
                calls += taken
                if calls < job.calls:
                    yield JobStep(job, calls, taken, step, is_last=False)
            pictures.append(step.x_s)
        yield JobStep(job, calls, taken, step, is_last=True, result=job.result(torch.cat(pictures)))
