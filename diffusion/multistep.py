"""Deterministic samplers of second order: DPM-Solver++ (2M) and UniPC, on diffusers' own classes.

Lu et al. 2022 (DPM-Solver++), algorithm 2; Zhao et al. 2023 (UniPC), algorithms 1 and 2 with B_2(h) = e^h - 1. Both
solve the same ordinary differential equation as DDIM, which takes x_0_hat to stand still within a step. They take it to
change as a smooth function of log SNR, and draw a line through its last values: with a smooth denoiser the error falls
with the square of the number of steps, or faster, where DDIM's falls with the number.
"""

from collections.abc import Iterator
from typing import get_args

import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from diffusion.denoisers import Denoiser
from diffusion.gaussian import step_coefficients
from diffusion.sampling import Step
from diffusion.schedule import NoiseSchedule
from diffusion.words import MultistepName


class _OnTrajectory:
    """A multistep scheduler of diffusers on given noise levels: its own set_timesteps rounds, and computes in float32.

    Its `step` takes x_0_hat, and its arithmetic becomes float64 wherever no picture is touched. A scheduler is one run.
    The last step, to sigma = 0, is of first order in both: x_0_hat itself.
    """

    def __init__(self, timesteps: list[int], schedule: NoiseSchedule):
        super().__init__(num_train_timesteps=len(schedule), prediction_type="sample", solver_order=2)
        self.timesteps = torch.tensor(timesteps)
        self.sigmas = torch.cat([schedule.log_sigma[self.timesteps].exp(), torch.zeros(1, dtype=torch.float64)])
        self.num_inference_steps = len(timesteps)
        self.set_begin_index(0)


class DPMSolverPP2M(_OnTrajectory, DPMSolverMultistepScheduler):
    """DPM-Solver++ (2M), the midpoint form, which the paper's algorithm 2 is."""


class UniPC2(_OnTrajectory, UniPCMultistepScheduler):
    """UniPC of order 2: the predictor UniP-2 and, with the same network call, the corrector UniC-2."""


SOLVERS = {"dpmpp_2m": DPMSolverPP2M, "unipc": UniPC2}


def multistep_steps(
    denoiser: Denoiser, x_T: Tensor, pairs: list[tuple[int, int]], solver: MultistepName, clip: bool = True
) -> Iterator[Step]:
    """Walk x_T down the pairs (t, s), one Step at a time: the counterpart of reverse_steps, without noise.

    x_T: (B, C, H, W), float32. clip: see Prediction.clipped. A step leans on the steps before it, so the first one is
    DDIM's, and a walk that goes on from some x_t is NOT the rest of the walk that came there: it has lost its history.
    UniPC's x_s is what the network is asked about next; the correction of it is kept within and moves the steps after.
    Raises ValueError, naming the argument, before the first step.
    """
    if solver not in get_args(MultistepName):
        raise ValueError(f"sampler: {solver!r} is unknown; known are {', '.join(get_args(MultistepName))}")
    t, s = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
    levels = step_coefficients(t, s, denoiser.schedule)
    return _walk(denoiser, x_T, pairs, levels, SOLVERS[solver](t.tolist(), denoiser.schedule), clip)


def _walk(denoiser, x_t, pairs, levels, scheduler, clip) -> Iterator[Step]:
    for k, (t, s) in enumerate(pairs):
        prediction = denoiser.predict(x_t, t)
        if clip:
            prediction = prediction.clipped(x_t, levels[k].level_t)
        (x_s,) = scheduler.step(prediction.x_0_hat, t, x_t, return_dict=False)
        yield Step(t=t, s=s, x_t=x_t, x_0_hat=prediction.x_0_hat, eps_hat=prediction.eps_hat, x_s=x_s)
        x_t = x_s
