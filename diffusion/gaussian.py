"""The Gaussians of the forward process, and the three prediction types of a network.

Symbols are the papers': x_0 the picture, x_t its noisy version, eps the WHOLE noise between them, v the velocity. (t,
s) with s < t is one reverse step; s = t - 1 in the full chain, s = -1 is the picture.
"""

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor

from diffusion.schedule import NoiseSchedule, per_image

PredictionType = Literal["epsilon", "sample", "v_prediction"]


class Level(NamedTuple):
    """A noise level, as the two amplitudes of x_t = signal x_0 + noise eps; signal^2 + noise^2 = 1. Float64."""

    signal: Tensor
    noise: Tensor


def signal_and_noise(t: Tensor | int, schedule: NoiseSchedule) -> Level:
    """sqrt(alpha-bar) and sqrt(1 - alpha-bar), the two amplitudes of x_t, at integer t in [-1, T).

    Float64 of t's shape. Raises ValueError outside [-1, T).
    """
    log_alpha_bar = schedule.log_alpha_bar(t)
    return Level(torch.exp(0.5 * log_alpha_bar), torch.sqrt(one_minus_exp(log_alpha_bar)))


def one_minus_exp(log: Tensor) -> Tensor:
    """1 - e^log for log <= 0: to full precision where it is small, and never -0."""
    return torch.expm1(log).abs()


def level_at(t: Tensor | float, schedule: NoiseSchedule) -> Level:
    """The amplitudes at a timestep in [0, T-1], possibly fractional; at integers those of signal_and_noise.

    Float64 of t's shape. Raises ValueError for a t beyond the schedule.
    """
    t = torch.as_tensor(t, dtype=torch.float64)
    if bool((t == t.floor()).all()):
        return signal_and_noise(t.long(), schedule)
    log_snr = -2 * schedule.log_sigma_at(t)
    return Level(torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt())


def q_sample(x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Draw from q(x_t | x_0) with given noise: sqrt(alpha-bar) x_0 + sqrt(1 - alpha-bar) eps; Ho et al. 2020, eq. (4).

    x_0, eps: (B, C, H, W); t: (B,) or () integers in [-1, T). Returns (B, C, H, W).
    """
    signal, noise = signal_and_noise(t, schedule)
    return per_image(signal, x_0) * x_0 + per_image(noise, x_0) * eps


def q_posterior(
    x_0: Tensor, x_t: Tensor, t: Tensor, schedule: NoiseSchedule, s: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(x_s | x_t, x_0): Ho et al. 2020, eqs. (6)-(7), for s = t - 1 and for any other s < t.

    x_0, x_t: (B, C, H, W); t, s: (B,) or () integers, -1 <= s < t < T. Returns the mean (B, C, H, W) and the variance
    (B, 1, 1, 1), or (1, 1, 1, 1) for one t; the variance is 0 at s = -1. Raises ValueError for other t, s.
    """
    t = torch.as_tensor(t)
    c = step_coefficients(t, t - 1 if s is None else s, schedule)
    return per_image(c.c_0, x_0) * x_0 + per_image(c.c_t, x_0) * x_t, per_image(c.posterior_var, x_0)


def eps_from_x_0(x_t: Tensor, x_0: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """The noise between x_0 and x_t: (x_t - signal x_0) / noise.

    x_t, x_0: (B, C, H, W); signal, noise: (B,) or ().
    """
    return (x_t - per_image(signal, x_t) * x_0) / per_image(noise, x_t)


def x_0_from_eps(x_t: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """The picture that eps was added to: (x_t - noise eps) / signal.

    x_t, eps: (B, C, H, W); signal, noise: (B,) or ().
    """
    return (x_t - per_image(noise, x_t) * eps) / per_image(signal, x_t)


def velocity(x_0: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """v = signal eps - noise x_0: Salimans & Ho 2022, sec. 4 and app. D.

    x_0, eps: (B, C, H, W); signal, noise: (B,) or ().
    """
    return per_image(signal, x_0) * eps - per_image(noise, x_0) * x_0


@dataclass(frozen=True)
class Prediction:
    """A denoiser's answer at x_t in both forms, each (B, C, H, W); x_t = signal x_0_hat + noise eps_hat."""

    x_0_hat: Tensor
    eps_hat: Tensor

    def clipped(self, x_t: Tensor, level: Level) -> Self:
        """Clamp x_0_hat to [-1, 1] and recompute eps_hat from it, so that the two stay consistent.

        The code of Ho et al. does this (clip_denoised); the DDIM paper's does not clip, and diffusers' DDIM keeps the
        old eps_hat unless use_clipped_model_output is set.
        """
        x_0_hat = self.x_0_hat.clamp(-1, 1)
        return type(self)(x_0_hat, eps_from_x_0(x_t, x_0_hat, *level))


def prediction_from_output(output: Tensor, x_t: Tensor, level: Level, prediction_type: PredictionType) -> Prediction:
    """Convert a network's output at x_t, whose noise level is `level`, to x_0_hat and eps_hat.

    output, x_t: (B, C, H, W). Raises ValueError for an unknown prediction_type.
    """
    if prediction_type == "epsilon":
        return Prediction(x_0_from_eps(x_t, output, *level), output)
    if prediction_type == "sample":
        return Prediction(output, eps_from_x_0(x_t, output, *level))
    if prediction_type == "v_prediction":
        signal, noise = (per_image(amplitude, x_t) for amplitude in level)
        return Prediction(signal * x_t - noise * output, signal * output + noise * x_t)
    raise ValueError(
        f"prediction_type: {prediction_type!r} is unknown; known are {', '.join(get_args(PredictionType))}"
    )


@dataclass(frozen=True)
class StepCoefficients:
    """The schedule's coefficients for reverse steps t -> s; all float64 of one shape, () or (S,).

    q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, posterior_var): Ho et al. 2020, eqs. (6)-(7), for any s < t. beta = 1 -
    alpha-bar_t / alpha-bar_s is the variance of the forward step s -> t. delta = SNR_s - SNR_t = c_0^2 / posterior_var,
    computed without cancellation; infinite at s = -1.
    """

    signal_t: Tensor
    noise_t: Tensor
    signal_s: Tensor
    noise_s: Tensor
    beta: Tensor
    posterior_var: Tensor
    c_0: Tensor
    c_t: Tensor
    delta: Tensor

    def __getitem__(self, index: int) -> Self:
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def level_t(self) -> Level:
        """The noise level at the start of the step."""
        return Level(self.signal_t, self.noise_t)

    @property
    def level_s(self) -> Level:
        """The noise level at the end of the step."""
        return Level(self.signal_s, self.noise_s)


def step_coefficients(t: Tensor | int, s: Tensor | int, schedule: NoiseSchedule) -> StepCoefficients:
    """Return the coefficients of the reverse steps t -> s; s = -1 gives c_0 = 1, c_t = 0, variance 0.

    t, s: integers, -1 <= s < t < T, broadcast to one shape. Raises ValueError naming the first wrong pair.
    """
    t, s = torch.broadcast_tensors(torch.as_tensor(t, device="cpu"), torch.as_tensor(s, device="cpu"))
    wrong = ~((s >= -1) & (s < t) & (t < len(schedule)))
    if bool(wrong.any()):
        bad_t, bad_s = t[wrong][0].item(), s[wrong][0].item()
        raise ValueError(f"t, s: a reverse step needs -1 <= s < t < {len(schedule)}, got t = {bad_t}, s = {bad_s}")
    log_t, log_s = schedule.log_alpha_bar(t), schedule.log_alpha_bar(s)
    var_t, var_s = one_minus_exp(log_t), one_minus_exp(log_s)
    beta = one_minus_exp(log_t - log_s)
    return StepCoefficients(
        signal_t=torch.exp(0.5 * log_t),
        noise_t=var_t.sqrt(),
        signal_s=torch.exp(0.5 * log_s),
        noise_s=var_s.sqrt(),
        beta=beta,
        posterior_var=beta * var_s / var_t,
        c_0=torch.exp(0.5 * log_s) * beta / var_t,
        c_t=torch.exp(0.5 * (log_t - log_s)) * var_s / var_t,
        delta=torch.exp(log_s) * beta / (var_s * var_t),
    )
