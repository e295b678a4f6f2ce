"""Exact denoisers: E[x_0 | x_t] in closed form, for data with a known distribution.

Truth and network are interchangeable: samplers and bound are tested with these, and the web pages compare with them.
"""

import torch
from torch import Tensor

from diffusion.denoisers import Description
from diffusion.gaussian import Level, Prediction, level_at, prediction_from_output, x_0_from_eps
from diffusion.schedule import NoiseSchedule


def read_at(x_0_hat: Tensor, x_t: Tensor, own: Level, level: Level | None) -> Prediction:
    """Convert x_0_hat, computed as if x_t were at level `own`, to a Prediction at `level`; eps_hat is kept.

    x_0_hat, x_t: (B, C, H, W); level None means `own`. A network trained to predict noise does the same when it is
    conditioned on a wrong timestep.
    """
    prediction = prediction_from_output(x_0_hat, x_t, own, "sample")
    if level is None:
        return prediction
    return Prediction(x_0_from_eps(x_t, prediction.eps_hat, *level), prediction.eps_hat)


class MixtureDenoiser:
    """E[x_0 | x_t] for x_0 from a mixture of K isotropic Gaussians, sum_k weights_k N(means_k, stds_k^2 I).

    means: (K, C, H, W); stds: (K,), each >= 0 (0 is an atom); weights: (K,), each > 0, equal by default, normalised
    here. Computes in float64. Raises ValueError naming the wrong argument.
    """

    kind = "mixture"

    def __init__(self, means: Tensor, stds: Tensor, schedule: NoiseSchedule, weights: Tensor | None = None):
        means = means.double()
        stds = torch.as_tensor(stds, dtype=torch.float64, device=means.device)
        weights = torch.ones(len(means)) if weights is None else weights
        weights = torch.as_tensor(weights, dtype=torch.float64, device=means.device)
        if len(means) == 0 or stds.shape != (len(means),) or weights.shape != (len(means),):
            raise ValueError(
                f"means, stds, weights: need one of each, got {len(means)}, {tuple(stds.shape)}, {tuple(weights.shape)}"
            )
        if not bool((stds >= 0).all() & stds.isfinite().all()):
            raise ValueError(f"stds: must be finite and not negative, got {stds.tolist()}")
        if not bool((weights > 0).all() & weights.isfinite().all()):
            raise ValueError(f"weights: must be finite and positive, got {weights.tolist()}")
        self.means, self.stds, self.weights = means, stds, weights / weights.sum()
        self.schedule = schedule

    @property
    def description(self) -> Description:
        """Computed by torch, in float64."""
        return Description(self.kind, "torch", torch.get_num_threads(), "float64")

    def log_weights(self, x_t: Tensor, t: float) -> Tensor:
        """Log probability of each component given x_t: (B, K) float64."""
        signal, noise = level_at(t, self.schedule)
        var = signal**2 * self.stds**2 + noise**2  # (K,)
        offset = x_t.double().unsqueeze(1) - signal * self.means  # (B, K, C, H, W)
        dims = offset[0, 0].numel()
        log_density = -0.5 * (offset.flatten(2).square().sum(2) / var + dims * torch.log(var))
        return torch.log_softmax(self.weights.log() + log_density, dim=1)

    def predict(self, x_t: Tensor, t: float, level: Level | None = None) -> Prediction:
        """See Denoiser."""
        own = level_at(t, self.schedule)
        signal, noise = own
        gain = signal * self.stds**2 / (signal**2 * self.stds**2 + noise**2)  # (K,)
        weights = self.log_weights(x_t, t).exp()
        x = x_t.double()
        # sum_k w_k (means_k + gain_k (x - signal means_k)), without a (B, K, C, H, W) array
        of_means = (weights * (1 - gain * signal)) @ self.means.flatten(1)
        x_0_hat = of_means.reshape(x.shape) + (weights @ gain).reshape(-1, *[1] * (x.ndim - 1)) * x
        return read_at(x_0_hat.to(x_t.dtype), x_t, own, level)


class GaussianDenoiser(MixtureDenoiser):
    """E[x_0 | x_t] for x_0 from N(mean, std^2 I). mean: (C, H, W); std >= 0 (0 is a single picture)."""

    kind = "gaussian"

    def __init__(self, mean: Tensor, std: float, schedule: NoiseSchedule):
        super().__init__(mean.unsqueeze(0), torch.tensor([std], dtype=torch.float64), schedule)


class DataDenoiser:
    """E[x_0 | x_t] for x_0 uniform over N given pictures y_i.

    Their mean, with the softmax of -||x_t - signal y_i||^2 / (2 noise^2) as weights. pictures: (N, C, H, W). left_out:
    (B,) int64, the picture to exclude for image b of a batch (leave-one-out, for pictures of the set itself), or None.
    chunk: pictures compared at once. Compares in float64, because a logit is a distance divided by noise^2, down to
    1e-4: there a float32 error is a factor e. Raises ValueError for too few pictures, chunk < 1 or a left_out outside
    [0, N).
    """

    def __init__(self, pictures: Tensor, schedule: NoiseSchedule, left_out: Tensor | None = None, chunk: int = 8192):
        if len(pictures) < (1 if left_out is None else 2):
            raise ValueError(f"pictures: too few, got {len(pictures)}")
        if chunk < 1:
            raise ValueError(f"chunk: must be at least 1, got {chunk}")
        if left_out is not None and not 0 <= int(left_out.min()) <= int(left_out.max()) < len(pictures):
            raise ValueError(f"left_out: must lie in [0, {len(pictures)}), got {left_out.tolist()}")
        self.pictures = pictures
        self.schedule = schedule
        self.left_out = left_out
        self.chunk = chunk

    @property
    def description(self) -> Description:
        """Computed by torch, in float64."""
        return Description("data", "torch", torch.get_num_threads(), "float64")

    def log_weights(self, x_t: Tensor, t: float) -> Tensor:
        """Log probability of each picture given x_t: (B, N) float64, -inf for one that is left out."""
        signal, noise = level_at(t, self.schedule)
        x = x_t.double().flatten(1)
        parts = []
        for y in self.pictures.split(self.chunk):
            y = y.double().flatten(1)
            parts.append((signal * (x @ y.T) - 0.5 * signal**2 * y.square().sum(1)) / noise**2)
        logits = torch.cat(parts, dim=1)
        if self.left_out is not None:
            logits[torch.arange(len(x), device=x.device), self.left_out] = -torch.inf
        return torch.log_softmax(logits, dim=1)

    def predict(self, x_t: Tensor, t: float, level: Level | None = None) -> Prediction:
        """See Denoiser."""
        weights = self.log_weights(x_t, t).exp().split(self.chunk, dim=1)
        pictures = self.pictures.split(self.chunk)
        x_0_hat = sum(w @ y.double().flatten(1) for w, y in zip(weights, pictures, strict=True)).reshape(x_t.shape)
        return read_at(x_0_hat.to(x_t.dtype), x_t, level_at(t, self.schedule), level)
