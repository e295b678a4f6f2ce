"""The rows of the table, the subject that they run on, and the comparison of their two sides."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from diffusion.denoisers import Denoiser
from diffusion.derivation.c10_how_good import (
    ROUNDING,
    SEED,
    Recorded,
    mean_and_error,
    some_timesteps,
    z_score,
)
from diffusion.exact import DataDenoiser
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule

Kind = Literal["A", "B", "C", "D"]
Measure = Literal["absolute", "relative", "standard_errors"]
Relation = Literal["=", "≤", "≥"]
MOST_TIMESTEPS = 1000  # at most, in forming all pairs
LEAST_NATS = 1e-3  # per dimension: a KL is a difference of numbers near 1, so rounding decides below it


@dataclass(frozen=True, eq=False)
class Subject:
    """The denoiser and the pictures that the rows run on.

    denoiser: of x_t alone (c10_how_good.without_class), for batches of any size. training, held_out: (N, C, H, W) in
    [-1, 1] on the 8-bit grid, in the order of the checkpoint's reference/; the recorded values belong to these
    pictures. recorded: by name, see c10_how_good.quality; None if nothing is recorded. seed: of the noise, except in
    row 17.
    """

    denoiser: Denoiser
    training: Tensor
    held_out: Tensor
    recorded: Mapping[str, Recorded] | None = None
    seed: int = SEED

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @cached_property
    def exact(self) -> DataDenoiser:
        """The exact denoiser of the training pictures."""
        return DataDenoiser(self.training, self.schedule)

    def generators(self, count: int) -> list[torch.Generator]:
        """Return `count` generators of noise from `seed`, one per picture."""
        return image_generators(self.seed, count)


class Found(NamedTuple):
    """Both sides of an identity at one place, and their difference in the row's measure.

    relation: of left to right; the difference says how far it is violated. standard_error: of left - right, where it is
    the measure. width: of an interval around right within which left agrees.
    """

    left: float
    right: float
    difference: float
    relation: Relation = "="
    standard_error: float | None = None
    width: float = 0.0


@dataclass(frozen=True)
class Row:
    """A claim. key: its name in the texts. check: yields both sides at every place where they are compared.

    The formulas that a check compares are its keyword arguments, so that a test can pass a wrong one.
    """

    number: int
    kind: Kind
    key: str
    measure: Measure
    tolerance: float
    check: Callable[..., Iterator[Found]]


def all_pairs(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """Return all t, s with -1 <= s < t, among all timesteps or 1,000 evenly spread ones: (P,) int64 each."""
    visited = torch.tensor([-1, *some_timesteps(schedule, MOST_TIMESTEPS, first=0)])
    later, earlier = torch.tril_indices(len(visited), len(visited), offset=-1)
    return visited[later], visited[earlier]


def absolute(left: Tensor | float, right: Tensor | float) -> Found:
    left, right = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (left, right)))
    return _worst(left, right, (left - right).abs())


def relative(left: Tensor | float, right: Tensor | float, least: float = 1e-300) -> Found:
    """Compare by the largest relative difference. least: smaller numbers count as this size, being mostly rounding."""
    left, right = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (left, right)))
    size = torch.maximum(left.abs(), right.abs()).clamp(min=least)
    return _worst(left, right, (left - right).abs() / size)


def _worst(left: Tensor, right: Tensor, difference: Tensor) -> Found:
    k = difference.flatten().argmax()
    return Found(*(x.flatten()[k].item() for x in (left, right, difference)))


def in_errors(left: Tensor, right: Tensor) -> Found:
    """Compare the means of paired draws (n,), which should be equal, in standard errors of their difference."""
    rounding = ROUNDING * max(left.abs().mean().item(), right.abs().mean().item())
    _, error = mean_and_error(left - right)
    z = abs(z_score(left - right, rounding))
    return Found(left.mean().item(), right.mean().item(), z, standard_error=math.hypot(error, rounding))
