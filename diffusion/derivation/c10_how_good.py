"""Chapter 10, how good a network is: its error beside the exact denoiser's, on training and on other pictures.

Code index i is the paper's t = i + 1. Errors are means over C, H and W; nothing is clipped.
"""

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.bound import estimate, measure, prior_nats, reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.denoisers import Denoiser, NetworkDenoiser
from diffusion.exact import DataDenoiser
from diffusion.gaussian import PredictionType, q_posterior, q_sample, step_coefficients
from diffusion.likelihood import gaussian_nats
from diffusion.metrics.distances import nearest
from diffusion.sampling import image_generators, noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import visited_timesteps

BINS = 40
SEED, REPEATS = 0, 8  # see record_quality
ROUNDING = 1e-9  # of the error: where the exact denoiser is almost certain, differences are rounding, not statistics


def without_class(unet, schedule: NoiseSchedule, prediction_type: PredictionType = "epsilon") -> NetworkDenoiser:
    """Return the network conditioned on "no class": a function of x_t and t alone, as the exact denoiser is.

    It takes batches of any size. A network without labels is used as it is.
    """
    embeddings = unet.config.num_class_embeds
    label = None if embeddings is None else torch.tensor([embeddings - 1])  # one row, which torch broadcasts
    return NetworkDenoiser(unet, schedule, prediction_type, label)


@torch.no_grad()
def perturbed(unet, share: float = 0.5, seed: int = SEED):
    """Copy a network and add noise to every weight: `share` times the standard deviation of its weight tensor."""
    unet, generator = copy.deepcopy(unet), torch.Generator().manual_seed(seed)
    for weight in unet.parameters():
        weight += share * weight.std(correction=0) * torch.randn(weight.shape, generator=generator)
    return unet


def pick_evenly(pictures: Tensor, count: int) -> Tensor:
    """Return `count` pictures spread evenly over the set, always the same; some repeat if the set has fewer."""
    return pictures[torch.linspace(0, len(pictures) - 1, count).round().long()]


def some_timesteps(schedule: NoiseSchedule, count: int, first: int = 1) -> list[int]:
    """Return at most `count` timesteps from `first` to T - 1, evenly spread and rising."""
    return sorted(set(torch.linspace(first, len(schedule) - 1, count).round().long().tolist()))


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of (n,) numbers, n >= 2, and its standard error."""
    return values.mean().item(), (values.std() / math.sqrt(len(values))).item()


def z_score(values: Tensor, rounding: float = 0.0) -> float:
    """Return the mean of (n,) numbers, which should be 0, in standard errors.

    rounding: an error that all of the numbers share, so that more draws would not average it out.
    """
    mean, error = mean_and_error(values)
    return 0.0 if mean == 0 else mean / max(math.hypot(error, rounding), torch.finfo(torch.float64).tiny)


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors of network and exact denoiser at one t, for each picture of a set: (B,) float64 each.

    network: mean (eps - eps_hat)^2. exact: the same for the exact denoiser's eps_star. between: mean (eps_hat -
    eps_star)^2. x_0_network, x_0_exact: mean (x_0 - x_0_hat)^2 of both.
    """

    t: int
    network: Tensor
    exact: Tensor
    between: Tensor
    x_0_network: Tensor
    x_0_exact: Tensor

    @property
    def pythagoras(self) -> Tensor:
        """network - exact - between = 2 mean (eps - eps_star)(eps_star - eps_hat): (B,).

        Its expectation is 0 only if x_0 is uniform over the set that the exact denoiser knows.
        """
        return self.network - self.exact - self.between

    @property
    def pythagoras_z(self) -> float:
        """z-score of `pythagoras` over the pictures."""
        return z_score(self.pythagoras, ROUNDING * self.network.mean().item())


def errors_at(network: Denoiser, exact: Denoiser, x_0: Tensor, t: int, generators: list[torch.Generator]) -> Errors:
    """Measure both denoisers on the same x_t ~ q(x_t | x_0).

    x_0: (B, C, H, W); t: in [0, T); generators: one per picture.
    """
    x_0 = x_0.double()
    eps = noise_like(x_0, generators)
    x_t = q_sample(x_0, torch.tensor(t), eps, network.schedule)
    answer, truth = network.predict(x_t, t), exact.predict(x_t, t)
    return Errors(
        t=t,
        network=squared_error(eps, answer.eps_hat),
        exact=squared_error(eps, truth.eps_hat),
        between=squared_error(answer.eps_hat, truth.eps_hat),
        x_0_network=squared_error(x_0, answer.x_0_hat),
        x_0_exact=squared_error(x_0, truth.x_0_hat),
    )


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over C, H and W of (a - b)^2: (B,)."""
    return (a - b).square().flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """A point of the four curves at one t: the errors on training and on held-out pictures."""

    training: Errors
    held_out: Errors

    @property
    def t(self) -> int:
        return self.training.t


def four_curves(
    network: Denoiser,
    exact: Denoiser,
    training: Tensor,
    held_out: Tensor,
    timesteps: Iterable[int],
    generators: list[torch.Generator],
) -> Iterator[CurvePoint]:
    """Yield one point for each t as it is measured. training, held_out: (B, C, H, W) and (B', C, H, W).

    The exact denoiser should know the set that `training` was drawn from. generators: one for each picture of the
    larger set. Raises ValueError, before the first point, if a set has fewer than 2 pictures or there are too few
    generators.
    """
    for name, pictures in (("training", training), ("held_out", held_out)):
        if not 2 <= len(pictures) <= len(generators):
            raise ValueError(f"{name}: must be 2 to {len(generators)} pictures, one per generator, got {len(pictures)}")
    return (
        CurvePoint(
            errors_at(network, exact, training, t, generators[: len(training)]),
            errors_at(network, exact, held_out, t, generators[: len(held_out)]),
        )
        for t in timesteps
    )


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Distances to the nearest training picture: root mean square over the numbers of a picture, float64.

    samples: (N,); held_out: (M,), the reference without which the samples' distances mean nothing. index: (N,), the
    training picture nearest to each sample. edges: (bins + 1,); samples_share, held_out_share: (bins,), the share of
    each set in a bin.
    """

    samples: Tensor
    held_out: Tensor
    index: Tensor
    edges: Tensor
    samples_share: Tensor
    held_out_share: Tensor

    @property
    def copies(self) -> float:
        """Share of samples that are nearer to a training picture than every held-out picture is: 0 to 1."""
        return (self.samples < self.held_out.min()).double().mean().item()


def neighbours(samples: Tensor, held_out: Tensor, training: Tensor, bins: int = BINS) -> Neighbours:
    """Compare d(sample, train) with d(held-out, train), in histograms with the same bins.

    samples, held_out, training: (n, ...) each, pictures or features. Data that combine a few parts have near twins
    without any memorising. Raises ValueError for bins < 1.
    """
    if bins < 1:
        raise ValueError(f"bins: must be at least 1, got {bins}")
    pool = training.double().flatten(1)
    scale = math.sqrt(pool.shape[1])
    of_samples, index = nearest(samples.double().flatten(1), pool)
    of_held_out, _ = nearest(held_out.double().flatten(1), pool)
    of_samples, of_held_out = of_samples / scale, of_held_out / scale
    top = max(of_samples.max().item(), of_held_out.max().item()) or 1.0
    edges = torch.linspace(0, top, bins + 1, dtype=torch.float64)

    def share(distances: Tensor) -> Tensor:
        return torch.histogram(distances, edges).hist / len(distances)

    return Neighbours(of_samples, of_held_out, index, edges, share(of_samples), share(of_held_out))


@dataclass(frozen=True, eq=False)
class LayerDraws:
    """One draw per picture of L_{t-1} (sigma^2 = beta tilde), and of the three layers that sum to it on average.

    All are (B,) in nats, each measured independently. information: H(w_t) - H(w_s), with w the exact denoiser's
    weights; no model can save it. gaussian: log q(x_s | x_t) - log N(x_s; mu*, sigma^2), the price of a Gaussian step.
    network: c_0^2 ||x_0_hat - D*||^2 / (2 sigma^2), the network's own error.
    """

    term: Tensor
    information: Tensor
    gaussian: Tensor
    network: Tensor


def layer_draws(network: Denoiser, pictures: Tensor, t: int, generators: list[torch.Generator]) -> LayerDraws:
    """Measure the layers at x_t and x_s = x_{t-1} drawn from each of the pictures; t >= 1.

    pictures: (B, C, H, W), the whole data set. generators: one per picture.
    """
    schedule, x_0 = network.schedule, pictures.double()
    exact, c = DataDenoiser(x_0, schedule), step_coefficients(t, t - 1, schedule)
    x_t = q_sample(x_0, torch.tensor(t), noise_like(x_0, generators), schedule)
    mean, var = q_posterior(x_0, x_t, torch.tensor(t), schedule)
    x_s = mean + var.sqrt() * noise_like(x_0, generators)
    answer, truth = network.predict(x_t, t).x_0_hat, exact.predict(x_t, t).x_0_hat
    weights_t, weights_s = exact.log_weights(x_t, t), exact.log_weights(x_s, t - 1)
    centres = c.c_0 * x_0 + (c.c_t * x_t).unsqueeze(1)  # of q(x_s | x_t, y), one for each picture y: (B, B, C, H, W)
    log_parts = -gaussian_nats(x_s.unsqueeze(1), centres, c.posterior_var).flatten(2).sum(2)
    of_best = gaussian_nats(x_s, c.c_0 * truth + c.c_t * x_t, c.posterior_var).flatten(1).sum(1)
    half = 0.5 * c.delta * x_0[0].numel()
    return LayerDraws(
        term=half * squared_error(x_0, answer),
        information=_entropy(weights_t) - _entropy(weights_s),
        gaussian=torch.logsumexp(weights_t + log_parts, dim=1) + of_best,
        network=half * squared_error(answer, truth),
    )


def _entropy(log_weights: Tensor) -> Tensor:
    return torch.special.entr(log_weights.exp()).sum(1)


class Recorded(NamedTuple):
    """A recorded measure of a checkpoint: mean of several measurements, and standard deviation of a single one."""

    value: float
    standard_error: float


def quality(network: Denoiser, exact: DataDenoiser, held_out: Tensor, seed: int) -> dict[str, float]:
    """Measure within seconds how good a network is, always on the same pictures and t; noise from seed to seed + 3.

    network: takes batches of any size. held_out: (N, C, H, W) on the 8-bit grid. Returns eps_mse_q0 to eps_mse_q3: the
    error of the predicted noise on 16 held-out pictures, by quartile of t; bpd: the bound of two of them with sigma^2 =
    beta, unclipped; distance: mean (eps_hat - eps*)^2 on four of the exact denoiser's own pictures.
    """
    schedule, T = network.schedule, len(network.schedule)
    generators, found = image_generators(seed, 4), {}
    for q in range(4):
        errors = []
        for k, x_0 in enumerate(pick_evenly(held_out, 16).double().split(4)):
            t = int((4 * q + k + 0.5) / 16 * T)
            eps = noise_like(x_0, generators)
            x_t = q_sample(x_0, torch.tensor(t), eps, schedule)
            errors.append(squared_error(eps, network.predict(x_t, t).eps_hat))
        found[f"eps_mse_q{q}"] = torch.cat(errors).mean().item()
    x_0 = pick_evenly(held_out, 2)
    plan = BoundPlan.stratified(schedule, visited_timesteps(T, T), 32, exact_until=8)
    errors = measure(network, x_0, plan, generators[:2], clip=False)
    found["bpd"] = estimate(plan, prior_nats(x_0, T - 1, schedule), errors, reverse_variances(plan, "beta")).bpd
    own, timesteps = pick_evenly(exact.pictures, 4), some_timesteps(schedule, 6)[1:-1]
    between = [errors_at(network, exact, own, t, generators).between for t in timesteps]
    return found | {"distance": torch.cat(between).mean().item()}


def record_quality(network: Denoiser, exact: DataDenoiser, held_out: Tensor) -> dict[str, Recorded]:
    """Mean and standard deviation of REPEATS measurements, the first of which is from SEED.

    A later check repeats that first one and allows 3 standard deviations. None of n numbers is farther than (n - 1) /
    sqrt(n) standard deviations from their mean (Samuelson 1968), 2.5 for n = 8: the recorded network always passes.
    """
    repeats = [quality(network, exact, held_out, SEED + 4 * k) for k in range(REPEATS)]
    columns = {name: torch.tensor([found[name] for found in repeats], dtype=torch.float64) for name in repeats[0]}
    return {name: Recorded(values.mean().item(), values.std().item()) for name, values in columns.items()}
