"""The reverse kernel q(x_s | x_t) of a data set, projected on a line through two of its pictures. float64."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.derivation.line_mixture import LineMixture
from diffusion.exact import DataDenoiser
from diffusion.gaussian import step_coefficients
from diffusion.likelihood import gaussian_nats

NEGLIGIBLE = 1e-12  # of the heaviest weight: lighter pictures do not visibly change the density


@dataclass(frozen=True, eq=False)
class PictureLine:
    """q(x_s | x_t) of a data set along the line through its two heaviest pictures i and j.

    The coordinate is e . x_s, e = (y_j - y_i) / distance, shifted so that the bump of i is at 0 and that of j at c_0
    distance. law: the exact marginal, with one component of variance posterior_var for each picture of non-negligible
    weight. pictures (indices), weights, positions: (n,) of the heaviest pictures, i and j first, for thumbnails. x,
    exact, best: (points,), the densities of law and of the Gaussian with its mean and variance. mean_picture: (C, H,
    W), E[x_0 | x_t]. split: sqrt(delta) distance, the distance of the two bumps in standard deviations; two equal bumps
    separate above 2.
    """

    t: int
    s: int
    pictures: Tensor
    weights: Tensor
    positions: Tensor
    distance: float
    split: float
    posterior_var: float
    law: LineMixture
    x: Tensor
    exact: Tensor
    best: Tensor
    mean_picture: Tensor

    @property
    def effective(self) -> float:
        """1 / sum w^2, the effective number of pictures: this number of equally likely ones would be as uncertain."""
        return 1 / self.law.weights.square().sum().item()


def heaviest_line(
    denoiser: DataDenoiser, x_t: Tensor, t: int, s: int, shown: int = 12, points: int = 801
) -> PictureLine:
    """Compute the marginal of q(x_s | x_t) along the line through the two pictures that x_t most likely comes from.

    x_t: (C, H, W); t, s: a reverse step with s >= 0. shown: the number of heaviest pictures to return. points: of the
    densities. Raises ValueError for s = -1, where the kernel has no variance, for fewer than 2 pictures, and if the two
    heaviest are equal.
    """
    if s < 0:
        raise ValueError(f"s: must be at least 0, got {s}: the step to the picture has no variance")
    if len(denoiser.pictures) < 2:
        raise ValueError(f"pictures: needs at least 2, got {len(denoiser.pictures)}")
    c = step_coefficients(t, s, denoiser.schedule)
    log_weights = denoiser.log_weights(x_t.unsqueeze(0), t)[0].cpu()
    order = log_weights.topk(min(max(shown, 2), len(log_weights))).indices
    pictures = denoiser.pictures
    first, second = (pictures[k].double().flatten() for k in order[:2].tolist())
    distance = (second - first).norm().item()
    if distance == 0:
        raise ValueError(f"pictures: {order[0]} and {order[1]} are the same")
    e = (second - first) / distance
    seen = (log_weights > log_weights.max() + math.log(NEGLIGIBLE)).nonzero()[:, 0]
    seen = torch.cat([order, seen[~torch.isin(seen, order)]])

    def position(index: Tensor) -> Tensor:
        return c.c_0 * torch.cat([(y.double().flatten(1) - first) @ e for y in pictures[index].split(denoiser.chunk)])

    means = position(seen)
    law = LineMixture(torch.log_softmax(log_weights[seen], dim=0), means, c.posterior_var.expand_as(means))
    reach = 5 * c.posterior_var.sqrt().item()
    whole = 5 * law.var.sqrt().item()
    low = min(-reach, means[1].item() - reach, law.mean.item() - whole)
    high = max(reach, means[1].item() + reach, law.mean.item() + whole)
    x = torch.linspace(low, high, points, dtype=torch.float64)
    return PictureLine(
        t=t,
        s=s,
        pictures=order,
        weights=log_weights[order].exp(),
        positions=means[: len(order)],
        distance=distance,
        split=(c.delta.sqrt() * distance).item(),
        posterior_var=c.posterior_var.item(),
        law=law,
        x=x,
        exact=law.log_density(x).exp(),
        best=torch.exp(-gaussian_nats(x, law.mean, law.var)),
        mean_picture=sum(
            torch.tensordot(w, y.double(), dims=1)
            for w, y in zip(law.weights.split(denoiser.chunk), pictures[seen].split(denoiser.chunk), strict=True)
        ),
    )
