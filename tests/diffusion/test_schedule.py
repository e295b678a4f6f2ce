"""The forward process against diffusers' schedulers, independent formulas and golden numbers."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from diffusion.gaussian import level_at, signal_and_noise
from diffusion.schedule import NoiseSchedule

LINEAR = NoiseSchedule.named()


def test_golden_numbers():
    assert LINEAR.alphas_cumprod[0].item() == pytest.approx(0.9999, abs=1e-12)
    assert LINEAR.alphas_cumprod[499].item() == pytest.approx(0.0785872, abs=5e-8)
    assert LINEAR.alphas_cumprod[999].item() == pytest.approx(4.03583e-5, rel=1e-6)
    assert LINEAR.log_sigma[-1].exp().item() == pytest.approx(157.4, abs=0.05)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("T", [2, 10, 1000])
def test_named_schedules_are_those_of_diffusers(name, T):
    ours = NoiseSchedule.named(name, 1e-4, 0.02, T)
    stock = DDPMScheduler(num_train_timesteps=T, beta_schedule=name)
    torch.testing.assert_close(ours.betas, stock.betas.double(), rtol=2e-6, atol=1e-7)
    from_config = NoiseSchedule.from_scheduler_config(stock.config)
    assert torch.equal(from_config.betas, ours.betas)


def test_given_betas():
    betas = [0.1, 0.2, 0.05]
    schedule = NoiseSchedule.from_scheduler_config(DDPMScheduler(num_train_timesteps=3, trained_betas=betas).config)
    np.testing.assert_allclose(schedule.alphas_cumprod.numpy(), np.cumprod(1 - np.array(betas)), rtol=1e-15)


def test_cosine_is_the_papers_alpha_bar():
    schedule = NoiseSchedule.named("squaredcos_cap_v2")
    u = (np.arange(999) + 1) / 1000  # the last one is capped
    f = np.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 / np.cos(0.008 / 1.008 * math.pi / 2) ** 2
    np.testing.assert_allclose(schedule.alphas_cumprod[:-1].numpy(), f, rtol=1e-10)
    assert schedule.betas[-1] == 0.999


def test_derived_quantities_in_extended_precision():
    betas = np.linspace(np.longdouble(1e-4), np.longdouble(0.02), 1000)
    log_ab = np.log1p(-betas).cumsum()
    snr = np.exp(log_ab) / -np.expm1(log_ab)
    np.testing.assert_allclose(LINEAR.log_alphas_cumprod.numpy(), log_ab.astype(float), rtol=1e-13)
    np.testing.assert_allclose(LINEAR.snr.numpy(), snr.astype(float), rtol=1e-11)
    np.testing.assert_allclose(LINEAR.log_sigma.numpy(), (-0.5 * np.log(snr)).astype(float), atol=1e-12)


def test_float64_keeps_the_first_noise_that_diffusers_loses():
    assert 1 - DDPMScheduler().alphas_cumprod[0].item() == pytest.approx(1.000166e-4, rel=1e-6)
    assert signal_and_noise(0, LINEAR).noise.item() ** 2 == pytest.approx(1e-4, rel=1e-12)


def test_the_picture_itself_is_at_minus_one():
    assert LINEAR.log_alpha_bar(-1) == 0
    signal, noise = signal_and_noise(torch.tensor([-1, 0]), LINEAR)
    assert (signal[0], noise[0]) == (1, 0)


def test_every_integer_timestep_is_found_again_exactly():
    found = LINEAR.timestep_of(LINEAR.log_sigma)
    assert torch.equal(found, torch.arange(1000, dtype=torch.float64))
    assert torch.equal(LINEAR.log_sigma_at(torch.arange(1000)), LINEAR.log_sigma)


@given(st.floats(0, 999))
def test_fractional_timesteps_and_levels_are_inverse(t):
    assert LINEAR.timestep_of(LINEAR.log_sigma_at(t)).item() == pytest.approx(t, abs=1e-8)
    signal, noise = level_at(t, LINEAR)
    assert signal.item() ** 2 + noise.item() ** 2 == pytest.approx(1, abs=1e-14)
    assert math.log(noise / signal) == pytest.approx(LINEAR.log_sigma_at(t).item(), abs=1e-9)


def test_levels_outside_give_the_ends():
    assert LINEAR.timestep_of(torch.tensor([-20.0, 20.0])).tolist() == [0, 999]


@pytest.mark.parametrize(
    ("beta_start", "beta_end", "t", "matched"),  # reference table, printed to one decimal
    [
        (1e-4, 0.01, 100, 72.3),
        (1e-4, 0.01, 250, 178.2),
        (1e-4, 0.01, 500, 354.5),
        (1e-4, 0.01, 750, 530.6),
        (1e-4, 0.01, 999, 706.1),
        (1e-4, 0.04, 100, 140.4),
        (1e-4, 0.04, 250, 352.9),
        (1e-4, 0.04, 500, 707.4),
        (1e-4, 0.04, 707, 999.0),
        (1e-4, 0.04, 999, 999.0),
        (1e-3, 0.02, 0, 5.5),
        (1e-3, 0.02, 100, 135.2),
    ],
)
def test_matched_timesteps(beta_start, beta_end, t, matched):
    other = NoiseSchedule.named("linear", beta_start, beta_end)
    assert LINEAR.timestep_of(other.log_sigma[t]).item() == pytest.approx(matched, abs=0.05)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"beta_start": 0.0}, "beta_start"),
        ({"beta_start": -1e-4}, "beta_start"),
        ({"beta_start": float("nan")}, "beta_start"),
        ({"beta_end": 1.0}, "beta_end"),
        ({"beta_end": 2.0}, "beta_end"),
        ({"beta_start": 0.03}, "beta_end"),
        ({"num_train_timesteps": 1}, "num_train_timesteps"),
        ({"num_train_timesteps": 10.0}, "num_train_timesteps"),
        ({"num_train_timesteps": True}, "num_train_timesteps"),
        ({"beta_schedule": "laplace"}, "beta_schedule"),
        ({"beta_end": 0.999, "num_train_timesteps": 2000}, "betas"),  # no signal left in float64
    ],
)
def test_wrong_values_are_named(fields, names):
    with pytest.raises(ValueError, match=f"^{names}:"):
        NoiseSchedule.named(**fields)


@pytest.mark.parametrize("betas", [[0.1], [[0.1, 0.2]], [0.1, 0.0], [0.1, 1.0], [0.1, float("nan")]])
def test_wrong_betas_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        NoiseSchedule(torch.tensor(betas))


def test_zero_terminal_snr_is_refused():
    with pytest.raises(ValueError, match="rescale_betas_zero_snr"):
        NoiseSchedule.from_scheduler_config(DDPMScheduler(rescale_betas_zero_snr=True).config)


@pytest.mark.parametrize("t", [-2, 1000, 0.5])
def test_timesteps_outside_are_refused(t):
    with pytest.raises(ValueError, match=r"^t:"):
        LINEAR.log_alpha_bar(torch.tensor(t))


@pytest.mark.parametrize("t", [-0.5, 999.5, float("nan")])
def test_fractional_timesteps_outside_are_refused(t):
    with pytest.raises(ValueError, match=r"^t:"):
        LINEAR.log_sigma_at(t)
    with pytest.raises(ValueError, match=r"^t:|^log_sigma:"):
        LINEAR.timestep_of(torch.tensor(float("nan")))
        level_at(t, LINEAR)


def test_the_schedule_keeps_its_own_copy():
    betas = torch.tensor([0.1, 0.2], dtype=torch.float64)
    schedule = NoiseSchedule(betas)
    betas[0] = 0.9
    assert schedule.betas[0] == 0.1
