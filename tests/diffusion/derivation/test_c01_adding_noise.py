"""Chain and jump against independent loops; shares and correlations against golden numbers and draws."""

import math

import numpy as np
import pytest
import torch

from diffusion.derivation.c01_adding_noise import (
    chain_moments,
    forward_steps,
    last_step_correlation,
    moment_scores,
    noise_shares,
    schedule_size,
    step_noises,
    two_ways,
)
from diffusion.schedule import NoiseSchedule

LINEAR = NoiseSchedule.named()
SCHEDULES = [
    LINEAR,
    NoiseSchedule.named("squaredcos_cap_v2", num_train_timesteps=300),
    NoiseSchedule(torch.tensor([0.5, 1e-6, 0.9, 0.2, 0.03])),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(*shape):
    return torch.rand(*shape, generator=generator(9)) * 2 - 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_shares_are_the_papers_and_sum_to_one(schedule):
    betas = schedule.betas.numpy()
    ab = np.cumprod(1 - betas)
    for t in {0, 1, 3, len(schedule) // 2, len(schedule) - 1}:
        shares = noise_shares(t, schedule)
        assert shares.sum().item() == pytest.approx(1, abs=1e-12)
        # What is left of step k's noise at t, its variance shrunk by every later step, over the whole
        typed = [betas[k] * np.prod(1 - betas[k + 1 : t + 1]) / (1 - ab[t]) for k in range(t + 1)]
        np.testing.assert_allclose(shares, typed, rtol=1e-9)
        assert last_step_correlation(schedule)[t].item() == pytest.approx(math.sqrt(typed[-1]), rel=1e-9)


def compounded(noises, t, schedule):
    """The whole noise in x_t: of the steps' noises by the roots of their shares."""
    return np.tensordot(noise_shares(t, schedule).sqrt().numpy(), noises[: t + 1].numpy(), axes=1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_jump_with_the_compounded_noise_is_the_chain_in_every_pixel(schedule):
    x_0 = picture(3, 5, 4)
    noises = step_noises(x_0.shape, len(schedule), generator())
    betas = schedule.betas.tolist()
    for t in {0, 1, len(schedule) // 3, len(schedule) - 1}:
        ours = two_ways(x_0, t, noises, schedule)
        x = x_0.double().numpy()
        for k in range(t + 1):
            x = np.sqrt(1 - betas[k]) * x + np.sqrt(betas[k]) * noises[k].numpy()
        ab = np.prod(1 - np.array(betas[: t + 1]))
        np.testing.assert_allclose(ours.chain, x, atol=1e-12)
        np.testing.assert_allclose(
            ours.jump, np.sqrt(ab) * x_0.numpy() + np.sqrt(1 - ab) * compounded(noises, t, schedule), atol=1e-12
        )
        assert 0 <= ours.difference.abs().max() < 1e-12
        assert ours.chain.dtype == torch.float64


def test_the_order_of_the_noises_matters():
    """Else the equality above would hold for any sum of them."""
    x_0, noises = picture(3, 5, 4), step_noises((3, 5, 4), 1000, generator())
    forward, backward = two_ways(x_0, 999, noises, LINEAR), two_ways(x_0, 999, noises.flip(0), LINEAR)
    assert (forward.jump - backward.chain).abs().max() > 0.5


def test_golden_correlations_and_their_measurement():
    golden = {0: 1, 1: 0.738, 9: 0.384, 99: 0.142, 499: 0.104, 999: 0.141}  # code index of t = 1, 2, 10, 100, 500, 1000
    ours = last_step_correlation(LINEAR)
    assert ours[list(golden)].tolist() == pytest.approx(list(golden.values()), abs=5.001e-4)
    pixels = 20_000
    noises = step_noises((pixels,), 100, generator(3))
    for t in (1, 9, 99):
        measured = np.corrcoef(noises[t], compounded(noises, t, LINEAR))[0, 1]
        assert abs(math.atanh(measured) - math.atanh(golden[t])) * math.sqrt(pixels - 3) < 4.5  # Fisher's z
    assert compounded(noises, 0, LINEAR) == pytest.approx(noises[0].numpy(), abs=1e-12)


def test_a_longer_row_of_noises_begins_with_the_shorter_one():
    long, short = step_noises((2, 3), 9, generator(4)), step_noises((2, 3), 4, generator(4))
    assert torch.equal(long[:4], short)
    assert long.dtype == torch.float64


def test_the_chain_yields_every_state():
    noises = step_noises((2,), 3, generator())
    states = list(forward_steps(torch.ones(2), noises, LINEAR))
    assert len(states) == 3
    for t, state in enumerate(states):
        assert torch.equal(state, two_ways(torch.ones(2), t, noises, LINEAR).chain)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_chains_moments_are_those_of_the_closed_form(schedule):
    marks = [0, 1, len(schedule) // 2, len(schedule) - 1]
    ours = chain_moments(picture(1, 8, 8), marks, 40, generator(1), schedule)
    assert (ours.t.tolist(), ours.count) == (marks, 40 * 64)
    assert ours.worst < 4.5


def test_moments_are_of_the_chain_itself():
    """The very numbers, from noises drawn in the same order."""
    x_0, draws = picture(6), generator(2)
    ours = chain_moments(x_0, [1, 3, 1], 5, generator(2), LINEAR)
    x, betas = x_0.double().numpy() * np.ones((5, 1)), np.linspace(1e-4, 0.02, 1000)
    for t in range(4):
        x = np.sqrt(1 - betas[t]) * x + np.sqrt(betas[t]) * torch.randn(5, 6, generator=draws).double().numpy()
        if t in (1, 3):
            ab = np.prod(1 - betas[: t + 1])
            z = (x - np.sqrt(ab) * x_0.numpy()) / np.sqrt(1 - ab)
            k = ours.t.tolist().index(t)
            assert ours.mean[k].item() == pytest.approx(z.mean() * math.sqrt(30), abs=1e-9)
            assert ours.var[k].item() == pytest.approx(((z**2).mean() - 1) * math.sqrt(15), abs=1e-9)


@pytest.mark.parametrize(("shift", "scale"), [(0.05, 1.0), (0.0, 1.05), (0.0, 0.95)])
def test_scores_find_what_is_not_standard_normal(shift, scale):
    z = torch.randn(20_000, generator=generator(5), dtype=torch.float64)
    assert moment_scores([0], [z]).worst < 4.5 < moment_scores([0], [scale * z + shift]).worst


def test_golden_size_of_the_usual_schedule():
    size = schedule_size(LINEAR)
    assert size.first_std_grey == pytest.approx(0.01 * 127.5)  # [-1, 1] is 255 grey levels: "1.3 of 255"
    assert round(size.first_std_grey, 1) == 1.3
    assert round(size.last_std_grey) == 18
    assert size.total == pytest.approx(10.12, abs=5e-3)
    assert size.sum_of_betas == pytest.approx(10.05, abs=1e-9)
    assert size.signal_left == pytest.approx(0.00635, abs=5e-6)


def test_what_does_not_fit_is_named():
    noises = step_noises((2,), 3, generator())
    for t in (-1, 1000):
        with pytest.raises(ValueError, match=r"^t: must lie in \[0, 1000\)"):
            noise_shares(t, LINEAR)
        with pytest.raises(ValueError, match=r"^t: must lie in \[0, 1000\)"):
            chain_moments(torch.zeros(2), [t], 2, generator(), LINEAR)
    for x_0, t in ((torch.zeros(2), 3), (torch.zeros(3), 1)):
        with pytest.raises(ValueError, match=r"^noises: must be at least"):
            two_ways(x_0, t, noises, LINEAR)
    with pytest.raises(ValueError, match=r"^replicas: must be at least 1"):
        chain_moments(torch.zeros(2), [0], 0, generator(), LINEAR)
    with pytest.raises(ValueError, match=r"^timesteps: needs at least one"):
        chain_moments(torch.zeros(2), [], 1, generator(), LINEAR)
