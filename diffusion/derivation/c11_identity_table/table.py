"""What a row of the table is, what it runs on, and how its two sides are compared."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from diffusion.denoisers import Denoiser
from diffusion.derivation.c10_how_good import ROUNDING, SEED, Recorded, some_timesteps, z_score
from diffusion.exact import DataDenoiser
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule

Kind = Literal["A", "B", "C", "D"]
Measure = Literal["absolute", "relative", "standard_errors"]
MOST_TIMESTEPS = 1000  # of which all pairs are formed
LEAST_NATS = 1e-3  # per dimension: a KL is a difference of numbers near 1


@dataclass(frozen=True, eq=False)
class Subject:
    """What the rows run on.

    denoiser: of x_t alone (judging.without_class), for batches of any size. training, held_out: (N, C, H, W) in [-1, 1]
    on the 8-bit grid, of the checkpoint's reference/ as they stand there; the recorded values belong to these pictures.
    recorded: by name, see judging.quality; None where nothing is. seed: of the noise, but for that of row 17.
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
        """Knows the training pictures."""
        return DataDenoiser(self.training, self.schedule)

    def generators(self, count: int) -> list[torch.Generator]:
        """One a picture."""
        return image_generators(self.seed, count)


class Found(NamedTuple):
    """Two sides of an identity at one place, and how far apart they are, in the row's measure."""

    left: float
    right: float
    difference: float


@dataclass(frozen=True)
class Row:
    """A claim. key: names it in texts. check: yields both sides at every place where it is looked at.

    The formulas that a check holds against each other are its keyword arguments, so that a wrong one can be tried.
    """

    number: int
    kind: Kind
    key: str
    measure: Measure
    tolerance: float
    check: Callable[..., Iterator[Found]]


def all_pairs(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """All t, s with -1 <= s < t among all timesteps, or among 1,000 evenly spread ones. (P,) int64 each."""
    visited = torch.tensor([-1, *some_timesteps(schedule, MOST_TIMESTEPS, first=0)])
    later, earlier = torch.tril_indices(len(visited), len(visited), offset=-1)
    return visited[later], visited[earlier]


def absolute(left: Tensor | float, right: Tensor | float) -> Found:
    left, right = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (left, right)))
    return _worst(left, right, (left - right).abs())


def relative(left: Tensor | float, right: Tensor | float, least: float = 1e-300) -> Found:
    """least: numbers below it are compared as if they were of that size, which is where rounding has the word."""
    left, right = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (left, right)))
    size = torch.maximum(left.abs(), right.abs()).clamp(min=least)
    return _worst(left, right, (left - right).abs() / size)


def _worst(left: Tensor, right: Tensor, difference: Tensor) -> Found:
    k = difference.flatten().argmax()
    return Found(*(x.flatten()[k].item() for x in (left, right, difference)))


def in_errors(left: Tensor, right: Tensor) -> Found:
    """Means of paired draws (n,) that should be equal, in standard errors of their difference."""
    rounding = ROUNDING * max(left.abs().mean().item(), right.abs().mean().item())
    return Found(left.mean().item(), right.mean().item(), abs(z_score(left - right, rounding)))
