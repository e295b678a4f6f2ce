"""Networks and exact denoisers behind one protocol, each against an independent formula."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from diffusion.denoisers import Description, NetworkDenoiser
from diffusion.exact import DataDenoiser, GaussianDenoiser, MixtureDenoiser
from diffusion.gaussian import level_at, signal_and_noise
from diffusion.schedule import NoiseSchedule
from diffusion.timestep_matching import RescheduledDenoiser

LINEAR = NoiseSchedule.named()
AB = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def amplitudes(t):
    return math.sqrt(AB[t]), math.sqrt(1 - AB[t])


def test_network_is_asked_at_t_and_read_with_the_amplitudes_of_t(unet):
    x_t = torch.randn(2, 1, 8, 8)
    for t in (0, 137, 999):
        with torch.no_grad():
            eps = unet(x_t, t).sample
        said = NetworkDenoiser(unet, LINEAR).predict(x_t, t)
        a, b = amplitudes(t)
        torch.testing.assert_close(said.eps_hat, eps)
        torch.testing.assert_close(said.x_0_hat, (x_t - b * eps) / a, atol=1e-4, rtol=1e-4)


def test_network_is_told_fractions_of_a_timestep(unet):
    """Its answer at 500.5 lies between its neighbours' and is neither, so no float was truncated on the way."""
    x_t = torch.randn(2, 1, 8, 8)
    before, between, after = (NetworkDenoiser(unet, LINEAR).predict(x_t, t).eps_hat for t in (500, 500.5, 501))
    step = (after - before).abs().max()
    assert step > 1e-5
    assert ((before + after) / 2 - between).abs().max() < 0.25 * step  # a truncated 500.5 is off by half of it


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_picture_and_noise_fit_x_t_for_every_prediction_type(unet, prediction_type):
    x_t = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    for t in (0, 500.25, 999):
        signal, noise = level_at(t, LINEAR)
        said = NetworkDenoiser(unet, LINEAR, prediction_type).predict(x_t, t)
        assert said.x_0_hat.dtype == torch.float64
        torch.testing.assert_close(signal * said.x_0_hat + noise * said.eps_hat, x_t, atol=1e-10, rtol=0)


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_its_formula_in_one_call(class_unet, w):
    x_t, labels = torch.randn(2, 1, 8, 8), torch.tensor([0, 2])
    with torch.no_grad():
        conditional = class_unet(x_t, 300, class_labels=labels).sample
        unconditional = class_unet(x_t, 300, class_labels=torch.tensor([3, 3])).sample
    assert (conditional - unconditional).abs().max() > 1e-3
    sizes = []
    hook = class_unet.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    denoiser = NetworkDenoiser(class_unet, LINEAR, class_labels=labels, guidance_scale=w)
    said = denoiser.predict(x_t, 300).eps_hat
    hook.remove()
    torch.testing.assert_close(said, unconditional + w * (conditional - unconditional), atol=1e-5, rtol=1e-5)
    assert sizes == ([2] if w in (0, 1) else [4])
    assert denoiser.description.guided == (w not in (0, 1))


def test_labels_and_network_must_fit(unet, class_unet):
    with pytest.raises(ValueError, match=r"^class_labels: needed exactly"):
        NetworkDenoiser(class_unet, LINEAR)
    with pytest.raises(ValueError, match=r"^class_labels: needed exactly"):
        NetworkDenoiser(unet, LINEAR, class_labels=torch.tensor([0]))
    with pytest.raises(ValueError, match=r"^class_labels: must lie in \[0, 4\)"):
        NetworkDenoiser(class_unet, LINEAR, class_labels=torch.tensor([4]))
    with pytest.raises(ValueError, match=r"^guidance_scale:"):
        NetworkDenoiser(unet, LINEAR, guidance_scale=2.0)


def test_descriptions_name_engine_threads_and_precision(unet):
    threads = torch.get_num_threads()
    network = NetworkDenoiser(unet, LINEAR)
    assert network.description == Description("network", "torch", threads, "float32")
    assert RescheduledDenoiser(network, NoiseSchedule.named(beta_end=0.01)).description == network.description
    picture = torch.zeros(1, 1, 2, 2)
    assert GaussianDenoiser(picture[0], 1.0, LINEAR).description == Description("gaussian", "torch", threads, "float64")
    assert DataDenoiser(picture, LINEAR).description.kind == "data"
    assert MixtureDenoiser(picture, torch.ones(1), LINEAR).description.kind == "mixture"


@pytest.mark.parametrize("t", [0, 40, 400, 999])
def test_gaussian_denoiser_is_linear_regression(t):
    a, b = amplitudes(t)
    x_t, mean, std = torch.randn(3, 1, 2, 2, dtype=torch.float64), torch.randn(1, 2, 2, dtype=torch.float64), 0.5
    said = GaussianDenoiser(mean, std, LINEAR).predict(x_t, t)
    truth = mean + a * std**2 / (a**2 * std**2 + b**2) * (x_t - a * mean)
    torch.testing.assert_close(said.x_0_hat, truth, atol=1e-10, rtol=0)
    torch.testing.assert_close(said.eps_hat, (x_t - a * truth) / b, atol=1e-9, rtol=0)


@pytest.mark.parametrize("t", [3, 300, 700, 999])
def test_mixture_denoiser_is_tweedie(t):
    """eps_hat = -noise * grad log q_t, with q_t typed anew and differentiated by autograd."""
    a, b = amplitudes(t)
    means, stds = torch.randn(4, 1, 2, 2, dtype=torch.float64), torch.tensor([0.0, 0.1, 0.5, 2.0], dtype=torch.float64)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    x = (a * means[2] + b * torch.randn(5, 1, 2, 2, dtype=torch.float64)).requires_grad_()
    log_q = torch.logsumexp(
        torch.stack(
            [
                torch.log(w / 10)
                + torch.distributions.Normal(a * m, torch.sqrt(a**2 * s**2 + b**2)).log_prob(x).flatten(1).sum(1)
                for m, s, w in zip(means, stds, weights, strict=True)
            ]
        ),
        dim=0,
    )
    (score,) = torch.autograd.grad(log_q.sum(), x)
    said = MixtureDenoiser(means, stds, LINEAR, weights).predict(x.detach(), t)
    torch.testing.assert_close(said.eps_hat, -b * score, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("t", [1, 100, 500, 999])
def test_two_atoms_give_a_tanh(t):
    a, b = amplitudes(t)
    at = 0.6
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
    atoms = torch.tensor([-at, at], dtype=torch.float64).reshape(2, 1, 1, 1)
    truth = at * torch.tanh(a * at * x / b**2)
    for denoiser in (DataDenoiser(atoms, LINEAR), MixtureDenoiser(atoms, torch.zeros(2), LINEAR)):
        torch.testing.assert_close(denoiser.predict(x, t).x_0_hat, truth, atol=1e-12, rtol=0)


@pytest.mark.parametrize("t", [0, 10.5, 500, 999])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_data_denoiser_is_a_softmax_of_distances(t, chunk):
    pictures = torch.rand(20, 1, 4, 4) * 2 - 1
    a, b = (part.item() for part in level_at(t, LINEAR))
    x_t = a * pictures[:3].double() + b * torch.randn(3, 1, 4, 4, dtype=torch.float64)
    y = pictures.double().numpy().reshape(20, 16)
    distance = ((x_t.numpy().reshape(3, 1, 16) - a * y) ** 2).sum(2)
    logits = -distance / (2 * b**2)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    denoiser = DataDenoiser(pictures, LINEAR, chunk=chunk)
    np.testing.assert_allclose(denoiser.log_weights(x_t, t).exp(), weights, atol=1e-9)
    np.testing.assert_allclose(denoiser.predict(x_t, t).x_0_hat.flatten(1), weights @ y, atol=1e-9)


def test_leave_one_out_never_answers_with_the_picture_itself():
    pictures = torch.rand(6, 1, 4, 4) * 2 - 1
    x_t = pictures[[4, 2]] + 1e-3
    without = DataDenoiser(pictures, LINEAR, left_out=torch.tensor([4, 2]))
    for row, i in enumerate([4, 2]):
        others = DataDenoiser(pictures[[k for k in range(6) if k != i]], LINEAR)
        torch.testing.assert_close(without.predict(x_t, 300).x_0_hat[row], others.predict(x_t[[row]], 300).x_0_hat[0])
        assert without.log_weights(x_t, 300)[row, i] == -torch.inf


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataDenoiser(torch.empty(0, 1, 2, 2), LINEAR),
        lambda: DataDenoiser(torch.zeros(1, 1, 2, 2), LINEAR, left_out=torch.tensor([0])),
        lambda: DataDenoiser(torch.zeros(2, 1, 2, 2), LINEAR, left_out=torch.tensor([2])),
        lambda: DataDenoiser(torch.zeros(2, 1, 2, 2), LINEAR, chunk=0),
        lambda: GaussianDenoiser(torch.zeros(1, 2, 2), -1.0, LINEAR),
        lambda: GaussianDenoiser(torch.zeros(1, 2, 2), float("nan"), LINEAR),
        lambda: MixtureDenoiser(torch.zeros(2, 1, 2, 2), torch.ones(3), LINEAR),
        lambda: MixtureDenoiser(torch.zeros(2, 1, 2, 2), torch.ones(2), LINEAR, torch.tensor([1.0, 0.0])),
    ],
)
def test_wrong_data_are_refused(make):
    with pytest.raises(ValueError, match=r"^(pictures|left_out|chunk|stds|means|weights)"):
        make()


OTHERS = [NoiseSchedule.named(beta_end=0.01), NoiseSchedule.named(beta_start=1e-3), NoiseSchedule.named("sigmoid")]


@pytest.mark.parametrize("other", OTHERS)
def test_matched_within_the_trained_range_is_the_denoiser_of_the_other_betas(other):
    """For an exact denoiser, being told the same noise level must be the same as knowing the other schedule."""
    means, stds = torch.randn(3, 1, 2, 2, dtype=torch.float64), torch.tensor([0.1, 0.3, 0.5])
    matched = RescheduledDenoiser(MixtureDenoiser(means, stds, LINEAR), other)
    truth = MixtureDenoiser(means, stds, other)
    inside = (other.log_sigma >= LINEAR.log_sigma[0]) & (other.log_sigma <= LINEAR.log_sigma[-1])
    assert inside.sum() > 900
    for t in torch.nonzero(inside).flatten()[::37].tolist():
        x_t = torch.randn(4, 1, 2, 2, dtype=torch.float64)
        said, true = matched.predict(x_t, t), truth.predict(x_t, t)
        torch.testing.assert_close(said.x_0_hat, true.x_0_hat, atol=1e-7, rtol=1e-7)
        torch.testing.assert_close(said.eps_hat, true.eps_hat, atol=1e-7, rtol=1e-7)


def test_above_the_trained_range_the_picture_is_read_with_the_trained_alpha_bar(unet):
    other, x_t = NoiseSchedule.named(beta_end=0.04), torch.randn(2, 1, 8, 8)
    assert other.log_sigma[-1] > LINEAR.log_sigma[-1]
    with torch.no_grad():
        eps = unet(x_t, 999).sample
    a, b = amplitudes(999)
    denoiser = RescheduledDenoiser(NetworkDenoiser(unet, LINEAR), other)
    said = denoiser.predict(x_t, 999)
    assert denoiser.conditioned_timestep(999) == 999
    torch.testing.assert_close(said.x_0_hat, (x_t - b * eps) / a, atol=1e-3, rtol=1e-3)
    signal, noise = signal_and_noise(999, other)
    assert signal < 1e-4  # by which the picture would have been divided
    torch.testing.assert_close(signal.float() * said.x_0_hat + noise.float() * said.eps_hat, x_t, atol=1e-6, rtol=0)


def test_below_the_trained_range_it_is_told_zero(unet):
    other, x_t = NoiseSchedule.named(beta_start=1e-6), torch.randn(2, 1, 8, 8)
    denoiser = RescheduledDenoiser(NetworkDenoiser(unet, LINEAR), other)
    assert denoiser.conditioned_timestep(0) == 0
    with torch.no_grad():
        eps = unet(x_t, 0).sample
    torch.testing.assert_close(denoiser.predict(x_t, 0).x_0_hat, (x_t - 1e-3 * eps) / math.sqrt(1 - 1e-6))


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_naive_is_diffusers_scheduler_on_other_betas(unet, prediction_type):
    other, x_t, t = NoiseSchedule.named(beta_end=0.01), torch.randn(2, 1, 8, 8), 400
    stock = DDPMScheduler(beta_end=0.01, prediction_type=prediction_type, clip_sample=False)
    with torch.no_grad():
        theirs = stock.step(unet(x_t, t).sample, t, x_t).pred_original_sample
    denoiser = RescheduledDenoiser(NetworkDenoiser(unet, LINEAR, prediction_type), other, "naive")
    torch.testing.assert_close(denoiser.predict(x_t, t).x_0_hat, theirs, atol=1e-5, rtol=1e-5)


def test_unknown_conditioning_is_named():
    denoiser = GaussianDenoiser(torch.zeros(1, 2, 2), 1.0, NoiseSchedule.named(num_train_timesteps=10))
    with pytest.raises(ValueError, match=r"^conditioning: 'exact' is unknown"):
        RescheduledDenoiser(denoiser, LINEAR, "exact")
    with pytest.raises(ValueError, match=r"^conditioning: naive has no timesteps"):
        RescheduledDenoiser(denoiser, LINEAR, "naive")
