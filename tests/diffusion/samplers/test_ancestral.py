"""The reverse process against diffusers' steps and against laws known in closed form, for every step count."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerAncestralDiscreteScheduler

from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.gaussian import prediction_from_output, step_coefficients
from diffusion.samplers.ancestral import DDIM, DDPM
from diffusion.samplers.base import walk
from diffusion.sampling import image_generators, noise_like, reverse_mean_and_std
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SEEDS
from diffusion.timestep_matching import RescheduledDenoiser
from diffusion.trajectory import pairs, visited_timesteps

LINEAR = NoiseSchedule.named()
VARIANCE_TYPES = {"posterior": "fixed_small", "beta": "fixed_large"}


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def our_step(output, x_t, t, s, *, clip, eta=1.0, variance="posterior", prediction_type="epsilon"):
    """x_s by the pieces that a step is made of, with the noise of generator()."""
    c = step_coefficients(t, s, LINEAR)
    prediction = prediction_from_output(output, x_t, c.level_t, prediction_type)
    if clip:
        prediction = prediction.clipped(x_t, c.level_t)
    mean, std = reverse_mean_and_std(prediction, c, eta, variance)
    return mean + std.to(mean.dtype) * noise_like(mean, [generator()])


def some(steps):
    """First, second, middle and the last two steps."""
    return [steps[k] for k in sorted({0, 1, len(steps) // 2, len(steps) - 2, len(steps) - 1} & set(range(len(steps))))]


def state(t, prediction_type="epsilon", dtype=torch.float32):
    """A state that a run visits, x_t ~ q(x_t | x_0), and an imperfect network's output at it."""
    ab = LINEAR.alphas_cumprod[t]
    x_0, eps = torch.rand(1, 1, 4, 4, dtype=torch.float64) * 2 - 1, torch.randn(1, 1, 4, 4, dtype=torch.float64)
    x_t = ab.sqrt() * x_0 + (1 - ab).sqrt() * eps
    target = {"epsilon": eps, "sample": x_0, "v_prediction": ab.sqrt() * eps - (1 - ab).sqrt() * x_0}[prediction_type]
    return x_t.to(dtype), (target + 0.3 * torch.randn_like(target)).to(dtype)


# diffusers' table of alpha-bar is float32. With ours in its place its code is held to 1e-9, in float64.
PRECISIONS = [pytest.param(torch.float32, 1e-5, id="as-shipped"), pytest.param(torch.float64, 1e-9, id="float64-table")]


def step_counts(dtype):
    """Every S where ours and theirs agree to 1e-9; as shipped, where rounding alone is added, the first and a few."""
    return [S for S in range(1, 1001) if dtype == torch.float64 or S <= 50 or S % 19 == 0 or 1000 % S == 0]


def with_table(scheduler, dtype):
    if dtype == torch.float64:
        scheduler.alphas_cumprod = LINEAR.alphas_cumprod
    return scheduler


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_a_step_is_diffusers_ddpm_step_for_every_step_count(variance, clip, dtype, tolerance):
    stock = with_table(DDPMScheduler(variance_type=VARIANCE_TYPES[variance], clip_sample=clip), dtype)
    for S in step_counts(dtype):
        timesteps = visited_timesteps(S, 1000)
        stock.set_timesteps(timesteps=timesteps)
        for t, s in some(pairs(timesteps)):
            if s == -1 and t > 0:
                continue  # S = 1: diffusers adds noise to the picture
            x_t, output = state(t, dtype=dtype)
            ours = our_step(output, x_t, t, s, clip=clip, variance=variance)
            theirs = stock.step(output, t, x_t, generator=generator()).prev_sample
            # As shipped, 1 - ab_t / ab_s cancels in float32 (2 to 7e-5 in x_s, at t <= 10 in the full chain alone).
            lost = 10 if dtype == torch.float32 and t <= 20 else 1
            torch.testing.assert_close(ours, theirs, atol=lost * tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_step_is_diffusers_ddim_step_wherever_that_knows_the_next_timestep(eta, clip, dtype, tolerance):
    """With `leading` it does for every step count (it takes t - T // S for the next one), with `trailing` where S
    divides T."""
    divisors = [S for S in range(1, 1001) if 1000 % S == 0]
    for spacing, counts in (("leading", step_counts(dtype)), ("trailing", divisors)):
        stock = with_table(DDIMScheduler(timestep_spacing=spacing, clip_sample=clip), dtype)
        for S in counts:
            stock.set_timesteps(S)
            for t, s in some(pairs(visited_timesteps(S, 1000, spacing))):
                x_t, output = state(t, dtype=dtype)
                ours = our_step(output, x_t, t, s, clip=clip, eta=eta)
                theirs = stock.step(
                    output, t, x_t, eta=eta, use_clipped_model_output=True, generator=generator() if eta else None
                ).prev_sample
                # the last step of a run that starts at t = 999 and goes to the picture divides by 0.006
                torch.testing.assert_close(ours, theirs, atol=tolerance if s >= 0 else 200 * tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("prediction_type", ["sample", "v_prediction"])
@pytest.mark.parametrize("t", [0, 20, 500, 980])
def test_other_predictions_step_as_in_diffusers(prediction_type, t, dtype, tolerance):
    x_t, output = state(t, prediction_type, dtype)
    ddpm = with_table(DDPMScheduler(prediction_type=prediction_type), dtype)
    ddim = with_table(DDIMScheduler(prediction_type=prediction_type), dtype)
    ddpm.set_timesteps(50)
    ddim.set_timesteps(50)
    ours = our_step(output, x_t, t, t - 20 if t else -1, clip=True, prediction_type=prediction_type)
    theirs = ddpm.step(output, t, x_t, generator=generator()).prev_sample
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)
    ours = our_step(output, x_t, t, t - 20 if t else -1, clip=True, eta=0.0, prediction_type=prediction_type)
    theirs = ddim.step(output, t, x_t, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def test_the_last_step_to_the_picture_has_no_noise_where_diffusers_has():
    t = 19
    x_t, output = state(t)
    x_0_hat = our_step(output, x_t, t, -1, clip=True, eta=0.0)
    for variance in ("posterior", "beta"):
        assert torch.equal(our_step(output, x_t, t, -1, clip=True, variance=variance), x_0_hat)
    stock = DDPMScheduler(variance_type="fixed_large", timestep_spacing="trailing")
    stock.set_timesteps(50)
    theirs = stock.step(output, t, x_t, generator=generator())
    torch.testing.assert_close(x_0_hat, theirs.pred_original_sample, atol=1e-5, rtol=0)
    assert (theirs.prev_sample - x_0_hat).std() > 0.05  # 9.7 of 255 grey levels


def test_ddim_with_eta_1_is_ddpm_with_the_posterior_variance():
    """Typed anew: Algorithm 2's mean in eps form, and eq. (12) of DDIM, at every step of the full chain."""
    x_t, eps_hat = torch.randn(2, 1, 1, 2, 2, dtype=torch.float64)
    betas = np.linspace(1e-4, 0.02, 1000)
    ab = np.cumprod(1 - betas)
    for t in range(1, 1000):
        c = step_coefficients(t, t - 1, LINEAR)
        mean, std = reverse_mean_and_std(prediction_from_output(eps_hat, x_t, c.level_t, "epsilon"), c, eta=1.0)
        algorithm_2 = (x_t - betas[t] / math.sqrt(1 - ab[t]) * eps_hat) / math.sqrt(1 - betas[t])
        torch.testing.assert_close(mean, algorithm_2, atol=1e-9, rtol=0)
        assert std.item() ** 2 == pytest.approx(betas[t] * (1 - ab[t - 1]) / (1 - ab[t]), rel=1e-9)


def propagate(denoiser, steps, eta, variance="posterior", start=(0.0, 1.0)):
    """[(mean, var)] of x after each step, from x_T ~ N(*start), exactly: a Gaussian's denoiser is affine in x_t.

    The affine map of a step is read off at x_t = 0 and 1.
    """
    mean, var = start
    t, s = (torch.tensor(part) for part in zip(*steps, strict=True))
    coefficients = step_coefficients(t, s, denoiser.schedule)
    x = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    law = []
    for k, (t, _) in enumerate(steps):
        at, std = reverse_mean_and_std(denoiser.predict(x, t), coefficients[k], eta, variance)
        offset, slope = at[0].item(), (at[1] - at[0]).item()
        mean, var = offset + slope * mean, slope**2 * var + std.item() ** 2
        law.append((mean, var))
    return law


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_one_picture_comes_back_with_exact_marginals_for_every_step_count(eta):
    """N = 1: x_s stays N(sqrt(ab_s) y, 1 - ab_s), whatever S and eta, if x_T is drawn from q(x_T | y)."""
    T, y = 40, 0.7
    denoiser = DataDenoiser(
        torch.full((1, 1, 1, 1), y, dtype=torch.float64), NoiseSchedule.named("linear", 1e-3, 0.3, T)
    )
    ab = np.append(np.cumprod(1 - np.linspace(1e-3, 0.3, T)), 1.0)
    for S in range(1, T + 1):
        steps = pairs(visited_timesteps(S, T))
        law = propagate(denoiser, steps, eta, start=(math.sqrt(ab[T - 1]) * y, 1 - ab[T - 1]))
        s = np.array([s for _, s in steps])
        np.testing.assert_allclose(law, np.stack([np.sqrt(ab[s]) * y, 1 - ab[s]], axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("sampler", "read"), [(DDIM, {"eta": 0.0}), (DDIM, {"eta": 1.0}), (DDPM, {"reverse_variance": "beta"})]
)
def test_runs_on_one_picture_end_in_it_for_every_step_count(sampler, read):
    T, y = 40, torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)
    denoiser = DataDenoiser(y, NoiseSchedule.named("linear", 1e-3, 0.3, T))
    for S in range(1, T + 1):
        generators = image_generators(S, 3)
        x_T = noise_like(torch.empty(3, 1, 4, 4), generators)
        steps = list(walk(sampler, denoiser, x_T, pairs(visited_timesteps(S, T)), generators=generators, **read))
        assert len(steps) == S
        torch.testing.assert_close(steps[-1].x_s, y.expand(3, -1, -1, -1), atol=1e-6, rtol=0)
        for before, after in pairwise(steps):
            assert before.x_s is after.x_t
            assert before.s == after.t


def test_unit_gaussian_with_variance_beta_stays_exact_for_every_step_count():
    """x_0 ~ N(0, 1): q(x_s | x_t) has variance beta exactly, so every marginal is N(0, 1); only the noiseless last step
    to the picture shrinks it, to alpha-bar."""
    T = 40
    schedule = NoiseSchedule.named("linear", 1e-3, 0.3, T)
    denoiser = GaussianDenoiser(torch.zeros(1, 1, 1), 1.0, schedule)
    for S in range(2, T + 1):
        steps = pairs(visited_timesteps(S, T))
        variances = [var for _, var in propagate(denoiser, steps, 1.0, "beta")]
        assert variances == pytest.approx([1] * (S - 1) + [1 - 1e-3], abs=1e-12)


def test_ddim_on_a_unit_gaussian_shrinks_by_the_cosines_of_its_angles():
    schedule = NoiseSchedule.named()
    denoiser = GaussianDenoiser(torch.zeros(1, 1, 1), 1.0, schedule)
    theta = np.append(np.arccos(np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))), 0.0)
    for S in (1, 2, 7, 50, 333):
        steps = pairs(visited_timesteps(S, 1000))
        truth = math.prod(math.cos(theta[t] - theta[s]) ** 2 for t, s in steps)
        assert propagate(denoiser, steps, 0.0)[-1][1] == pytest.approx(truth, rel=1e-9)


# beta_end, conditioning, eta, and the std after 1000 steps of data with std .5, whose variance is a linear recursion
GAUSSIAN_TABLE = [
    (0.005, "naive", 1, 0.4517),
    (0.005, "naive", 0, 0.5231),
    (0.005, "matched", 1, 0.4982),
    (0.005, "matched", 0, 0.5144),
    (0.01, "naive", 1, 0.4666),
    (0.01, "naive", 0, 0.5088),
    (0.01, "matched", 1, 0.4971),
    (0.01, "matched", 0, 0.5001),
    (0.02, "naive", 1, 0.4961),
    (0.02, "naive", 0, 0.4985),
    (0.02, "matched", 1, 0.4961),
    (0.02, "matched", 0, 0.4985),
    (0.04, "naive", 1, 0.5452),
    (0.04, "naive", 0, 0.4754),
    (0.04, "matched", 1, 0.4947),
    (0.04, "matched", 0, 0.4979),
]


@pytest.mark.parametrize(("beta_end", "conditioning", "eta", "std"), GAUSSIAN_TABLE)
def test_gaussian_table_of_matched_against_naive_betas(beta_end, conditioning, eta, std):
    trained = GaussianDenoiser(torch.zeros(1, 1, 1), 0.5, LINEAR)
    denoiser = RescheduledDenoiser(trained, NoiseSchedule.named(beta_end=beta_end), conditioning)
    _, var = propagate(denoiser, pairs(visited_timesteps(1000, 1000)), eta)[-1]
    assert math.sqrt(var) == pytest.approx(std, abs=5.001e-5)


@pytest.mark.parametrize(("eta", "std"), [(1, 0.4432), (0, 0.4719)])
def test_gaussian_table_with_50_steps(eta, std):
    trained = GaussianDenoiser(torch.zeros(1, 1, 1), 0.5, LINEAR)
    _, var = propagate(trained, pairs(visited_timesteps(50, 1000)), eta)[-1]
    assert math.sqrt(var) == pytest.approx(std, abs=5.001e-5)


def test_sampled_pictures_have_the_propagated_law():
    """The loop itself, with its noise: mean and variance of 40,000 numbers against the exact propagation."""
    mean = torch.full((1, 4, 4), 0.3)
    denoiser = GaussianDenoiser(mean, 0.5, LINEAR)
    generators = image_generators(0, 2500)
    x_T = noise_like(torch.empty(2500, 1, 4, 4), generators)
    steps = pairs(visited_timesteps(12, 1000))
    *_, last = walk(DDPM, denoiser, x_T, steps, clip=False, generators=generators, reverse_variance="beta")
    scalar = GaussianDenoiser(torch.full((1, 1, 1), 0.3), 0.5, LINEAR)
    truth_mean, truth_var = propagate(scalar, steps, 1.0, "beta")[-1]
    n = last.x_s.numel()
    assert abs(last.x_s.mean().item() - truth_mean) < 4.5 * math.sqrt(truth_var / n)
    assert abs(last.x_s.var().item() / truth_var - 1) < 4.5 * math.sqrt(2 / n)


@pytest.mark.parametrize(
    ("sampler", "arguments", "message"),
    [
        (DDIM, {"eta": 1.1}, "^eta:"),
        (DDIM, {"eta": -0.1}, "^eta:"),
        (DDIM, {"eta": float("nan")}, "^eta:"),
        (DDIM, {"eta": 0.5}, "^generators:"),
        (DDIM, {"eta": 1.0, "generators": image_generators(0, 1)}, "^generators:"),
        (DDIM, {"reverse_variance": "beta"}, "^reverse_variance: the sampler ddim does not read it"),
        (DDPM, {"reverse_variance": "fixed_large"}, "^reverse_variance:"),
        (DDPM, {}, "^generators:"),
        (DDPM, {"eta": 1.0}, "^eta: the sampler ddpm does not read it"),
        (DDIM, {"pairs": [(5, 5)]}, "^t, s:"),
    ],
)
def test_wrong_arguments_are_named_before_the_first_step(sampler, arguments, message):
    denoiser = GaussianDenoiser(torch.zeros(1, 2, 2), 1.0, LINEAR)
    with pytest.raises(ValueError, match=message):
        walk(sampler, denoiser, torch.zeros(2, 1, 2, 2), **({"pairs": [(5, -1)]} | arguments))


@pytest.mark.parametrize(("t", "s"), [(999, 979), (600, 300), (99, 0), (1, 0)])
def test_eta_1_is_euler_ancestral(t, s):
    """Its step in y = x / sqrt(alpha-bar), typed anew from diffusers' EulerAncestralDiscreteScheduler, in float64."""
    x_t, eps_hat = state(t, dtype=torch.float64)
    c = step_coefficients(t, s, LINEAR)
    mean, std = reverse_mean_and_std(prediction_from_output(eps_hat, x_t, c.level_t, "epsilon"), c, eta=1.0)
    sigmas = np.sqrt((1 - LINEAR.alphas_cumprod.numpy()) / LINEAR.alphas_cumprod.numpy())
    sigma_from, sigma_to = sigmas[t], sigmas[s]
    sigma_up = (sigma_to**2 * (sigma_from**2 - sigma_to**2) / sigma_from**2) ** 0.5
    sigma_down = (sigma_to**2 - sigma_up**2) ** 0.5
    y = x_t / LINEAR.alphas_cumprod[t].sqrt()
    derivative = (y - (y - sigma_from * eps_hat)) / sigma_from
    signal_s = LINEAR.alphas_cumprod[s].sqrt().item()
    torch.testing.assert_close(mean, signal_s * (y + derivative * (sigma_down - sigma_from)), atol=1e-10, rtol=1e-9)
    assert std.item() == pytest.approx(signal_s * sigma_up, rel=1e-9)


def test_euler_ancestral_is_typed_as_diffusers_has_it():
    """A whole step of the stock scheduler, whose tables are float32, is ours with the same noise."""
    stock = EulerAncestralDiscreteScheduler(timestep_spacing="trailing")
    for k in (0, 4, 8):
        stock.set_timesteps(10)
        t, s = stock.timesteps[k].long().item(), stock.timesteps[k + 1].long().item()
        x_t, eps_hat = state(t)
        y = (x_t / LINEAR.alphas_cumprod[t].sqrt()).float()
        theirs = stock.step(eps_hat, stock.timesteps[k], y, generator=generator()).prev_sample
        ours = our_step(eps_hat, x_t, t, s, clip=False, eta=1.0)
        torch.testing.assert_close(ours, (theirs * LINEAR.alphas_cumprod[s].sqrt()).float(), atol=2e-4, rtol=1e-3)


def test_noise_of_an_image_is_its_generators_alone():
    x = torch.empty(5, 3, 8, 8)
    together = image_generators(11, 5)
    first, second = noise_like(x, together), noise_like(x, together)
    for i in range(5):
        alone = torch.Generator().manual_seed(11 + i)
        assert torch.equal(torch.randn(3, 8, 8, generator=alone), first[i])
        assert torch.equal(torch.randn(3, 8, 8, generator=alone), second[i])


def test_seeds_end_where_torch_would_repeat_itself():
    """torch's CPU generator keeps 32 bits of a seed; the settings allow no more, so no two seeds are one run."""
    x = torch.empty(1, 1, 4, 4)
    assert torch.equal(noise_like(x, image_generators(5, 1)), noise_like(x, image_generators(5 + 2**32, 1)))
    assert SEEDS == 2**32
    assert not torch.equal(noise_like(x, image_generators(5, 1)), noise_like(x, image_generators(SEEDS - 1, 1)))
