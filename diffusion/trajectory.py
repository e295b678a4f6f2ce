"""Which timesteps a run of S steps visits.

A trajectory is a list of pairs (t, s): the step goes from x_t to the less noisy x_s, and the last s is -1, the picture.
diffusers' spacings keep diffusers' names. Not all of them start at t = T-1: `leading` with S = 501 starts at t = 500,
where x_t still holds 28% of the picture's amplitude, which pure noise lacks. Of those that do, "trailing" is the
default of runs, for DDIM's KID at 10, 20 and 50 steps (training/README.md); the chains of the mathematics, whose bounds
end at t = 0, and the grids of training are "even".
"""

from math import floor
from typing import Literal, get_args

import numpy as np

from diffusion.errors import FieldError, shortened

TimestepSpacing = Literal["even", "quadratic", "power", "leading", "linspace", "trailing"]
POWER = 1.25  # of 1, 1.25, 1.5 and 2, UniPC's best in 10 steps on the first checkpoints; on mnist 1 is 4% better


def visited_timesteps(
    num_inference_steps: int, num_train_timesteps: int, spacing: TimestepSpacing = "even"
) -> list[int]:
    """Return the S timesteps of a run, from noisy to clean, each in [0, T), strictly decreasing.

    "even": round((T-1)(1 - k/(S-1))) for k = 0..S-1 with halves rounded up, and [T-1] for S = 1. Every run starts at
    T-1 and, from S = 2 on, visits t = 0.
    "quadratic": the same with (T-1) ((S-1-k)/(S-1))^2, and never below S-1-k, so that no timestep repeats. More steps
    at little noise, as in DDIM's app. D.2 for CIFAR-10, but starting at T-1.
    "power": (T-1) ((k + 1/2) / (S - 1/2))^1.25 for k = S-1..0, and never below k. Starts at T-1 too, but ends half a
    step before t = 0: with few calls, one there would be spent on noise that no eye sees, and the step down to it is
    too long for a multistep sampler to extrapolate over.
    "leading", "linspace", "trailing": as in diffusers (DDPMScheduler.set_timesteps with steps_offset = 0), but always S
    timesteps. diffusers' trailing counts down with a float step, and for 62 of the step counts at T = 1000 (S = 61 is
    the first) lists one more, t = -1, at which its samplers call the network again.
    1 <= S <= T. Raises FieldError.
    """
    S, T = num_inference_steps, num_train_timesteps
    if not 1 <= S <= T:
        raise FieldError("num_inference_steps", "within", range=f"[1, {T}]", got=S)
    if spacing == "even":
        if S == 1:
            return [T - 1]
        last = S - 1
        return [(2 * (T - 1) * (last - k) + last) // (2 * last) for k in range(S)]  # in integers: halves are exact
    if spacing == "quadratic":
        if S == 1:
            return [T - 1]
        square = (S - 1) ** 2
        return [max(k, (2 * (T - 1) * k * k + square) // (2 * square)) for k in reversed(range(S))]
    if spacing == "power":
        return [max(k, floor((T - 1) * ((2 * k + 1) / (2 * S - 1)) ** POWER + 0.5)) for k in reversed(range(S))]
    if spacing == "leading":
        return (np.arange(S)[::-1] * (T // S)).tolist()
    if spacing == "linspace":
        return np.linspace(0, T - 1, S).round()[::-1].astype(int).tolist()
    if spacing == "trailing":
        return (np.round(np.arange(T, 0, -T / S)).astype(int) - 1)[:S].tolist()  # arange's floats can give one more
    known = ", ".join(get_args(TimestepSpacing))
    raise FieldError("timestep_spacing", "unknown", got=shortened(spacing), choices=known)


def pairs(timesteps: list[int]) -> list[tuple[int, int]]:
    """Return the steps (t, s) of a run over these timesteps; the last one ends in s = -1, the picture."""
    return list(zip(timesteps, [*timesteps[1:], -1], strict=True))
