"""Two runs side by side: each as if alone, aligned by noise level, their distance measured at the right places."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion.experiments.comparison import compare_runs, matching_steps, rms, shares_step_noise
from diffusion.settings import SamplingSettings
from tests.diffusion.conftest import make_pipeline
from tests.networks import make_unet

ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def log_snr(abar):
    return np.log(abar / (1 - abar))


@pytest.fixture(scope="module")
def pipeline(unet):
    return make_pipeline(unet)


def both(pipeline, first: dict, second: dict, other=None):
    """The plans of two runs, and all that comparing them yields."""
    other = other or pipeline
    plans = pipeline.plan(SamplingSettings(**first)), other.plan(SamplingSettings(**second))
    return plans, list(compare_runs(pipeline, plans[0], other, plans[1]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"num_inference_steps": 9}, {"num_inference_steps": 9, "sampler": "ddpm"}),
        ({"num_inference_steps": 5}, {"num_inference_steps": 40, "sampler": "ddpm"}),
        ({"num_inference_steps": 31, "beta_end": 0.05}, {"num_inference_steps": 8}),
        ({"num_inference_steps": 1}, {"num_inference_steps": 6, "eta": 0.5, "timestep_spacing": "leading"}),
    ],
)
def test_each_run_is_what_it_is_alone_and_distances_are_those_of_its_steps(pipeline, first, second):
    runs = [dict(seed=4, num_images=2) | fields for fields in (first, second)]
    plans, pairs = both(pipeline, *runs)
    alone = [list(pipeline.steps(**fields)) for fields in runs]
    assert pairs[-1].numbers == tuple(map(len, alone)) and len(pairs) == sum(map(len, alone))
    for newest, steps in zip(pairs[-1].steps, alone, strict=True):
        assert torch.equal(newest.x_s, steps[-1].x_s)
    divergences = [divergence for pair in pairs for divergence in pair.divergences]
    assert [divergence.numbers for divergence in divergences] == matching_steps(*plans)
    for divergence in divergences:
        a, b = (steps[number] for steps, number in zip(alone, divergence.numbers, strict=True))
        assert divergence.x_t == pytest.approx(float(np.sqrt(((a.x_t - b.x_t).numpy().astype(float) ** 2).mean())))
        assert divergence.x_0_hat == pytest.approx(rms(a.x_0_hat - b.x_0_hat))
    assert (divergences[0].x_t == 0) == (
        divergences[0].numbers == (0, 0)
    )  # the same x_T, unless its level is not the same


def test_steps_of_unequal_counts_meet_where_the_noise_is_most_alike(pipeline):
    a, b = (pipeline.plan(SamplingSettings(num_inference_steps=S)) for S in (7, 50))
    t_a, t_b = ([t for t, _ in plan.run_pairs] for plan in (a, b))
    found = matching_steps(a, b)
    assert [i for i, _ in found] == list(range(7)) and found == [(i, j) for j, i in matching_steps(b, a)]
    for i, j in found:
        gaps = np.abs(log_snr(ABAR[t_b]) - log_snr(ABAR[t_a[i]]))
        assert gaps[j] == gaps.min()


def test_the_noisier_run_always_goes_next(pipeline):
    plans, pairs = both(pipeline, {"num_inference_steps": 4}, {"num_inference_steps": 11})
    done = [0, 0]
    for pair in pairs:
        side = 0 if pair.numbers[0] > done[0] else 1
        levels = [
            log_snr(ABAR[plan.run_pairs[n][0]]) if n < len(plan.run_pairs) else np.inf
            for plan, n in zip(plans, done, strict=True)
        ]
        assert levels[side] <= levels[1 - side]
        done = list(pair.numbers)


def test_equal_noisy_runs_share_the_noise_of_each_step(pipeline):
    first, second = {"sampler": "ddpm", "num_inference_steps": 6}, {"eta": 1.0, "num_inference_steps": 6}
    plans, pairs = both(pipeline, first, second)
    assert shares_step_noise(*plans)
    assert [p.x_t for pair in pairs for p in pair.divergences] == pytest.approx(
        [0.0] * 6, abs=1e-6
    )  # DDIM(eta=1) = DDPM
    plans, pairs = both(pipeline, first, second | {"seed": 1})
    assert not shares_step_noise(*plans) and pairs[1].divergences[0].x_t > 0.5
    weighted = replace(plans[0], settings=plans[0].settings.replace(start="gaussian"))  # draws weights before its steps
    assert not shares_step_noise(plans[0], weighted)
    for fields in ({"num_inference_steps": 7, "eta": 1.0}, {"num_inference_steps": 6}):
        assert not shares_step_noise(plans[0], pipeline.plan(SamplingSettings(**fields)))


def test_what_cannot_lie_side_by_side_is_refused(pipeline):
    colour = make_pipeline(make_unet(channels=3))
    with pytest.raises(ValueError, match="checkpoint: both must make pictures of one size"):
        both(pipeline, {}, {}, colour)
    with pytest.raises(ValueError, match="num_images: must be the same in both runs, got 1 and 2"):
        both(pipeline, {}, {"num_images": 2})
