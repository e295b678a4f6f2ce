"""One step of each algorithm against independent autograd, finite differences, and the paper's formula in numpy."""

import math

import numpy as np
import pytest
import torch

from diffusion.denoisers import NetworkDenoiser
from diffusion.derivation.c09_two_algorithms import draw_batch, sampling_step, training_trials
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from tests.networks import make_unet

LINEAR = NoiseSchedule.named()
BETAS = np.linspace(1e-4, 0.02, 1000)
AB = np.cumprod(1 - BETAS)


def pictures(count=4):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def batch(count=4, seed=0):
    return draw_batch(pictures(count), LINEAR, torch.Generator().manual_seed(seed))


def test_what_algorithm_1_draws():
    big = draw_batch(torch.zeros(20_000, 1, 2, 2), LINEAR, torch.Generator().manual_seed(0))
    counts = np.bincount(big.t.numpy(), minlength=1000)
    assert len(counts) == 1000  # none beyond T - 1
    assert abs(((counts - 20) ** 2 / 20).sum() - 999) < 4.5 * math.sqrt(2 * 999)  # chi squared
    assert abs(big.eps.mean().item()) < 4.5 / math.sqrt(80_000)
    assert torch.equal(batch().t, batch().t) and not torch.equal(batch().eps, batch(seed=1).eps)


def training_step(*args, **how):
    """The step with all its trials."""
    *_, whole = training_trials(*args, **how)
    return whole


def loss_of(unet, drawn):
    t = drawn.t.numpy()
    a, b = (torch.from_numpy(np.sqrt(x)).reshape(-1, 1, 1, 1) for x in (AB[t], 1 - AB[t]))
    answer = unet((a * drawn.x_0 + b * drawn.eps).to(unet.dtype), drawn.t).sample
    return (answer - drawn.eps).square().mean()


def test_one_step_is_sgds():
    """Loss, gradient norm and loss after, by torch's own optimiser."""
    drawn, found = batch(), training_step(make_unet(), batch(), LINEAR, [1e-3, 1e-2])
    for trial in found.trials:
        unet = make_unet().double()
        optimiser = torch.optim.SGD(unet.parameters(), lr=trial.learning_rate)
        loss = loss_of(unet, drawn)
        loss.backward()
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in unet.parameters()))
        optimiser.step()
        after = loss_of(unet, drawn).item()
        assert found.loss_before == pytest.approx(loss.item(), rel=1e-6)
        assert found.grad_norm == pytest.approx(norm, rel=1e-5)
        assert trial.loss_after == pytest.approx(after, rel=1e-6)
        change = trial.loss_after - found.loss_before
        assert trial.ratio == pytest.approx(change / (-trial.learning_rate * norm**2), rel=1e-4)
    assert found.losses_before.shape == (4,)


def test_trials_come_one_by_one_after_the_gradient():
    rates = [1e-3, 1e-2, 1e-4]
    steps = list(training_trials(make_unet(), batch(), LINEAR, rates))
    assert [len(step.trials) for step in steps] == [0, 1, 2, 3]
    assert [trial.learning_rate for trial in steps[-1].trials] == rates
    assert len({step.grad_norm for step in steps}) == 1
    with pytest.raises(ValueError, match=r"^learning_rate"):
        training_trials(make_unet(), batch(), LINEAR, [])  # at once, not at the first trial


def test_the_ratio_is_1_for_small_steps_and_the_loss_rises_after_large_ones():
    found = training_step(make_unet(), batch(8), LINEAR, [1e-5, 1e-4, 1e-1, 10.0])
    assert found.trials[0].ratio == pytest.approx(1, abs=0.02)
    assert found.trials[1].ratio == pytest.approx(1, abs=0.01)
    assert found.trials[1].loss_after < found.loss_before
    assert found.trials[3].ratio < 0 and found.trials[3].loss_after > found.loss_before


def test_the_network_itself_is_left_alone():
    unet = make_unet()
    before = [weight.clone() for weight in unet.parameters()]
    for exact in (True, False):
        training_step(unet, batch(), LINEAR, [0.1], exact=exact)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, unet.parameters(), strict=True))
    assert unet.dtype == torch.float32


def test_order_of_learning_rates_dropout_and_labels():
    unet = make_unet(classes=3)
    unet.train()
    labels = torch.tensor([0, 1, 2, 3])
    up = training_step(unet, batch(), LINEAR, [1e-3, 1e-2], class_labels=labels)
    down = training_step(unet, batch(), LINEAR, [1e-2, 1e-3], class_labels=labels)
    assert up.trials[0].loss_after == pytest.approx(down.trials[1].loss_after, rel=1e-6)
    other = training_step(unet, batch(), LINEAR, [1e-3], class_labels=labels.flip(0))
    assert other.loss_before != pytest.approx(up.loss_before, rel=1e-3)
    single = training_step(unet, batch(), LINEAR, [1e-2], class_labels=labels, exact=False)
    assert single.trials[0].ratio == pytest.approx(up.trials[1].ratio, rel=0.01)


@pytest.mark.parametrize("rates", [[], [0.0], [1e-3, -1e-3]])
def test_bad_learning_rates_are_refused(rates):
    with pytest.raises(ValueError, match=r"^learning_rate: must be positive"):
        training_step(make_unet(), batch(), LINEAR, rates)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_algorithm_2_in_numpy(t, variance):
    denoiser, x_t = NetworkDenoiser(make_unet(), LINEAR), torch.randn(2, 1, 8, 8)
    found = sampling_step(denoiser, x_t, t, image_generators(5, 2), variance=variance)
    eps_hat = denoiser.predict(x_t.double(), t).eps_hat.numpy()
    z = [torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(5 + i)).numpy() for i in range(2)]
    z = np.stack(z) * (t > 0)
    previous = AB[t - 1] if t else 1.0
    var = BETAS[t] if variance == "beta" else BETAS[t] * (1 - previous) / (1 - AB[t])
    sigma = math.sqrt(var) if t else 0.0
    mean = (x_t.double().numpy() - BETAS[t] / math.sqrt(1 - AB[t]) * eps_hat) / math.sqrt(1 - BETAS[t])
    for x_s in (found.step.x_s, found.by_pictures, found.by_noises):
        np.testing.assert_allclose(x_s, mean + sigma * z, atol=1e-5)
    pixel = found.at(0, 3, 5, picture=1)
    assert pixel.x_s == pytest.approx((mean + sigma * z)[1, 0, 3, 5], abs=1e-5)
    assert pixel.sigma == pytest.approx(sigma, rel=1e-6) and pixel.z == pytest.approx(z[1, 0, 3, 5])
    assert pixel.alpha_bar == pytest.approx(AB[t]) and pixel.beta == pytest.approx(BETAS[t])
    assert pixel.x_0_hat_used == pixel.x_0_hat
    expected = pixel.c_0 * pixel.x_0_hat_used + pixel.c_t * pixel.x_t + pixel.sigma * pixel.z
    assert pixel.by_pictures == pytest.approx(expected, abs=1e-5)


def test_clipping_parts_the_two_readings():
    denoiser, x_t = NetworkDenoiser(make_unet(), LINEAR), torch.randn(1, 1, 8, 8)
    found = sampling_step(denoiser, x_t, 900, image_generators(0, 1), clip=True)
    torch.testing.assert_close(found.step.x_s, found.by_pictures, atol=1e-5, rtol=0)
    assert (found.by_noises - found.step.x_s).abs().max() > 1e-3
    assert found.x_0_hat.abs().max() > 1 >= found.step.x_0_hat.abs().max()


def test_bad_steps_and_pixels_are_refused():
    denoiser, x_t = NetworkDenoiser(make_unet(), LINEAR), torch.randn(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"^t, s: a reverse step needs"):
        sampling_step(denoiser, x_t, 1000, image_generators(0, 1))
    found = sampling_step(denoiser, x_t, 3, image_generators(0, 1))
    with pytest.raises(ValueError, match=r"^pixel: must lie within"):
        found.at(0, 8, 0)
