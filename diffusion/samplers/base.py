"""What a sampler is, and the one loop that runs them all.

A sampler's facts (its name, the settings it reads, its cost) need no torch, since the page is laid out before torch is
loaded. Its step rule imports what it computes with when a run asks for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from diffusion.denoisers import Denoiser
    from diffusion.gaussian import Level, Prediction, StepCoefficients
    from diffusion.sampling import Step
    from diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Move:
    """A step t -> s as a rule sees it.

    x_t: (B, C, H, W). hat: the denoiser's prediction at x_t. ask(x, t, level): its prediction at another x and integer
    t, where x has noise level `level`; one network call. noise(): fresh standard normal noise of x_t's shape.
    Predictions are clipped if the run clips. c: the step's coefficients, each () float64.
    """

    t: int
    s: int
    c: StepCoefficients
    x_t: Tensor
    hat: Prediction
    ask: Callable[[Tensor, int, Level], Prediction]
    noise: Callable[[], Tensor]


Rule = Callable[[Move], "Tensor"]  # x_s of a step


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """How a run gets from noise to a picture, with everything the program knows about it.

    name: in settings, links and recipes. title: in scripts, and on a page that has no text for it. source: publication.
    reads: the sampler-specific settings that it reads. eta: its share of fresh noise, 0 for none (a seed gives one
    path), 1 for as much as the posterior has; None if the setting eta decides. calls: network calls per step;
    calls_to_picture: in the last step, to s = -1. has_history: whether a step depends on the steps before it, so that a
    run resumed at some x_t differs from the rest of the run that led there. spacing: the timestep spacing that suits
    it. imports: what its script imports from diffusers.
    """

    name: str
    title: str
    source: str
    reads: frozenset[str] = frozenset()
    eta: float | None = 0.0
    calls: int = 1
    calls_to_picture: int = 1
    has_history: bool = False
    spacing: str = "trailing"
    imports: tuple[str, ...] = ()

    @abstractmethod
    def rule(self, timesteps: list[int], schedule: NoiseSchedule, **read) -> Rule:
        """Return the step rule of one run, whose steps start at these timesteps. read: the settings that it reads.

        Raises ValueError naming the setting.
        """

    @abstractmethod
    def script_step(self, **read) -> list[str]:
        """Return the lines of a script's loop that turn x at t into x at s, with the same operations as the rule.

        They can use t, s, x; x_0 and eps, the result of predict(x, t); log_alpha_bar, amplitudes(log_alpha_bar) and
        draw().
        """

    def script_setup(self, start_step: int) -> list[str]:
        """Return the lines before that loop, which skips the first start_step of `timesteps`."""
        return []

    def eta_of(self, eta: float | None) -> float:
        """Return the eta of a run with this value of the setting eta."""
        return self.eta if self.eta is not None else eta or 0.0

    def calls_of(self, s: int) -> int:
        """Return the number of network calls of a step to s."""
        return self.calls if s >= 0 else self.calls_to_picture


def walk(
    sampler: Sampler,
    denoiser: Denoiser,
    x_T: Tensor,
    pairs: Sequence[tuple[int, int]],
    clip: bool = True,
    generators: list[torch.Generator] | None = None,
    **read,
) -> Iterator[Step]:
    """Run a sampler from x_T over the pairs (t, s), one Step at a time.

    x_T: (B, C, H, W), the state at the first pair's t. clip: clip every prediction; see Prediction.clipped. generators:
    one per image, so that image i does not depend on its batch; required if the sampler draws noise. read: the settings
    that the sampler reads. Raises ValueError, naming the argument, before the first step.
    """
    import torch

    from diffusion.gaussian import step_coefficients

    for field in read:
        if field not in sampler.reads:
            raise ValueError(f"{field}: the sampler {sampler.name} does not read it")
    t, s = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
    coefficients = step_coefficients(t, s, denoiser.schedule)
    rule = sampler.rule(t.tolist(), denoiser.schedule, **read)
    if sampler.eta_of(read.get("eta")) > 0 and (generators is None or len(generators) != len(x_T)):
        raise ValueError(f"generators: needs one for each of the {len(x_T)} images where eta > 0")
    return _walk(rule, denoiser, x_T, pairs, coefficients, clip, generators)


def _walk(rule, denoiser, x_t, pairs, coefficients, clip, generators) -> Iterator[Step]:
    from diffusion.sampling import Step, noise_like

    def ask(x, t, level):
        prediction = denoiser.predict(x, t)
        return prediction.clipped(x, level) if clip else prediction

    for k, (t, s) in enumerate(pairs):
        c = coefficients[k]
        hat = ask(x_t, t, c.level_t)
        x_s = rule(Move(t, s, c, x_t, hat, ask, lambda like=x_t: noise_like(like, generators)))
        yield Step(t=t, s=s, x_t=x_t, x_0_hat=hat.x_0_hat, eps_hat=hat.eps_hat, x_s=x_s)
        x_t = x_s
