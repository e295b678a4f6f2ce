"""Run a denoiser on betas other than its own: which timestep to condition it on, and how to convert its answer."""

from typing import get_args

import torch
from torch import Tensor

from diffusion.denoisers import Denoiser, Description
from diffusion.gaussian import Level, Prediction, eps_from_x_0, level_at
from diffusion.schedule import NoiseSchedule
from diffusion.words import Conditioning


def conditioned_timesteps(
    t: Tensor | float, schedule: NoiseSchedule, trained: NoiseSchedule, conditioning: Conditioning
) -> Tensor:
    """Return the timesteps, in [0, T-1] of `trained`, that its network is conditioned on at timesteps t of `schedule`.

    Float64 of t's shape.
    """
    if conditioning == "naive":
        return torch.as_tensor(t, dtype=torch.float64)
    return trained.timestep_of(schedule.log_sigma_at(t))


class RescheduledDenoiser:
    """A denoiser of one schedule as a Denoiser on another.

    "matched": conditions the denoiser on the timestep t* that has the same noise level on its own schedule. A
    variance-preserving state is characterised by its noise level alone, so the answer is right wherever that level was
    trained. Above the trained range, t* = T-1, and x_0_hat is kept as computed with ITS alpha-bar at T-1 (both states
    are all but pure noise, and dividing by the smaller amplitude would only magnify the error). Below it, t* = 0.
    "naive": conditions the denoiser on the raw timestep, as diffusers' schedulers do, and so on the wrong noise level,
    to show what goes wrong.
    Raises ValueError for another conditioning, and for "naive" with more betas than the denoiser's.
    """

    def __init__(self, denoiser: Denoiser, schedule: NoiseSchedule, conditioning: Conditioning = "matched"):
        if conditioning not in get_args(Conditioning):
            known = ", ".join(get_args(Conditioning))
            raise ValueError(f"conditioning: {conditioning!r} is unknown; known are {known}")
        if conditioning == "naive" and len(schedule) > len(denoiser.schedule):
            raise ValueError(
                f"conditioning: naive has no timesteps for {len(schedule)} betas, only for {len(denoiser.schedule)}"
            )
        self.denoiser = denoiser
        self.schedule = schedule
        self.conditioning = conditioning

    @property
    def description(self) -> Description:
        """That of the wrapped denoiser."""
        return self.denoiser.description

    def conditioned_timestep(self, t: float) -> float:
        """Return the timestep of the denoiser's own schedule, in [0, T-1], for timestep t of this one."""
        return conditioned_timesteps(t, self.schedule, self.denoiser.schedule, self.conditioning).item()

    def predict(self, x_t: Tensor, t: float, level: Level | None = None) -> Prediction:
        """See Denoiser."""
        level = level or level_at(t, self.schedule)
        conditioned = self.conditioned_timestep(t)
        above = self.schedule.log_sigma_at(t) > self.denoiser.schedule.log_sigma[-1]
        if self.conditioning == "matched" and bool(above):
            x_0_hat = self.denoiser.predict(x_t, conditioned).x_0_hat
            return Prediction(x_0_hat, eps_from_x_0(x_t, x_0_hat, *level))
        return self.denoiser.predict(x_t, conditioned, level)
