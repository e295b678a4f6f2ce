"""One step of each algorithm of Ho et al. 2020 with all its numbers: Algorithm 1 (training), Algorithm 2 (sampling).

Code index i is the paper's t = i + 1: Algorithm 1 draws i from 0..T-1, and Algorithm 2 adds no noise at i = 0.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from diffusion.denoisers import Denoiser
from diffusion.gaussian import PredictionType, step_coefficients
from diffusion.objective import draw_timesteps, training_loss
from diffusion.samplers.ancestral import DDPM
from diffusion.samplers.base import walk
from diffusion.sampling import ReverseVariance, Step, noise_like
from diffusion.schedule import NoiseSchedule, per_image


@dataclass(frozen=True, eq=False)
class NoisyBatch:
    """The draws of Algorithm 1, lines 2-4: pictures x_0, and a t and a noise for each.

    x_0, eps: (B, C, H, W); t: (B,) int64.
    """

    x_0: Tensor
    t: Tensor
    eps: Tensor


def draw_batch(x_0: Tensor, schedule: NoiseSchedule, generator: torch.Generator) -> NoisyBatch:
    """Draw a uniform t and fresh noise for each of these pictures (B, C, H, W)."""
    uniforms = torch.rand(len(x_0), generator=generator, dtype=torch.float64)
    t = draw_timesteps(uniforms, len(schedule), "uniform", len(x_0), torch.arange(len(x_0)))
    return NoisyBatch(x_0, t, torch.randn(x_0.shape, generator=generator, dtype=x_0.dtype))


@dataclass(frozen=True)
class Trial:
    """A training step with one learning rate.

    ratio: the change of the loss over -learning_rate grad_norm^2, the change of a linear loss. It is close to 1 for a
    small learning rate, and below 0 if the loss rose.
    """

    learning_rate: float
    loss_after: float
    ratio: float


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One plain SGD step: the loss (a mean over the batch) before and after, on the same x_0, t and eps.

    losses_before: (B,) float64, one per picture. grad_norm: over all weights together. trials: one per learning rate.
    """

    losses_before: Tensor
    grad_norm: float
    trials: tuple[Trial, ...]

    @property
    def loss_before(self) -> float:
        """L_simple of the batch."""
        return self.losses_before.mean().item()


def training_trials(
    unet,
    batch: NoisyBatch,
    schedule: NoiseSchedule,
    learning_rates: Sequence[float],
    prediction_type: PredictionType = "epsilon",
    class_labels: Tensor | None = None,
    exact: bool = True,
) -> Iterator[TrainingStep]:
    """Take the step of Algorithm 1, line 5, from the same weights with each learning rate; `unet` is not changed.

    Yields the step with the gradient alone, then with one more trial each time. Works on a copy, without dropout.
    exact: computes in float64. float32 is three times as fast, but a step below about 1e-8 of a weight does not change
    it, and the ratio means nothing below a learning rate of about 1e-3. learning_rates: each positive. Raises
    ValueError otherwise, before the first.
    """
    if not learning_rates or not all(rate > 0 for rate in learning_rates):
        raise ValueError(f"learning_rate: must be positive, got {list(learning_rates)}")
    return _trials(unet, batch, schedule, learning_rates, prediction_type, class_labels, exact)


def _trials(unet, batch, schedule, learning_rates, prediction_type, class_labels, exact) -> Iterator[TrainingStep]:
    network = copy.deepcopy(unet).eval().requires_grad_(True)
    network = network.double() if exact else network.float()
    x_0, eps = batch.x_0.to(network.dtype), batch.eps.to(network.dtype)

    def losses() -> Tensor:
        terms = training_loss(network, x_0, batch.t, eps, schedule, prediction_type, class_labels=class_labels)
        return terms.loss.double()

    before = losses()
    weights = list(network.parameters())
    gradient = torch.autograd.grad(before.mean(), weights, allow_unused=True)
    moved = [(weight, part) for weight, part in zip(weights, gradient, strict=True) if part is not None]
    grad_norm = torch.stack([part.square().sum() for _, part in moved]).sum().sqrt().item()
    step = TrainingStep(before.detach(), grad_norm, ())
    yield step
    for last_rate, rate in pairwise([0.0, *learning_rates]):
        with torch.no_grad():
            for weight, part in moved:
                weight.sub_(part, alpha=rate - last_rate)
            loss_after = losses().mean().item()
        trial = Trial(rate, loss_after, (step.loss_before - loss_after) / (rate * grad_norm**2))
        step = replace(step, trials=(*step.trials, trial))
        yield step


@dataclass(frozen=True)
class PixelNumbers:
    """The numbers of Algorithm 2, line 4, at one pixel, as floats; symbols as in the paper.

    eps_hat, x_0_hat: the network's answer. x_0_hat_used: x_0_hat, clamped if the sampler clips. z: the noise, 0 at
    t = 0. x_s: the sampler's result. by_pictures = c_0 x_0_hat_used + c_t x_t + sigma z and by_noises = (x_t - beta /
    sqrt(1 - alpha-bar) eps_hat) / sqrt(alpha) + sigma z: both equal x_s if nothing was clamped, otherwise only the
    first does. (The paper's box does not clamp, its code does.)
    """

    x_t: float
    eps_hat: float
    x_0_hat: float
    x_0_hat_used: float
    alpha: float
    beta: float
    alpha_bar: float
    c_0: float
    c_t: float
    sigma: float
    z: float
    x_s: float
    by_pictures: float
    by_noises: float


@dataclass(frozen=True, eq=False)
class SamplingStep:
    """One step of Algorithm 2 as the sampler took it, with its noise and both ways to compute it.

    step: see Step. z, by_pictures, by_noises, x_0_hat, eps_hat: (B, C, H, W); see PixelNumbers.
    """

    step: Step
    alpha: float
    beta: float
    alpha_bar: float
    c_0: float
    c_t: float
    sigma: float
    x_0_hat: Tensor
    eps_hat: Tensor
    z: Tensor
    by_pictures: Tensor
    by_noises: Tensor

    def at(self, channel: int, row: int, column: int, picture: int = 0) -> PixelNumbers:
        """Return the numbers at one pixel. Raises ValueError outside the pictures."""
        place, shape = (picture, channel, row, column), tuple(self.z.shape)
        if not all(0 <= k < size for k, size in zip(place, shape, strict=True)):
            raise ValueError(f"pixel: must lie within {shape}, got {place}")
        return PixelNumbers(
            x_t=self.step.x_t[place].item(),
            eps_hat=self.eps_hat[place].item(),
            x_0_hat=self.x_0_hat[place].item(),
            x_0_hat_used=self.step.x_0_hat[place].item(),
            alpha=self.alpha,
            beta=self.beta,
            alpha_bar=self.alpha_bar,
            c_0=self.c_0,
            c_t=self.c_t,
            sigma=self.sigma,
            z=self.z[place].item(),
            x_s=self.step.x_s[place].item(),
            by_pictures=self.by_pictures[place].item(),
            by_noises=self.by_noises[place].item(),
        )


def sampling_step(
    denoiser: Denoiser,
    x_t: Tensor,
    t: int,
    generators: list[torch.Generator],
    clip: bool = False,
    variance: ReverseVariance = "posterior",
) -> SamplingStep:
    """Take the sampler's own step t -> t - 1 at eta = 1, and compute Algorithm 2 beside it on the same noise.

    x_t: (B, C, H, W); t: in [0, T); generators: one per picture. clip: see Prediction.clipped. Calls the denoiser
    twice.
    """
    c = step_coefficients(t, t - 1, denoiser.schedule)
    answer = denoiser.predict(x_t, t)
    twins = [generator.clone_state() for generator in generators]
    (step,) = walk(DDPM, denoiser, x_t, [(t, t - 1)], clip, generators, reverse_variance=variance)
    sigma = torch.zeros(()) if t == 0 else (c.beta if variance == "beta" else c.posterior_var).sqrt()
    z = torch.zeros_like(x_t) if t == 0 else noise_like(x_t, twins)
    noise = per_image(sigma, x_t) * z
    alpha, drift = 1 - c.beta, c.beta / c.noise_t
    return SamplingStep(
        step=step,
        alpha=alpha.item(),
        beta=c.beta.item(),
        alpha_bar=c.signal_t.square().item(),
        c_0=c.c_0.item(),
        c_t=c.c_t.item(),
        sigma=sigma.item(),
        x_0_hat=answer.x_0_hat,
        eps_hat=answer.eps_hat,
        z=z,
        by_pictures=per_image(c.c_0, x_t) * step.x_0_hat + per_image(c.c_t, x_t) * x_t + noise,
        by_noises=(x_t - per_image(drift, x_t) * answer.eps_hat) / per_image(alpha.sqrt(), x_t) + noise,
    )
