"""Fine texture of pictures: how much grain lies on flat areas, and a feature space that sees it.

The features of a classifier hardly change when faint grain lies on a picture. Differences of neighbouring pixels do.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FLAT, GRAIN = (
    2,
    16,
)  # levels: pairs up to FLAT apart look equal, those above it up to GRAIN are grain where paper is flat
EDGES = (0, 2, 4, 8, 16, 32, 64, 128)  # levels at which the distribution of differences is read
OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # (rows, columns) from a pixel to its neighbour


@dataclass(frozen=True)
class Texture:
    """Shares of a set of pictures. flat, grain: of the pairs of pixels side by side or below each other that are at
    most FLAT levels apart, and more than that but at most GRAIN. black, white: of the values that are 0, and 255.
    """

    flat: float
    grain: float
    black: float
    white: float


def differences(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the largest difference over the channels of each pixel and its neighbour, in levels.

    images: (N, H, W, C) uint8. rows >= 0, columns: from a pixel to its neighbour. Returns (N, H', W') uint8.
    """
    _, height, width, _ = images.shape
    left, right = max(0, -columns), max(0, columns)
    first = images[:, : height - rows, left : width - right].astype(np.int16)
    second = images[:, rows:, right : width - left]
    return np.abs(first - second).max(-1).astype(np.uint8)


def texture(images: np.ndarray) -> Texture:
    """Measure the texture of pictures (N, H, W, C) uint8."""
    found = np.concatenate([differences(images, *offset).ravel() for offset in ((0, 1), (1, 0))])
    return Texture(
        flat=float((found <= FLAT).mean()),
        grain=float(((found > FLAT) & (found <= GRAIN)).mean()),
        black=float((images == 0).mean()),
        white=float((images == 255).mean()),
    )


def texture_features(images: np.ndarray) -> Tensor:
    """Return the texture features of pictures (N, H, W, C) uint8, H and W at least 3: (N, 48) float64.

    For each neighbour in OFFSETS: the share of pixels that differ from it by at most 0, 2, 4, ... 128 levels. Shares up
    to an edge, rather than between two, make the distance grow with the amount of grain.
    """
    shares = []
    for offset in OFFSETS:
        found = differences(images, *offset).reshape(len(images), -1)
        shares += [(found <= most).mean(1) for most in EDGES]
    return torch.from_numpy(np.stack(shares, axis=1))
