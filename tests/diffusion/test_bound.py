"""The bound against golden numbers, direct KLs of Gaussians, closed forms on Gaussian data, and its own statistics."""

import math

import numpy as np
import pytest
import torch

from diffusion.bound import (
    StepError,
    bits_per_dim,
    default_decoder_var,
    estimate,
    join,
    kl_nats_per_dim,
    mean_x_0_mse,
    measure,
    prior_nats,
    reverse_variances,
)
from diffusion.bound_plan import BoundPlan
from diffusion.denoisers import NetworkDenoiser
from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.gaussian import Level, Prediction, eps_from_x_0, level_at, step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

LINEAR = NoiseSchedule.named()
BETAS = np.linspace(1e-4, 0.02, 1000)
AB = np.append(np.cumprod(1 - BETAS), 1.0)
LN2 = math.log(2)


class Oracle:
    """Knows the picture: x_0_hat = x_0 + error. description is a real denoiser's."""

    def __init__(self, x_0, schedule=LINEAR, error=0.0):
        self.schedule = schedule
        self.answer = x_0.double() + error
        self.description = GaussianDenoiser(x_0[0], 1.0, schedule).description

    def predict(self, x_t, t, level: Level | None = None):
        return Prediction(self.answer, eps_from_x_0(x_t, self.answer, *(level or level_at(t, self.schedule))))


def grid_pictures(count=4, low=40, high=200, shape=(1, 4, 4)):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, (count, *shape), generator=generator).float() / 127.5 - 1


def whole_bound(denoiser, x_0, plan, variances, **options):
    errors = list(measure(denoiser, x_0, plan, image_generators(0, len(x_0)), clip=options.pop("clip", True)))
    prior = prior_nats(x_0, plan.chain[0][0], plan.schedule)
    return estimate(plan, prior, errors, variances, **options)


@pytest.mark.parametrize(
    ("S", "offset", "sigma_0", "interior"),
    [
        (1000, 0.48642, 5.453e-5, 1.30567),
        (100, 2.264, 9.545e-5, 1.68116),
        (50, 3.053, 9.841e-5, 1.70207),
        (10, 4.880, 9.993e-5, 1.71254),
    ],
)
def test_golden_bound_of_an_oracle(S, offset, sigma_0, interior):
    """What the fixed variances cost even where x_0_hat = x_0: KLs of Gaussians, Ho et al. 2020, eqs. (5)-(7)."""
    x_0 = grid_pictures()
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(S, 1000, "linspace"))
    assert default_decoder_var(plan) == pytest.approx(sigma_0, rel=1e-4)
    small = whole_bound(Oracle(x_0), x_0, plan, reverse_variances(plan, "posterior"), cdf="tanh")
    large = whole_bound(Oracle(x_0), x_0, plan, reverse_variances(plan, "beta"), cdf="tanh")
    assert small.steps.abs().max() < 1e-9
    assert bits_per_dim(large.steps, 16).tolist() == pytest.approx([offset] * 4, abs=1e-5 if S == 1000 else 5.001e-4)
    for bound in (small, large):
        assert bits_per_dim(bound.decoder, 16).tolist() == pytest.approx([interior] * 4, abs=2e-5)
        assert bound.subset_se_nats == 0
    assert large.bpd == pytest.approx(offset + interior + bits_per_dim(large.prior.mean().item(), 16), abs=6e-4)


def test_golden_terms_of_the_oracle_with_variance_beta():
    x_0 = grid_pictures()
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(1000, 1000))
    errors = {e.t: e for e in measure(Oracle(x_0), x_0, plan, image_generators(0, 4))}
    variances = reverse_variances(plan, "beta")
    for t, bits in ((1, 0.17512), (2, 0.07462)):
        term = bits_per_dim(errors[t].nats(variances[t, t - 1], LINEAR), 16)
        assert term.tolist() == pytest.approx([bits] * 4, abs=5.001e-6)


@pytest.mark.parametrize(
    ("t", "per_x_0", "per_eps"),
    [
        (1, 3933.3, 0.865),
        (2, 1274.9, 0.459),
        (10, 51.83, 0.114),
        (100, 0.1254, 0.0147),
        (500, 6.71e-4, 0.0080),
        (999, 5.94e-7, 0.0147),
    ],
)
def test_golden_coefficients(t, per_x_0, per_eps):
    x_0 = torch.zeros(1, 1, 4, 4)
    plan = BoundPlan.all_steps(LINEAR, [t, t - 1])
    error = next(iter(measure(Oracle(x_0, error=0.01), x_0, plan, image_generators(0, 1))))
    bits = bits_per_dim(error.nats(step_coefficients(t, t - 1, LINEAR).posterior_var.item(), LINEAR), 16).item()
    assert bits / 0.01**2 == pytest.approx(per_x_0, rel=1e-3)
    assert bits / error.eps_mse.item() == pytest.approx(per_eps, rel=7e-3)
    assert error.x_0_mse.item() == pytest.approx(1e-4, rel=1e-6)


def test_float32_would_have_lost_the_last_term():
    x_0 = torch.zeros(1, 1, 4, 4)
    plan = BoundPlan.all_steps(LINEAR, [999, 998])
    error = next(iter(measure(Oracle(x_0, error=0.01), x_0, plan, image_generators(0, 1))))
    bits = bits_per_dim(error.nats(reverse_variances(plan, "posterior")[999, 998], LINEAR), 16).item()
    assert bits == pytest.approx(5.9e-11, abs=5e-13)


def test_golden_prior():
    for second_moment, bits in ((0.25, 7e-6), (1.0, 2.9e-5)):
        x_0 = torch.full((2, 1, 4, 4), math.sqrt(second_moment), dtype=torch.float64)
        ours = bits_per_dim(prior_nats(x_0, 999, LINEAR), 16)
        assert ours.tolist() == pytest.approx([bits] * 2, abs=5e-7)
        typed = 0.5 * (AB[999] * second_moment - AB[999] - math.log1p(-AB[999])) / LN2
        assert ours.tolist() == pytest.approx([typed] * 2, rel=1e-9)


@pytest.mark.parametrize(("t", "s"), [(1, 0), (7, 3), (500, 499), (999, 500)])
@pytest.mark.parametrize("scale", [1.0, 1.7, 0.4])
def test_master_formula_is_the_kl_computed_directly(t, s, scale):
    """KL between two Gaussians in 16 dimensions, means and variances typed anew."""
    x_0, x_0_hat, x_t = torch.randn(3, 1, 1, 4, 4, dtype=torch.float64)
    beta = 1 - AB[t] / AB[s]
    btilde = beta * (1 - AB[s]) / (1 - AB[t])
    c_0, c_t = math.sqrt(AB[s]) * beta / (1 - AB[t]), math.sqrt(AB[t] / AB[s]) * (1 - AB[s]) / (1 - AB[t])
    var = scale * btilde
    mean_q, mean_p = c_0 * x_0 + c_t * x_t, c_0 * x_0_hat + c_t * x_t
    direct = 16 * 0.5 * (btilde / var - 1 - math.log(btilde / var)) + ((mean_q - mean_p) ** 2).sum() / (2 * var)
    mse = (x_0 - x_0_hat).square().mean().reshape(1)
    error = StepError(t=t, s=s, x_0_mse=mse, eps_mse=mse, dims=16)
    assert error.nats(var, LINEAR).item() == pytest.approx(direct.item(), rel=1e-9)


def gaussian_chain(S, std, kind):
    """(bound, exact NLL) in nats of one dimension of N(0, std^2), with a density decoder: everything in closed form.

    The chain p(x_0) is Gaussian, and its variance follows by recursion.
    """
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(S, 1000, "linspace"))
    ab_at = {t: AB[t] for t, _ in plan.chain}
    mse = {(t, s): std**2 * (1 - ab_at[t]) / (ab_at[t] * std**2 + 1 - ab_at[t]) for t, s in plan.chain}
    decoder = step_coefficients(*plan.chain[-1], LINEAR).beta.item() if kind == "beta" else None
    variances = reverse_variances(plan, kind, mse if kind == "analytic" else None, decoder)
    one = torch.full((1, 1, 1, 1), std, dtype=torch.float64)  # its second moment is std^2
    bound = prior_nats(one, 999, LINEAR).item()
    model_var = 1.0
    for t, s in plan.chain:
        c = step_coefficients(t, s, LINEAR)
        slope = (c.c_0 * math.sqrt(AB[t]) * std**2 / (AB[t] * std**2 + 1 - AB[t]) + c.c_t).item()
        model_var = slope**2 * model_var + variances[t, s]
        if s == -1:
            bound += gaussian_nats(0.0, math.sqrt(mse[t, s]), variances[t, s]).item()
        else:
            m = torch.tensor([mse[t, s]], dtype=torch.float64)
            bound += StepError(t=t, s=s, x_0_mse=m, eps_mse=m, dims=1).nats(variances[t, s], LINEAR).item()
    return bound, 0.5 * (math.log(2 * math.pi * model_var) + std**2 / model_var)


@pytest.mark.parametrize(
    ("S", "kind", "bound", "nll"),
    [
        (1000, "beta", 0.72688, None),
        (1000, "analytic", 0.72579, 0.72579),
        (1000, "posterior", 1.29572, None),
        (20, "beta", 0.77912, 0.73322),
        (20, "analytic", 0.72579, None),
        (20, "posterior", 149.48, None),
    ],
)
def test_golden_bound_of_gaussian_data_with_the_exact_denoiser(S, kind, bound, nll):
    ours, truth = gaussian_chain(S, 0.5, kind)
    assert ours == pytest.approx(bound, abs=5.001e-6 if bound < 10 else 5.001e-3)
    assert ours >= truth - 1e-9  # a bound
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert entropy == pytest.approx(0.725791, abs=5e-7)
    assert truth >= entropy - 1e-9
    if nll is not None:
        assert truth == pytest.approx(nll, abs=5.001e-6)


def test_measured_errors_of_an_exact_denoiser_are_the_conditional_variance():
    std, x_0 = 0.5, 0.5 * torch.randn(500, 1, 4, 4)
    denoiser = GaussianDenoiser(torch.zeros(1, 4, 4), std, LINEAR)
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(8, 1000))
    for error in measure(denoiser, x_0, plan, image_generators(0, 500), clip=False):
        truth = std**2 * (1 - AB[error.t]) / (AB[error.t] * std**2 + 1 - AB[error.t])
        se = error.x_0_mse.std().item() / math.sqrt(500)
        assert abs(error.x_0_mse.mean().item() - truth) < 4.5 * se
        ratio = AB[error.t] / (1 - AB[error.t])
        torch.testing.assert_close(error.eps_mse, ratio * error.x_0_mse, rtol=1e-6, atol=0)


def test_analytic_variance_is_the_best_on_the_set_it_was_fitted_to(unet):
    x_0 = grid_pictures(6, shape=(1, 8, 8))
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(25, 1000))
    errors = list(measure(NetworkDenoiser(unet, LINEAR), x_0, plan, image_generators(1, 6)))
    fitted = reverse_variances(plan, "analytic", mean_x_0_mse(errors))
    for error in errors[:-1]:
        best = error.nats(fitted[error.t, error.s], LINEAR).mean()
        assert (error.nats(fitted[error.t, error.s], LINEAR) >= 0).all()
        for factor in (0.9, 1.1):
            assert error.nats(factor * fitted[error.t, error.s], LINEAR).mean() > best
        for kind in ("posterior", "beta"):
            assert error.nats(reverse_variances(plan, kind)[error.t, error.s], LINEAR).mean() >= best - 1e-12
        c = step_coefficients(error.t, error.s, LINEAR)
        u = (c.delta * error.x_0_mse).mean()
        assert best.item() == pytest.approx(64 * 0.5 * math.log1p(u), rel=1e-9)


def test_analytic_variance_of_atoms_is_analytic_dpms():
    """Bao et al. 2022: btilde + ab_s beta^2 / (1 - ab_t)^2 * (1 - ab_t) / ab_t * (1 - E eps*^2 / D), exact denoiser."""
    pictures = torch.rand(30, 1, 4, 4, dtype=torch.float64) * 2 - 1
    t, s = 450, 300
    beta = 1 - AB[t] / AB[s]
    btilde = beta * (1 - AB[s]) / (1 - AB[t])
    x_0, eps = pictures.repeat(2000, 1, 1, 1), torch.randn(60_000, 1, 4, 4, dtype=torch.float64)
    said = DataDenoiser(pictures, LINEAR).predict(math.sqrt(AB[t]) * x_0 + math.sqrt(1 - AB[t]) * eps, t)
    plan = BoundPlan.all_steps(LINEAR, [t, s])
    mse = {(t, s): (x_0 - said.x_0_hat).square().mean().item(), (s, -1): 1.0}
    ours = reverse_variances(plan, "analytic", mse)[t, s]
    gamma = 1 - (eps.square() - said.eps_hat.square()).mean().item()  # E eps^2 = 1, less noisy with the eps drawn
    theirs = btilde + AB[s] * beta**2 / (1 - AB[t]) ** 2 * (1 - AB[t]) / AB[t] * (1 - gamma)
    assert ours > 1.1 * btilde
    assert ours - btilde == pytest.approx(theirs - btilde, rel=0.05)


def test_bound_of_a_finite_set_is_no_less_than_its_entropy():
    """p is a distribution, so the mean of -log p over N pictures is at least log N, and so is any bound on it."""
    pictures = grid_pictures(8)
    plan = BoundPlan.all_steps(LINEAR, visited_timesteps(1000, 1000))
    x_0 = pictures.repeat(10, 1, 1, 1)
    errors = list(measure(DataDenoiser(pictures, LINEAR), x_0, plan, image_generators(2, 80)))
    prior = prior_nats(x_0, 999, LINEAR)
    fitted = mean_x_0_mse(errors)
    bound = estimate(plan, prior, errors, reverse_variances(plan, "analytic", fitted, decoder_var=1e-8))
    assert bound.nats.mean().item() + 4 * bound.standard_error_nats > math.log(8)
    assert bound.nats.mean().item() < math.log(8) + 0.5  # and close to it: the denoiser is exact, the chain is long


def test_streamed_batches_are_one_large_batch(unet):
    x_0 = grid_pictures(5, shape=(1, 8, 8))
    denoiser = NetworkDenoiser(unet, LINEAR)
    plan = BoundPlan.stratified(LINEAR, visited_timesteps(1000, 1000), 30, exact_until=5, decoder_draws=3)
    variances = reverse_variances(plan, "beta")
    together = list(measure(denoiser, x_0, plan, image_generators(7, 5)))
    parts = [
        list(measure(denoiser, x_0[:2], plan, image_generators(7, 2))),
        list(measure(denoiser, x_0[2:], plan, image_generators(9, 3))),
    ]
    prior = prior_nats(x_0, 999, LINEAR)
    whole, joined = estimate(plan, prior, together, variances), estimate(plan, prior, join(parts), variances)
    torch.testing.assert_close(whole.nats, joined.nats, rtol=1e-4, atol=0)
    assert whole.standard_error_nats == pytest.approx(joined.standard_error_nats, rel=1e-3)
    assert sum(1 for _, s in plan.evaluations if s == -1) == 3
    assert whole.standard_error_nats >= whole.nats.std().item() / math.sqrt(5)
    assert whole.standard_error_bpd == pytest.approx(whole.standard_error_nats / 64 / LN2)
    with pytest.raises(ValueError, match=r"^batches:"):
        join([parts[0], parts[1][::-1]])


def test_every_term_is_positive_and_the_subset_estimates_the_whole(unet):
    x_0 = grid_pictures(3, shape=(1, 8, 8))
    denoiser = NetworkDenoiser(unet, LINEAR)
    timesteps = visited_timesteps(1000, 1000)
    full = BoundPlan.all_steps(LINEAR, timesteps)
    errors = list(measure(denoiser, x_0, full, image_generators(3, 3)))
    variances = reverse_variances(full, "beta")
    for error in errors:
        assert (error.nats(variances[error.t, error.s], LINEAR) >= 0).all()
    truth = estimate(full, prior_nats(x_0, 999, LINEAR), errors, variances)
    assert (truth.prior >= 0).all()
    subset = BoundPlan.stratified(LINEAR, timesteps, 64)
    by_pair = {(e.t, e.s): e for e in errors}
    same = [by_pair[pair] for pair in subset.evaluations]  # same noise: only the choice of steps differs
    found = estimate(subset, prior_nats(x_0, 999, LINEAR), same, reverse_variances(subset, "beta"))
    assert abs(found.nats.mean() - truth.nats.mean()) < 4.5 * found.subset_se_nats
    assert torch.equal(found.decoder, truth.decoder)


def test_variances_by_name():
    plan = BoundPlan.all_steps(LINEAR, [999, 500, 10])
    posterior, beta = reverse_variances(plan, "posterior"), reverse_variances(plan, "beta")
    for t, s in ((999, 500), (500, 10)):
        b = 1 - AB[t] / AB[s]
        assert beta[t, s] == pytest.approx(b, rel=1e-10)
        assert posterior[t, s] == pytest.approx(b * (1 - AB[s]) / (1 - AB[t]), rel=1e-10)
    assert posterior[10, -1] == beta[10, -1] == posterior[500, 10]
    assert reverse_variances(plan, "beta", decoder_var=0.5)[10, -1] == 0.5
    single = BoundPlan.all_steps(LINEAR, [999])
    assert reverse_variances(single, "posterior")[999, -1] == pytest.approx(1 - AB[999], rel=1e-12)


def test_kl_per_dim_is_zero_only_for_the_posterior_itself():
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert kl_nats_per_dim(zero, one) == 0
    assert kl_nats_per_dim(0.3 * one, one).item() == pytest.approx(0.15)
    for ratio in (0.5, 0.99, 1.01, 2.0):
        assert kl_nats_per_dim(zero, ratio * one) > 0


def test_what_has_no_bound_is_refused(class_unet):
    x_0 = grid_pictures(2, shape=(1, 8, 8))
    plan = BoundPlan.all_steps(LINEAR, [999, 0])
    labels = torch.tensor([0, 1])
    generators = image_generators(0, 2)
    guided = NetworkDenoiser(class_unet, LINEAR, class_labels=labels, guidance_scale=2.0)
    with pytest.raises(ValueError, match=r"^guidance_scale:"):
        measure(guided, x_0, plan, generators)
    conditional = NetworkDenoiser(class_unet, LINEAR, class_labels=labels)
    assert len(list(measure(conditional, x_0, plan, generators))) == 2
    with pytest.raises(ValueError, match=r"^denoiser:"):
        measure(conditional, x_0, BoundPlan.all_steps(NoiseSchedule.named(beta_end=0.01), [999, 0]), generators)
    with pytest.raises(ValueError, match=r"^generators:"):
        measure(conditional, x_0, plan, generators[:1])
    errors = list(measure(conditional, x_0, plan, generators))
    with pytest.raises(ValueError, match="infinite at a reverse variance of 0"):
        errors[0].nats(0.0, LINEAR)  # DDIM with eta = 0
    with pytest.raises(ValueError, match="8-bit grid"):
        list(measure(conditional, x_0 + 0.001, plan, generators))[-1].nats(1e-4, LINEAR)
    with pytest.raises(ValueError, match=r"^errors:"):
        estimate(plan, prior_nats(x_0, 999, LINEAR), errors[:1], reverse_variances(plan, "beta"))
    for kind, fitted in (("analytic", None), ("beta", {}), ("analytic", {}), ("learned", None)):
        with pytest.raises(ValueError, match=r"^(fitted_mse|variance):"):
            reverse_variances(plan, kind, fitted)
