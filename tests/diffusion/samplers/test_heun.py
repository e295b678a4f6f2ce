"""Heun against an independent Algorithm 1 of EDM, its cost, and its ends. test_multistep.py measures its order."""

import numpy as np
import pytest
import torch

from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.gaussian import prediction_from_output, signal_and_noise
from diffusion.samplers.ancestral import DDIM
from diffusion.samplers.base import walk
from diffusion.samplers.heun import HEUN
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SamplingSettings
from diffusion.trajectory import pairs, visited_timesteps
from tests.diffusion.conftest import make_pipeline

LINEAR = NoiseSchedule.named()


class CurvedDenoiser:
    """Some function of x_t and t, as eps_hat; it notes where it was asked."""

    schedule = LINEAR

    def __init__(self):
        self.asked = []

    def eps_hat(self, x_t, t):
        return 0.9 * x_t + 0.1 * torch.sin(3 * x_t + t / 100)

    def predict(self, x_t, t, level=None):
        self.asked.append(t)
        return prediction_from_output(self.eps_hat(x_t, t), x_t, signal_and_noise(t, LINEAR), "epsilon")


def test_it_is_algorithm_1_of_edm_without_churn():
    """In float64: sigma(t) = t there, x / s(t) is y, D(x; sigma) is x_0_hat; with the last Euler step to 0."""
    denoiser, timesteps = CurvedDenoiser(), [999, 800, 400, 120, 17]
    x_T = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = [step.x_s for step in walk(HEUN, denoiser, x_T, pairs(timesteps), clip=False)]
    alpha_bar = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)[[*timesteps, -1]]
    sigma, scale = np.sqrt((1 - alpha_bar) / alpha_bar), np.sqrt(alpha_bar)

    def D(y, i):
        return y - sigma[i] * denoiser.eps_hat(scale[i] * y, timesteps[i])

    y = x_T / scale[0]
    for i in range(5):
        d = (y - D(y, i)) / sigma[i]
        y_next = y + (sigma[i + 1] - sigma[i]) * d
        if sigma[i + 1] != 0:
            d_prime = (y_next - D(y_next, i + 1)) / sigma[i + 1]
            y_next = y + (sigma[i + 1] - sigma[i]) * (d / 2 + d_prime / 2)
        y = y_next
        torch.testing.assert_close(ours[i], scale[i + 1] * y, atol=1e-9, rtol=1e-9)


def test_a_step_asks_at_both_its_ends_and_the_last_one_once():
    denoiser = CurvedDenoiser()
    steps = list(walk(HEUN, denoiser, torch.randn(1, 1, 2, 2), pairs([900, 500, 100])))
    assert denoiser.asked == [900, 500, 500, 100, 100]
    assert torch.equal(steps[-1].x_s, steps[-1].x_0_hat) and steps[-1].x_0_hat.abs().max() <= 1


def test_one_step_is_ddims():
    x_T = torch.randn(1, 1, 4, 4)
    (own,) = walk(HEUN, CurvedDenoiser(), x_T, [(999, -1)])
    (ddim,) = walk(DDIM, CurvedDenoiser(), x_T, [(999, -1)])
    assert torch.equal(own.x_s, ddim.x_s)


def test_both_calls_are_clipped():
    """One picture beyond [-1, 1] is what the denoiser says, wherever it is asked; clipped it is 1 all over."""
    beyond = GaussianDenoiser(torch.full((1, 2, 2), 3.0), 0.0, LINEAR)
    steps = list(walk(HEUN, beyond, torch.randn(1, 1, 2, 2), pairs([999, 500, 100])))
    for step in steps:
        signal, noise = (float(part) for part in signal_and_noise(step.s, LINEAR))
        expected = signal + noise * step.eps_hat  # the straight line to the picture 1: both slopes are one
        torch.testing.assert_close(step.x_s, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("schedule", [{"beta_start": 1e-3, "beta_end": 0.3}, {"beta_schedule": "squaredcos_cap_v2"}])
def test_every_step_count_ends_in_the_one_picture(schedule):
    T, y = 40, torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    denoiser = DataDenoiser(y, NoiseSchedule.named(num_train_timesteps=T, **schedule))
    for S in range(1, T + 1):
        *_, last = walk(HEUN, denoiser, torch.randn(2, 1, 4, 4), pairs(visited_timesteps(S, T, "trailing")))
        torch.testing.assert_close(last.x_s, y.expand(2, -1, -1, -1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("S", "calls"), [(1, 1), (2, 3), (10, 19)])
def test_it_costs_two_calls_a_step_but_for_the_last(unet, S, calls):
    plan = make_pipeline(unet).plan(SamplingSettings(sampler="heun", num_inference_steps=S, num_images=3))
    assert (plan.calls, plan.evaluations) == (calls, 3 * calls)
