"""Frontiers: distances to the result of all steps, KID of few samples against its definition, and the runs needed."""

import numpy as np
import pytest
import torch

from diffusion.experiments.axes import LEAST_SAMPLES, SAMPLERS_AND_ETAS, Axis, AxisError
from diffusion.experiments.frontier import measurements, sampler_of
from diffusion.experiments.grid import cheap_first, run_jobs
from diffusion.metrics.distances import kid_difference, kid_of_few, shuffled
from diffusion.metrics.features import FeatureConfig, FeatureNetwork, FeatureSpace
from diffusion.pixels import to_uint8
from diffusion.settings import SamplingSettings
from tests.diffusion.conftest import make_pipeline

ETAS = Axis("etas", SAMPLERS_AND_ETAS, (0.0, 0.5, 1.0))


@pytest.fixture(scope="module")
def pipeline(class_unet):
    return make_pipeline(class_unet, num_train_timesteps=40)


@pytest.fixture(scope="module")
def space():
    torch.manual_seed(3)
    network = FeatureNetwork(FeatureConfig(channels=1, image_size=8, classes=0, width=8, features=6)).eval()
    rng = np.random.default_rng(0)
    real, held_out = (torch.from_numpy(rng.standard_normal((100, 6))) for _ in range(2))
    return FeatureSpace(network, {}, real, held_out)


def steps(*counts) -> Axis:
    return Axis("steps", "num_inference_steps", counts)


def measured(found) -> dict:
    results = {}
    for step in run_jobs(cheap_first(job for one in found for job in one.jobs)):
        if step.is_last:
            results[step.job.key] = step.result
    return results


def own_axis(*lines, name="etas") -> Axis:
    return Axis(name, SAMPLERS_AND_ETAS, lines)


def test_an_eta_is_a_sampler():
    base = SamplingSettings(sampler="ddpm", reverse_variance="beta", seed=4)
    assert sampler_of(base, 1.0) == base
    assert sampler_of(base, 0.0) == SamplingSettings(eta=0.0, seed=4)
    assert sampler_of(base, "unipc") == SamplingSettings(sampler="unipc", seed=4, timestep_spacing="power")
    assert sampler_of(SamplingSettings(eta=0.3), "DPMPP_2M") == SamplingSettings(
        sampler="dpmpp_2m", timestep_spacing="power"
    )
    assert sampler_of(SamplingSettings(eta=0.3), 1.0) == SamplingSettings(sampler="ddpm")
    assert sampler_of(base, "ddpm") == base
    assert sampler_of(SamplingSettings(eta=0.3), "DDIM") == SamplingSettings(eta=0.0)
    for value, field in ((True, "eta"), (2.0, "eta"), (float("nan"), "eta"), ("1", "sampler"), ("euler", "sampler")):
        with pytest.raises(ValueError, match=f"^{field}: "):
            sampler_of(base, value)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("ddim, DDPM, unipc", ["ddim", "ddpm", "unipc"]),
        ("0, 1", [0.0, 1.0]),  # as addresses and programs had it, when the axis was one of eta
        ("0-1[3], unipc", [0.0, 0.5, 1.0, "unipc"]),
        ([0, 1, "unipc"], [0, 1, "unipc"]),
    ],
)
def test_samplers_are_an_axis_of_names_and_of_etas(pipeline, given, values):
    axis = Axis.of("samplers", SAMPLERS_AND_ETAS, given)
    assert list(axis.values) == values
    found = measurements(pipeline, SamplingSettings(), steps(2), axis, 20, None)
    assert [one.settings.sampler for one in found] == ["ddim", *["unipc"] * ("unipc" in values)]
    with pytest.raises(AxisError, match=r"^samplers, value 2: sampler: Input should be 'ddim', .*, got 'euler'"):
        measurements(pipeline, SamplingSettings(), steps(2), own_axis(0, "euler", name="samplers"), 20, None)


def test_distances_are_those_to_all_steps_from_the_same_noise(pipeline, space):
    base = SamplingSettings(num_images=3, seed=7, class_label=(0, 1, 2), num_inference_steps=9)
    found = measurements(pipeline, base, steps(2, 10, 40), own_axis(0.0), 20, space)
    points = [one.point(measured(found)) for one in found]
    runs = {S: list(pipeline.steps(base.replace(num_inference_steps=S)))[-1].x_s.double().numpy() for S in (2, 10, 40)}
    for point, S in zip(points, (2, 10, 40), strict=True):
        squares = ((runs[S] - runs[40]) ** 2).reshape(3, -1).mean(1)
        assert (point.sampler, point.eta, point.calls, point.measure, point.n) == ("ddim", 0.0, S, "rms", 3)
        assert point.value == pytest.approx(np.sqrt(squares.mean()), rel=1e-6)
        if S < 40:
            error = np.std(squares, ddof=1) / np.sqrt(3) / (2 * np.sqrt(squares.mean()))
            assert point.standard_error == pytest.approx(error, rel=1e-6)
    assert points[0].value > 0 and points[-1].value == 0 == points[-1].standard_error


def test_the_reference_runs_once_and_the_run_of_all_steps_is_it(pipeline):
    base = SamplingSettings(num_images=2)
    found = measurements(pipeline, base, steps(2, 5, 40), own_axis(0.0), 20, None)
    jobs = cheap_first(job for one in found for job in one.jobs)
    assert [job.calls for job in jobs] == [2, 5, 40]
    results = {jobs[0].key: torch.zeros(2, 1, 8, 8)}
    assert found[0].point(results) is None  # the reference is still to come


def test_every_deterministic_sampler_is_measured_against_all_steps_of_ddim(pipeline):
    base = SamplingSettings(num_images=2, seed=5, timestep_spacing="power")
    found = measurements(pipeline, base, steps(6), own_axis(0.0, "dpmpp_2m", "unipc"), 20, None)
    assert len({one.reference.key for one in found}) == 1
    (plan,) = found[2].reference.plans
    assert plan.settings == SamplingSettings(eta=0.0, num_inference_steps=40, num_images=2, seed=5)
    results = measured(found)
    points = [one.point(results) for one in found]
    assert [(one.sampler, one.eta) for one in points] == [("ddim", 0), ("dpmpp_2m", 0), ("unipc", 0)]
    reference = list(pipeline.steps(plan.settings))[-1].x_s
    for point in points:
        spacing = "trailing" if point.sampler == "ddim" else "power"
        own = base.replace(sampler=point.sampler, num_inference_steps=6, timestep_spacing=spacing)
        apart = (list(pipeline.steps(own))[-1].x_s - reference).double().square().mean().sqrt().item()
        assert point.value == pytest.approx(apart, rel=1e-6)


def test_kid_is_of_as_many_samples_as_asked_for_each_of_a_random_class(pipeline, space):
    base = SamplingSettings(num_images=1, seed=11, class_label=2)
    found = measurements(pipeline, base, steps(2, 3), ETAS, 70, space)
    noisy = [one for one in found if one.reference is None]
    assert [(one.settings.effective_eta, one.settings.num_inference_steps) for one in noisy] == [
        (0.5, 2), (0.5, 3), (1.0, 2), (1.0, 3)
    ]  # fmt: skip
    job = noisy[3].job
    settings = [plan.settings for plan in job.plans]
    assert [one.num_images for one in settings] == [64, 6] and [one.seed for one in settings] == [11, 75]
    assert settings[0].sampler == "ddpm" and {*settings[0].class_label, *settings[1].class_label} == {0, 1, 2}
    assert job.calls == 6 and job.evaluations == 210
    point = noisy[3].point(measured([noisy[3]]))
    x = torch.cat([list(pipeline.steps(one))[-1].x_s for one in settings])
    expected, error = kid_of_few(shuffled(space.real, 0), space.features(to_uint8(x)))
    assert (point.measure, point.n) == ("kid", 70)
    assert (point.value, point.standard_error) == pytest.approx((expected, error), rel=1e-9)


def test_without_classes_or_a_space(pipeline, space):
    plain = measurements(pipeline, SamplingSettings(), steps(2), ETAS, 20, space)
    assert [one.job.plans[0].settings.class_label for one in plain] == [None] * 3
    without = measurements(pipeline, SamplingSettings(), steps(2), ETAS, 20, None)
    assert [one.settings.eta for one in without] == [0.0]


def test_what_cannot_be_measured_names_its_field(pipeline, space):
    base = SamplingSettings()
    for samples in (LEAST_SAMPLES - 1, 2001, 30.0, True, "many"):
        with pytest.raises(ValueError, match=r"^samples: must lie in \[20, 2000\], got "):
            measurements(pipeline, base, steps(2), ETAS, samples, space)
    with pytest.raises(ValueError, match=r"^samples: needs a value"):
        measurements(pipeline, base, steps(2), ETAS, None, space)
    with pytest.raises(ValueError, match=r"^start_step: must be 0"):
        measurements(pipeline, base.replace(start_step=1), steps(5), ETAS, 20, space)
    with pytest.raises(AxisError, match=r"^steps, value 2: num_inference_steps: must lie in \[1, 40\], got 41"):
        measurements(pipeline, base, steps(2, 41), ETAS, 20, space)
    with pytest.raises(AxisError, match=r"^etas, value 2: eta: .* 1, got 1.5"):
        measurements(pipeline, base, steps(2), own_axis(0.0, 1.5), 20, space)


def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def naive_kid(real: np.ndarray, samples: np.ndarray) -> float:
    """Binkowski et al. 2018, eq. (4), pair by pair."""
    n, m = len(samples), len(real)
    a = sum(kernel(samples, samples)[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    b = (kernel(real, real).sum() - np.trace(kernel(real, real))) / (m * (m - 1))
    return a + b - 2 * kernel(samples, real).mean()


def test_kid_of_few_is_the_unbiased_estimate_and_its_jackknife():
    rng = np.random.default_rng(5)
    real, samples = rng.standard_normal((600, 4)), rng.standard_normal((9, 4)) + 0.3
    value, error = kid_of_few(torch.from_numpy(real), torch.from_numpy(samples))
    assert value == pytest.approx(naive_kid(real, samples), rel=1e-9)
    without = np.array([naive_kid(real, np.delete(samples, i, 0)) for i in range(9)])
    assert error == pytest.approx(np.sqrt(8 / 9 * ((without - without.mean()) ** 2).sum()), rel=1e-8)
    with pytest.raises(ValueError, match=r"^samples: needs at least 3"):
        kid_of_few(torch.from_numpy(real), torch.from_numpy(samples[:2]))


def test_kid_of_few_is_0_for_the_data_themselves_and_its_error_is_the_spread():
    rng = np.random.default_rng(6)
    real = torch.from_numpy(rng.standard_normal((900, 8)))
    found = [kid_of_few(real, torch.from_numpy(rng.standard_normal((40, 8)))) for _ in range(40)]
    values, errors = np.array(found).T
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(40)
    assert 0.6 < values.std() / errors.mean() < 1.4
    shifted = kid_of_few(real, torch.from_numpy(rng.standard_normal((40, 8)) + 0.7))
    assert shifted[0] > 3 * shifted[1] > 0


def test_a_difference_of_kids_is_paired():
    rng = np.random.default_rng(7)
    real, noise = rng.standard_normal((600, 4)), rng.standard_normal((9, 4))
    first, second = noise + 0.3, 1.1 * noise + 0.3
    value, error = kid_difference(*map(torch.from_numpy, (real, first, second)))
    assert value == pytest.approx(naive_kid(real, second) - naive_kid(real, first), rel=1e-8)
    without = np.array(
        [naive_kid(real, np.delete(second, i, 0)) - naive_kid(real, np.delete(first, i, 0)) for i in range(9)]
    )
    assert error == pytest.approx(np.sqrt(8 / 9 * ((without - without.mean()) ** 2).sum()), rel=1e-7)
    assert kid_difference(*map(torch.from_numpy, (real, first, first))) == (0, 0)
    with pytest.raises(ValueError, match=r"^samples: need as many on both sides, got 9 and 8"):
        kid_difference(*map(torch.from_numpy, (real, first, second[:8])))


def test_the_error_of_a_difference_is_its_spread_and_far_below_that_of_the_values():
    rng = np.random.default_rng(8)
    real, found, errors = torch.from_numpy(rng.standard_normal((900, 8))), [], []
    for _ in range(40):
        noise = torch.from_numpy(rng.standard_normal((40, 8)))
        found.append(kid_difference(real, noise, 1.02 * noise))
        errors.append(kid_of_few(real, noise)[1])
    values, own = np.array(found).T
    assert 0.6 < values.std() / own.mean() < 1.5
    assert own.mean() < np.mean(errors) / 4
