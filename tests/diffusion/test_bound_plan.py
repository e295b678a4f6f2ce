"""A subset of the steps covers the chain, estimates without bias, and reports the right standard error."""

import math

import numpy as np
import pytest
import torch

from diffusion.bound import StepError, estimate, reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

LINEAR = NoiseSchedule.named()


def test_stratified_plan_covers_every_step_once():
    for T, S, calls in ((1000, 1000, 64), (1000, 1000, 300), (1000, 250, 41), (60, 60, 25), (1000, 1000, 23)):
        schedule = NoiseSchedule.named(num_train_timesteps=T)
        plan = BoundPlan.stratified(schedule, visited_timesteps(S, T), calls)
        assert len(plan.evaluations) <= calls
        assert sum(stratum.size for stratum in plan.strata) == S
        assert set(plan.evaluations) <= set(plan.chain)
        assert len(set(plan.evaluations)) == len(plan.evaluations)
        exact = [stratum for stratum in plan.strata if stratum.size == 1]
        assert {pair for pair in plan.chain if pair[0] <= 20} == {stratum.drawn[0] for stratum in exact}
        wide = [stratum for stratum in plan.strata if stratum.size > 1]
        assert all(len(stratum.drawn) == 2 <= stratum.size for stratum in wide)
        start = len(exact)
        for stratum in wide:  # each draws from its own range of steps, and ranges follow each other
            inside = plan.chain[::-1][start : start + stratum.size]
            assert set(stratum.drawn) <= set(inside)
            start += stratum.size
        sizes = [stratum.size for stratum in wide]
        assert sizes[-1] == max(sizes)
        assert plan == BoundPlan.stratified(schedule, visited_timesteps(S, T), calls)
    assert BoundPlan.stratified(LINEAR, visited_timesteps(50, 1000), 64) == BoundPlan.all_steps(
        LINEAR, visited_timesteps(50, 1000)
    )
    with pytest.raises(ValueError, match=r"^evaluations: must be at least 23"):
        BoundPlan.stratified(LINEAR, visited_timesteps(1000, 1000), 22)
    with pytest.raises(ValueError, match=r"^decoder_draws:"):
        BoundPlan.all_steps(LINEAR, [999, 0], decoder_draws=0)


def test_stratified_estimate_is_unbiased_and_its_standard_error_is_honest():
    """200 draws of the subset, on Gaussian data whose terms are known: z-scores have mean 0 and spread about 1."""
    std, T = 0.5, 300
    schedule = NoiseSchedule.named("linear", 1e-4, 0.05, T)
    ab = np.append(np.cumprod(1 - np.linspace(1e-4, 0.05, T)), 1.0)
    timesteps = visited_timesteps(T, T)
    dims, count = 16, 3

    def exact_errors(plan):
        for t, s in plan.evaluations:
            m = torch.full((count,), std**2 * (1 - ab[t]) / (ab[t] * std**2 + 1 - ab[t]), dtype=torch.float64)
            at = (
                {} if s >= 0 else {"x_0": torch.zeros(count, 1, 4, 4) + 1 / 255, "x_0_hat": torch.zeros(count, 1, 4, 4)}
            )
            yield StepError(t, s, m, m, dims, **at)

    def sum_of(plan):
        variances = reverse_variances(plan, "beta")
        return estimate(plan, torch.zeros(count), exact_errors(plan), variances)

    truth = sum_of(BoundPlan.all_steps(schedule, timesteps))
    assert truth.subset_se_nats == 0
    found = [sum_of(BoundPlan.stratified(schedule, timesteps, 45, seed=seed)) for seed in range(200)]
    z = np.array([(f.nats.mean().item() - truth.nats.mean().item()) / f.subset_se_nats for f in found])
    off = np.array([f.nats.mean().item() for f in found])
    assert abs(off.mean() - truth.nats.mean().item()) < 4.5 * off.std() / math.sqrt(200)
    rms = math.sqrt(np.mean([f.subset_se_nats**2 for f in found]))
    assert rms == pytest.approx(off.std(), rel=0.2)
    assert np.median(np.abs(z)) < 1.5
