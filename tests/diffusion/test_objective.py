"""The loss of Algorithm 1 against independent formulas."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffusion.objective import draw_timesteps, loss_weight, prediction_target, training_loss
from diffusion.schedule import NoiseSchedule

LINEAR = NoiseSchedule.named()
AB = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
T = torch.tensor([0, 10, 400, 999])
KINDS = ["epsilon", "sample", "v_prediction"]


def network(error):
    """A network that is off by `error` from a perfect answer given at call time."""
    return lambda target: lambda x_t, t: SimpleNamespace(sample=target + error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_network_has_no_loss_and_an_error_is_squared(kind):
    x_0, eps = torch.randn(2, 4, 1, 4, 4, dtype=torch.float64)
    target = prediction_target(x_0, T, eps, LINEAR, kind)
    perfect = training_loss(network(0.0)(target), x_0, T, eps, LINEAR, kind)
    assert perfect.loss.abs().max() < 1e-12
    off = training_loss(network(0.1)(target), x_0, T, eps, LINEAR, kind)
    torch.testing.assert_close(off.loss, torch.full((4,), 0.01, dtype=torch.float64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_eps_mse_is_the_error_of_the_noise_that_the_answer_means(kind):
    x_0, eps = torch.randn(2, 4, 1, 4, 4, dtype=torch.float64)
    a, b = (np.sqrt(x[T.numpy()]).reshape(4, 1, 1, 1) for x in (AB, 1 - AB))
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    x_t = a * x_0 + b * eps
    answer = prediction_target(x_0, T, eps, LINEAR, kind) + 0.1 * torch.randn_like(x_0)
    eps_hat = {"epsilon": answer, "sample": (x_t - a * answer) / b, "v_prediction": a * answer + b * x_t}[kind]
    terms = training_loss(lambda x, t: SimpleNamespace(sample=answer), x_0, T, eps, LINEAR, kind)
    truth = (eps - eps_hat).square().flatten(1).mean(1)
    torch.testing.assert_close(terms.eps_mse.double(), truth, rtol=1e-4, atol=0)


def test_min_snr_weighs_the_pictures_error_by_min_snr_gamma_whatever_is_predicted():
    snr = torch.from_numpy(AB[T.numpy()] / (1 - AB[T.numpy()]))
    per_x_0 = {"epsilon": snr, "sample": torch.ones(4), "v_prediction": snr + 1}  # squared error per that of x_0
    for kind in KINDS:
        weight = loss_weight(T, LINEAR, kind, "min_snr", snr_gamma=5.0)
        torch.testing.assert_close(weight * per_x_0[kind], snr.clamp(max=5.0), rtol=1e-9, atol=0)
        assert torch.equal(loss_weight(T, LINEAR, kind, "simple"), torch.ones(4, dtype=torch.float64))


def test_the_network_sees_x_t_its_timestep_and_its_label():
    x_0, eps = torch.randn(2, 4, 1, 4, 4, dtype=torch.float64)
    seen = {}

    def model(x_t, t, class_labels):
        seen.update(x_t=x_t, t=t, labels=class_labels)
        return SimpleNamespace(sample=torch.zeros_like(x_t))

    training_loss(model, x_0, T, eps, LINEAR, class_labels=torch.tensor([3, 1, 2, 0]))
    for i, t in enumerate(T.tolist()):
        expected = math.sqrt(AB[t]) * x_0[i] + math.sqrt(1 - AB[t]) * eps[i]
        torch.testing.assert_close(seen["x_t"][i], expected, atol=1e-9, rtol=0)
    assert torch.equal(seen["t"], T)
    assert seen["labels"].tolist() == [3, 1, 2, 0]


def test_stratified_timesteps_take_one_of_each_slice_and_stay_in_range():
    uniforms, index = torch.rand(50, dtype=torch.float64), torch.arange(50)
    t = draw_timesteps(uniforms, 1000, "stratified", 50, index)
    assert torch.equal(t // 20, index)
    edge = torch.nextafter(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    for draw in ("uniform", "stratified"):
        assert draw_timesteps(edge, 1000, draw, 1, torch.tensor([0])).tolist() == [999]
        assert draw_timesteps(torch.zeros(1), 1000, draw, 1, torch.tensor([0])).tolist() == [0]
    uniform = draw_timesteps(torch.tensor([0.2505, 0.9999]), 1000, "uniform", 2, torch.arange(2))
    assert uniform.tolist() == [250, 999]


def test_unknown_names_are_named():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match=r"^prediction_type:"):
        prediction_target(x, T[:1], x, LINEAR, "noise")
    with pytest.raises(ValueError, match=r"^loss_weighting:"):
        loss_weight(T, LINEAR, "epsilon", "p2")
    with pytest.raises(ValueError, match=r"^timestep_draw:"):
        draw_timesteps(torch.zeros(1), 1000, "normal", 1, torch.tensor([0]))
