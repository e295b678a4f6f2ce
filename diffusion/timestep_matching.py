"""A denoiser on other betas than its own: which timestep it is told, and how its answer is read."""

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
    """The timesteps, in [0, T-1] of `trained`, that its network is told at timesteps t of `schedule`. float64."""
    if conditioning == "naive":
        return torch.as_tensor(t, dtype=torch.float64)
    return trained.timestep_of(schedule.log_sigma_at(t))


class RescheduledDenoiser:
    """A denoiser of one schedule, behind the protocol, on another.

    "matched": it is told the timestep t* that has the same noise level on its own schedule. A variance-preserving
    state is characterised by its noise level alone, so the answer is the right one, wherever the level was trained.
    Beyond the trained range, above: t* = T-1, and its x_0_hat is kept as computed with ITS alpha-bar at T-1 (both
    states are all but pure noise, and division by the smaller amplitude would only magnify the error). Below: t* = 0.
    "naive": it is told the raw timestep, as diffusers' schedulers do, and so the wrong noise level: to see what goes
    wrong.
    """

    def __init__(self, denoiser: Denoiser, schedule: NoiseSchedule, conditioning: Conditioning = "matched"):
        if conditioning not in get_args(Conditioning):
            known = ", ".join(get_args(Conditioning))
            raise ValueError(f"conditioning: {conditioning!r} is unknown; known are {known}")
        if conditioning == "naive" and len(schedule) > len(denoiser.schedule):
            raise ValueError(
                f"conditioning: naive has no timesteps for {len(schedule)} betas, trained were {len(denoiser.schedule)}"
            )
        self.denoiser = denoiser
        self.schedule = schedule
        self.conditioning = conditioning

    @property
    def description(self) -> Description:
        """Of the denoiser within."""
        return self.denoiser.description

    def conditioned_timestep(self, t: float) -> float:
        """The timestep, in [0, T-1] of its own schedule, that the denoiser is told at timestep t of this one."""
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
