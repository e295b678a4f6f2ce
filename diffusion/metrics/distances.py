"""The distance between two sets of pictures in a checkpoint's feature space: FID and KID, by torchmetrics.

FID (Heusel et al. 2017) is biased by the number of pictures, so it is reported with its floor: the FID of two sets of
real pictures of that size. KID (Binkowski et al. 2018) has no such bias and comes with a standard error.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion.metrics.features import FeatureSpace

BLOCKS, LARGEST_BLOCK = 10, 1000
LEAST_FOR_FID, LEAST_FOR_KID = 2, 2 * BLOCKS  # pictures on each side
LARGEST_REAL = 2000  # in kid_of_few: takes a quarter of a second, adds a tenth of the error of 100 samples


@dataclass(frozen=True)
class Distance:
    """Distances between n samples and as many real pictures; lower is better.

    floor_*: the same with real pictures in place of the samples. real_n, floor_n: pictures behind the real side and
    behind the floor; fewer than n if the data has fewer. None: too few pictures for that number.
    """

    n: int
    real_n: int
    fid: float | None
    kid: float | None
    kid_standard_error: float | None
    floor_n: int
    floor_fid: float | None
    floor_kid: float | None
    floor_kid_standard_error: float | None


class _AsGiven(nn.Module):
    """A module for features that are computed already: returns its input."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def fid(real: Tensor, samples: Tensor) -> float:
    """Frechet distance between the Gaussians of two sets of features (N, D) and (M, D), in float64.

    Raises ValueError for fewer than 2 of either, other shapes, and samples that are not finite.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # takes seconds and 12 MB, and few visitors need it

    _check(real, samples, LEAST_FOR_FID)
    metric = FrechetInceptionDistance(feature=_AsGiven(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(samples.double(), real=False)
    return metric.compute().item()


def kid(real: Tensor, samples: Tensor) -> tuple[float, float]:
    """Return the squared MMD with the kernel (x.y/D + 1)^3, unbiased, and its standard error.

    real: (N, D), samples: (M, D), 20 or more of each (ValueError otherwise). The mean over ten or more disjoint blocks
    (of at most 1,000 pictures per side), so that the error over the blocks is a standard error.
    """
    from torchmetrics.image.kid import poly_mmd

    _check(real, samples, LEAST_FOR_KID)
    block = min(LARGEST_BLOCK, min(len(real), len(samples)) // BLOCKS)
    values = []
    for k in range(min(len(real), len(samples)) // block):
        part = slice(k * block, (k + 1) * block)
        values.append(poly_mmd(real[part].double(), samples[part].double()).item())
    found = torch.tensor(values, dtype=torch.float64)
    return found.mean().item(), (found.std() / math.sqrt(len(found))).item()


def kid_of_few(real: Tensor, samples: Tensor) -> tuple[float, float]:
    """Return KID over all pairs instead of blocks, and its standard error: for few samples and much real data.

    real: (M, D); samples: (N, D); 3 or more of each (ValueError otherwise). As unbiased as `kid`, whose blocks of so
    few pictures would drown it in noise. The error is the jackknife's over the samples (Efron & Stein 1981); the real
    data, at most LARGEST_REAL of them, are taken as given.
    """
    whole, without = _with_jackknife(real, samples)
    return whole, _jackknife_error(without)


def kid_difference(real: Tensor, first: Tensor, second: Tensor) -> tuple[float, float]:
    """Return KID of `second` minus KID of `first`, both by `kid_of_few`, and its standard error.

    real: (M, D); first, second: (N, D), where sample i of both began with the same noise. The error is therefore the
    jackknife's over pairs: what both have in common cancels. Raises ValueError for sets of different sizes.
    """
    if len(first) != len(second):
        raise ValueError(f"samples: need as many on both sides, got {len(first)} and {len(second)}")
    (value, without), (other, other_without) = _with_jackknife(real, first), _with_jackknife(real, second)
    return other - value, _jackknife_error(other_without - without)


def _with_jackknife(real: Tensor, samples: Tensor) -> tuple[float, Tensor]:
    """Return KID over all pairs, and (N,): the same without each sample."""
    _check(real, samples, 3)
    real, samples, n = real[:LARGEST_REAL].double(), samples.double(), len(samples)
    among = _kernel(samples, samples).fill_diagonal_(0).sum(1)  # (N,): of each sample with all others
    across = _kernel(samples, real).mean(1)
    among_real = _among_real(real)

    def value(pairs, single):
        return pairs - 2 * single + among_real

    whole = value(among.sum() / (n * (n - 1)), across.mean())
    without = value((among.sum() - 2 * among) / ((n - 1) * (n - 2)), (across.sum() - across) / (n - 1))
    return whole.item(), without


def _jackknife_error(without: Tensor) -> float:
    """Return the standard error of a value, from its N values that each leave out one sample."""
    n = len(without)
    return math.sqrt((n - 1) / n * (without - without.mean()).square().sum().item())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _among_real(real: Tensor) -> Tensor:
    """Return the mean kernel over pairs of different real pictures."""
    total = sum(_kernel(part, real).sum() for part in real.split(500))
    return (total - ((real.square().sum(1) / real.shape[1] + 1) ** 3).sum()) / (len(real) * (len(real) - 1))


def distance(space: FeatureSpace, samples: Tensor) -> Distance:
    """Return the distance from samples to the data, with the floor for as many. samples: features (N, D).

    Numbers that need more pictures than there are, of any kind, are None.
    """
    n = len(samples)
    real, held_out = shuffled(space.real, seed=0)[:n], shuffled(space.held_out, seed=1)[:n]
    floor_n = min(len(real), len(held_out))
    value, error = kid(real, samples) if min(len(real), n) >= LEAST_FOR_KID else (None, None)
    floor, floor_error = kid(real[:floor_n], held_out[:floor_n]) if floor_n >= LEAST_FOR_KID else (None, None)
    return Distance(
        n=n,
        real_n=len(real),
        fid=fid(real, samples) if min(len(real), n) >= LEAST_FOR_FID else None,
        kid=value,
        kid_standard_error=error,
        floor_n=floor_n,
        floor_fid=fid(real[:floor_n], held_out[:floor_n]) if floor_n >= LEAST_FOR_FID else None,
        floor_kid=floor,
        floor_kid_standard_error=floor_error,
    )


def shuffled(features: Tensor, seed: int) -> Tensor:
    """Return the same rows in a random order, fixed by the seed. Two sets to be compared need two seeds.

    Data sets often list their classes in turn. Blocks or beginnings of such sets are not random samples, and KID would
    come out below 0.
    """
    return features[torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))]


def nearest(queries: Tensor, pool: Tensor, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """Return the Euclidean distance (N,) to the nearest vector of the pool, and its index (N,).

    queries: (N, D), pool: (M, D). chunk: queries compared at once.
    """
    found = [torch.cdist(queries[i : i + chunk], pool).min(1) for i in range(0, len(queries), chunk)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def _check(real: Tensor, samples: Tensor, least: int) -> None:
    if real.ndim != 2 or samples.ndim != 2 or real.shape[1] != samples.shape[1]:
        raise ValueError(f"features: need (N, D) and (M, D), got {tuple(real.shape)} and {tuple(samples.shape)}")
    if min(len(real), len(samples)) < least:
        raise ValueError(f"samples: needs at least {least} pictures on each side, got {len(real)} and {len(samples)}")
    if not bool(torch.isfinite(samples).all()):
        raise ValueError("samples: hold a feature that is not finite")
