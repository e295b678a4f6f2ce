"""The steps of a chain at which a bound is evaluated: all of them, or a stratified subset.

A subset estimates the sum over ALL steps of its chain. It does not stand for the chain of only those steps, which is
another sampler with a larger bound; for that one, use `BoundPlan.all_steps` with its timesteps.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from diffusion.errors import FieldError
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs

Pair = tuple[int, int]
DRAWS = 2  # the fewest that give a stratum a standard error


@dataclass(frozen=True)
class Stratum:
    """`size` neighbouring terms of the bound; only the steps (t, s) in `drawn` are evaluated.

    A stratum of one term can be drawn several times: the term is then evaluated with several noises.
    """

    size: int
    drawn: tuple[Pair, ...]


@dataclass(frozen=True)
class BoundPlan:
    """The evaluations of a bound. chain: all steps (t, s) of the sampler that the bound is for, from noisy to clean."""

    schedule: NoiseSchedule
    chain: tuple[Pair, ...]
    strata: tuple[Stratum, ...]

    @property
    def evaluations(self) -> tuple[Pair, ...]:
        """The steps at which the denoiser is called, stratum by stratum."""
        return tuple(pair for stratum in self.strata for pair in stratum.drawn)

    @classmethod
    def all_steps(cls, schedule: NoiseSchedule, timesteps: list[int], decoder_draws: int = 1) -> Self:
        """Plan every step of the chain over these timesteps, and L_0, whose variance is largest, decoder_draws times.

        Raises ValueError if decoder_draws < 1.
        """
        chain = _chain(timesteps, decoder_draws)
        return cls(schedule, chain, tuple(_single(pair, decoder_draws) for pair in chain))

    @classmethod
    def stratified(
        cls,
        schedule: NoiseSchedule,
        timesteps: list[int],
        evaluations: int = 64,
        exact_until: int = 20,
        decoder_draws: int = 1,
        seed: int = 0,
    ) -> Self:
        """Plan at most `evaluations` network calls, most densely where nearly all bits are.

        Every step with t <= exact_until is evaluated; the rest of the budget draws two steps from each of several
        strata, which widen with t. The draw is without replacement and depends on `seed` alone. Raises FieldError if
        `evaluations` is too small, and ValueError if decoder_draws < 1.
        """
        chain = _chain(timesteps, decoder_draws)
        exact = [pair for pair in chain if pair[0] <= exact_until or pair[1] == -1]
        rest = [pair for pair in chain if pair not in set(exact)][::-1]  # from clean to noisy, as the strata widen
        left = evaluations - len(exact) - (decoder_draws - 1)
        if len(rest) <= left:
            return cls.all_steps(schedule, timesteps, decoder_draws)
        if left < DRAWS:
            least = len(exact) + decoder_draws - 1 + DRAWS
            raise FieldError("evaluations", "evaluations", bound=least, got=evaluations)
        rng = np.random.default_rng(seed)
        strata = [_single(pair, decoder_draws) for pair in exact]
        edges = _widening_edges(len(rest), left // DRAWS, first=len(exact))
        for start, stop in pairwise(edges):
            chosen = sorted(rng.choice(stop - start, size=DRAWS, replace=False).tolist())
            strata.append(Stratum(stop - start, tuple(rest[start + k] for k in chosen)))
        return cls(schedule, chain, tuple(strata))


def _chain(timesteps: list[int], decoder_draws: int) -> tuple[Pair, ...]:
    if decoder_draws < 1:
        raise ValueError(f"decoder_draws: must be at least 1, got {decoder_draws}")
    return tuple(pairs(timesteps))


def _single(pair: Pair, decoder_draws: int) -> Stratum:
    return Stratum(1, (pair,) * (decoder_draws if pair[1] == -1 else 1))


def _widening_edges(count: int, strata: int, first: int) -> list[int]:
    """Return edges of `strata` ranges that cover range(count), each at least DRAWS wide, growing like first + index."""
    first = max(first, 1)
    edges = (np.geomspace(first, first + count, strata + 1) - first).round().astype(int).tolist()
    for k in range(1, strata + 1):
        edges[k] = max(edges[k], edges[k - 1] + DRAWS)
    edges[strata] = count
    for k in range(strata - 1, 0, -1):
        edges[k] = min(edges[k], edges[k + 1] - DRAWS)
    return edges
