"""The loss of Algorithm 1 (Ho et al. 2020), for every prediction type and weighting, and the draw of t.

Used by the training loop and by the mathematics tab; all random numbers are passed in.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffusion.gaussian import PredictionType, q_sample, signal_and_noise, velocity
from diffusion.schedule import NoiseSchedule

LossWeighting = Literal["simple", "min_snr"]
TimestepDraw = Literal["uniform", "stratified"]


@dataclass(frozen=True)
class LossTerms:
    """One number per image: (B,) float32 on the device of the batch.

    loss: what training minimises. eps_mse: mean squared error of the predicted noise over C, H and W, for any
    prediction type; comparable between runs, and an unweighted term of L_simple (Ho et al. 2020, eq. 14).
    """

    loss: Tensor
    eps_mse: Tensor


def prediction_target(
    x_0: Tensor, t: Tensor, eps: Tensor, schedule: NoiseSchedule, prediction_type: PredictionType
) -> Tensor:
    """Return the network's regression target at x_t: (B, C, H, W).

    x_0, eps: (B, C, H, W); t: (B,) in [0, T). Raises ValueError for an unknown prediction_type.
    """
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "sample":
        return x_0
    if prediction_type == "v_prediction":
        return velocity(x_0, eps, *signal_and_noise(t, schedule))
    raise ValueError(f"prediction_type: {prediction_type!r} is unknown; known are epsilon, sample, v_prediction")


def eps_mse_per_target_mse(t: Tensor, schedule: NoiseSchedule, prediction_type: PredictionType) -> Tensor:
    """Factor from the squared error of the target to that of eps: 1, SNR or alpha-bar. (B,) float64.

    eps - eps_hat = -sqrt(SNR) (x_0 - x_0_hat) = sqrt(alpha-bar) (v - v_hat), at equal x_t.
    """
    if prediction_type == "epsilon":
        return torch.ones(t.shape, dtype=torch.float64)
    alphas_cumprod = schedule.alphas_cumprod[t.cpu()]
    return schedule.snr[t.cpu()] if prediction_type == "sample" else alphas_cumprod


def loss_weight(
    t: Tensor,
    schedule: NoiseSchedule,
    prediction_type: PredictionType,
    weighting: LossWeighting,
    snr_gamma: float = 5.0,
) -> Tensor:
    """Weight of the target's squared error at t: (B,) float64.

    "simple": 1. "min_snr": min(SNR, gamma) on x_0, which is min(SNR, gamma)/SNR on eps and min(SNR, gamma)/(SNR + 1) on
    v: Hang et al. 2023, sec. 3.4. Raises ValueError for another weighting.
    """
    if weighting == "simple":
        return torch.ones(t.shape, dtype=torch.float64)
    if weighting != "min_snr":
        raise ValueError(f"loss_weighting: {weighting!r} is unknown; known are simple, min_snr")
    snr = schedule.snr[t.cpu()]
    on_x_0 = snr.clamp(max=snr_gamma)
    return {"sample": on_x_0, "epsilon": on_x_0 / snr, "v_prediction": on_x_0 / (snr + 1)}[prediction_type]


def training_loss(
    model,
    x_0: Tensor,
    t: Tensor,
    eps: Tensor,
    schedule: NoiseSchedule,
    prediction_type: PredictionType = "epsilon",
    weighting: LossWeighting = "simple",
    snr_gamma: float = 5.0,
    class_labels: Tensor | None = None,
) -> LossTerms:
    """Algorithm 1, line 5: the squared error of the network's output at x_t, one number per image.

    model: a diffusers UNet2DModel (or a callable with its signature). x_0, eps: (B, C, H, W), x_0 in [-1, 1]; t: (B,)
    int64 in [0, T); class_labels: (B,) int64 or None.
    """
    x_t = q_sample(x_0, t, eps, schedule)
    target = prediction_target(x_0, t, eps, schedule, prediction_type)
    weight = loss_weight(t, schedule, prediction_type, weighting, snr_gamma)  # before the call, so that no GPU waits
    factor = eps_mse_per_target_mse(t, schedule, prediction_type)
    labels = {} if class_labels is None else {"class_labels": class_labels}
    answer = model(x_t, t, **labels).sample
    answer = answer.to(torch.promote_types(answer.dtype, torch.float32))  # only the network runs in half precision
    mse = (answer - target.to(answer)).square().mean(dim=tuple(range(1, x_0.ndim)))
    return LossTerms(loss=weight.to(mse) * mse, eps_mse=(factor.to(mse) * mse).detach())


def draw_timesteps(
    uniforms: Tensor, num_train_timesteps: int, draw: TimestepDraw, batch_size: int, index: Tensor
) -> Tensor:
    """Return timesteps for some images of a batch, from one uniform number each: (B,) int64 in [0, T).

    "uniform": Algorithm 1. "stratified": the image at `index` of a batch of batch_size gets the index-th of batch_size
    equal slices of [0, T), so that every batch covers all noise levels; still uniform over many batches. uniforms: (B,)
    in [0, 1); index: (B,) in [0, batch_size). Raises ValueError for another draw.
    """
    if draw == "stratified":
        uniforms = (index + uniforms) / batch_size
    elif draw != "uniform":
        raise ValueError(f"timestep_draw: {draw!r} is unknown; known are uniform, stratified")
    return (uniforms * num_train_timesteps).long().clamp(max=num_train_timesteps - 1)
