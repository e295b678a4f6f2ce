"""DPM-Solver++ and UniPC against diffusers' own classes, their order against closed forms, and every step count."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from scipy.optimize import brentq
from scipy.stats import norm

from diffusion.exact import DataDenoiser, GaussianDenoiser, MixtureDenoiser
from diffusion.gaussian import prediction_from_output
from diffusion.samplers.ancestral import DDIM
from diffusion.samplers.base import walk
from diffusion.samplers.registry import SAMPLERS
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SamplingSettings
from diffusion.timestep_matching import RescheduledDenoiser
from diffusion.trajectory import pairs, visited_timesteps
from tests.diffusion.conftest import make_pipeline

LINEAR = NoiseSchedule.named()
STOCK = {"dpmpp_2m": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}
SPACINGS = ["even", "quadratic", "power", "leading", "linspace", "trailing"]


@pytest.fixture(params=STOCK)
def solver(request):
    return request.param


class CurvedDenoiser:
    """Some function of x_t and t that no solver is exact for. Its output is eps_hat."""

    schedule = LINEAR

    def output(self, x_t, t):
        return 0.9 * x_t + 0.1 * torch.sin(3 * x_t + t / 100)

    def predict(self, x_t, t, level=None):
        c = LINEAR.alphas_cumprod[t]
        return prediction_from_output(self.output(x_t, t), x_t, (c.sqrt(), (1 - c).sqrt()), "epsilon")


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("S", [1, 2, 3, 10, 14, 15, 16, 50])
def test_on_stock_timesteps_a_run_is_the_stock_schedulers(solver, spacing, S):
    """Stock keeps float32 sigmas and coefficients: in x of a size of about 1, 1e-5 of 50 steps; of x_0_hat at t = 999,
    which is x_t divided by 0.006, 1e-4 of its size."""
    stock = STOCK[solver](timestep_spacing=spacing)
    stock.set_timesteps(S)
    denoiser = CurvedDenoiser()
    x = x_T = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    steps = list(walk(SAMPLERS[solver], denoiser, x_T, pairs(stock.timesteps.tolist()), clip=False))
    assert len(steps) == S
    for step, t in zip(steps, stock.timesteps, strict=True):
        torch.testing.assert_close(step.x_t, x, atol=2e-5, rtol=1e-4)
        x = stock.step(denoiser.output(x, t.item()), t, x).prev_sample
    torch.testing.assert_close(steps[-1].x_s, x, atol=2e-5, rtol=1e-4)


def test_the_second_order_step_of_2m_is_the_papers():
    """Algorithm 2 of Lu et al. 2022 (DPM-Solver++) typed anew in float64, with the first step of first order."""
    denoiser = CurvedDenoiser()
    ab = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)
    timesteps = [900, 640, 333, 120, 17]
    x = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    steps = list(walk(SAMPLERS["dpmpp_2m"], denoiser, x, pairs(timesteps), clip=False))
    log_snr = 0.5 * np.log(ab[timesteps] / (1 - ab[timesteps]))
    for i in range(1, 4):
        t, s = timesteps[i], timesteps[i + 1]
        h, h_before = log_snr[i + 1] - log_snr[i], log_snr[i] - log_snr[i - 1]
        now, before = steps[i].x_0_hat.double().numpy(), steps[i - 1].x_0_hat.double().numpy()
        r = h_before / h
        D = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * before
        expected = (
            np.sqrt((1 - ab[s]) / (1 - ab[t])) * steps[i].x_t.double().numpy() - np.sqrt(ab[s]) * np.expm1(-h) * D
        )
        np.testing.assert_allclose(steps[i].x_s, expected, atol=1e-5)


def test_first_and_last_step_are_ddims(solver):
    denoiser = CurvedDenoiser()
    x_T = torch.randn(2, 1, 4, 4)
    steps = list(walk(SAMPLERS[solver], denoiser, x_T, pairs([999, 700, 400, 100])))
    ddim = next(walk(DDIM, denoiser, x_T, pairs([999, 700])))
    torch.testing.assert_close(steps[0].x_s, ddim.x_s, atol=1e-6, rtol=0)
    assert torch.equal(steps[-1].x_s, steps[-1].x_0_hat)
    assert all(step.x_0_hat.abs().max() <= 1 for step in steps)


# Order of convergence ------------------------------------------------------------------------------------------------

MEANS, STDS, WEIGHTS = np.array([-0.7, 0.1, 0.8]), np.array([0.2, 0.3, 0.1]), np.array([0.3, 0.3, 0.4])
FINE = NoiseSchedule.named("linear", 2.5e-5, 0.005, 4000)


def distribution(x, t):
    """P(x_t <= x) of the mixture."""
    ab = FINE.alphas_cumprod[t].item()
    return (WEIGHTS * norm.cdf((x - np.sqrt(ab) * MEANS) / np.sqrt(ab * STDS**2 + 1 - ab))).sum()


def exact_flow(x, t, s):
    """Where the exact path leads from x at t. In one dimension paths cannot cross, so they keep their quantile."""
    return brentq(lambda y: distribution(y, s) - distribution(x, t), -8, 8, xtol=1e-13)


@pytest.mark.parametrize(
    ("sampler", "order"), [("ddim", (0.95, 1.05)), ("dpmpp_2m", (1.85, 2.1)), ("unipc", (2, 3)), ("heun", (1.9, 2.2))]
)
def test_order_of_convergence_on_a_mixture(sampler, order):
    """The state at t = 400 after n steps from t = 3200 of 4000, each call exact; float32 leaves 1e-6."""
    denoiser = MixtureDenoiser(torch.tensor(MEANS).reshape(3, 1, 1, 1), torch.tensor(STDS), FINE, torch.tensor(WEIGHTS))
    x = torch.linspace(-1.5, 1.5, 9).reshape(-1, 1, 1, 1)
    truth = torch.tensor([exact_flow(start, 3200, 400) for start in x.flatten().tolist()])
    errors = []
    for n in (32, 64, 128):
        steps = pairs(torch.linspace(3200, 400, n + 1).round().int().tolist())
        *_, last = walk(SAMPLERS[sampler], denoiser, x, steps, clip=False)
        assert last.t == 400
        errors.append((last.x_t.flatten() - truth).abs().max().item())
    slope = math.log2(errors[0] / errors[-1]) / 2
    assert order[0] < slope < order[1], errors


@pytest.mark.parametrize("own", [{"beta_end": 0.01}, {"beta_schedule": "scaled_linear"}, {"beta_end": 0.005}])
def test_matched_betas_give_the_law_of_the_exact_path(solver, own):
    """Data N(0.3, 0.5^2): on the exact path x_t stands as many standard deviations off its mean at every t. These
    betas stay within the noise levels of the training, where the denoiser that is told of them is exact."""
    schedule = NoiseSchedule.named(**own)
    denoiser = RescheduledDenoiser(GaussianDenoiser(torch.full((1, 1, 1), 0.3), 0.5, LINEAR), schedule)
    x_T = torch.linspace(-2, 2, 7).reshape(-1, 1, 1, 1)

    def law(t):
        ab = schedule.alphas_cumprod[t].item()
        return math.sqrt(ab) * 0.3, math.sqrt(ab * 0.25 + 1 - ab)

    steps = pairs(visited_timesteps(100, 1000, "power"))
    *_, last = walk(SAMPLERS[solver], denoiser, x_T, steps, clip=False)
    (mean_T, std_T), (mean, std) = law(999), law(last.t)
    exact = mean + std * (x_T - mean_T) / std_T
    *_, ddim = walk(DDIM, denoiser, x_T, steps, clip=False)
    off = (last.x_t - exact).abs().max().item()
    assert off < (ddim.x_t - exact).abs().max().item() / 7


# Every step count ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("schedule", [{"beta_start": 1e-3, "beta_end": 0.3}, {"beta_schedule": "squaredcos_cap_v2"}])
def test_every_step_count_is_finite_and_ends_in_the_one_picture(solver, spacing, schedule):
    T, y = 40, torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    denoiser = DataDenoiser(y, NoiseSchedule.named(num_train_timesteps=T, **schedule))
    for S in range(1, T + 1):
        steps = list(walk(SAMPLERS[solver], denoiser, torch.randn(2, 1, 4, 4), pairs(visited_timesteps(S, T, spacing))))
        assert len(steps) == S
        assert all(torch.isfinite(step.x_s).all() for step in steps)
        torch.testing.assert_close(steps[-1].x_s, y.expand(2, -1, -1, -1), atol=1e-6, rtol=0)
        assert all(before.x_s is after.x_t and before.s == after.t for before, after in pairwise(steps))


@pytest.mark.parametrize(("schedule", "clip"), [({}, True), ({"beta_schedule": "squaredcos_cap_v2"}, False)])
def test_a_thousand_steps_are_as_many_of_ddim(solver, schedule, clip):
    """At T = 1000 neighbours are closest, and float32 coefficients would lose their digits."""
    schedule = NoiseSchedule.named(**schedule)
    denoiser = GaussianDenoiser(torch.full((1, 1, 1), 0.1), 0.4, schedule)
    x_T = torch.linspace(-2, 2, 7).reshape(-1, 1, 1, 1)
    steps = pairs(visited_timesteps(1000, 1000))
    *_, last = walk(SAMPLERS[solver], denoiser, x_T, steps, clip)
    *_, ddim = walk(DDIM, denoiser, x_T, steps, clip=clip)
    torch.testing.assert_close(last.x_s, ddim.x_s, atol=0.005, rtol=0)  # DDIM's own error


def test_wrong_arguments_are_named_before_the_first_step(solver):
    with pytest.raises(ValueError, match=r"^t, s:"):
        walk(SAMPLERS[solver], CurvedDenoiser(), torch.zeros(1, 1, 2, 2), [(5, 5)])
    with pytest.raises(ValueError, match=f"^eta: the sampler {solver} does not read it"):
        walk(SAMPLERS[solver], CurvedDenoiser(), torch.zeros(1, 1, 2, 2), [(5, -1)], eta=0.0)


# The pipeline --------------------------------------------------------------------------------------------------------


def test_pictures_do_not_depend_on_their_batch(unet, solver):
    pipeline = make_pipeline(unet)
    run = SamplingSettings(sampler=solver, num_inference_steps=12, seed=100, num_images=5, beta_end=0.015)
    together = pipeline(run, output_type="pt").images
    assert torch.equal(together, pipeline(run, output_type="pt").images)
    assert (together - pipeline(run, output_type="pt", batch_size=2).images).abs().max() <= 1 / 255
    assert not torch.equal(together, pipeline(run.replace(sampler="ddim"), output_type="pt").images)


def test_a_run_that_goes_on_is_a_new_run(unet, solver):
    """From step k on it is the run of the remaining timesteps from that x_t, without what was known before."""
    pipeline = make_pipeline(unet)
    run = SamplingSettings(sampler=solver, num_inference_steps=9, seed=3, num_images=2)
    whole = list(pipeline.steps(run))
    rest = list(pipeline.steps(run.replace(start_step=4), initial_noise=whole[4].x_t))
    plan = pipeline.plan(run)
    anew = list(walk(plan.sampler, pipeline.denoiser(plan), whole[4].x_t, plan.pairs[4:]))
    assert torch.equal(rest[-1].x_s, anew[-1].x_s)
    assert torch.equal(rest[0].x_0_hat, whole[4].x_0_hat) and not torch.equal(rest[-1].x_s, whole[-1].x_s)
    drawn = next(pipeline.steps(run.replace(start_step=4)))
    assert torch.equal(drawn.x_t, whole[0].x_t) and drawn.t == whole[4].t
