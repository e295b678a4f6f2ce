"""The state at which a run begins: pure noise, or noise with the mean and covariance that q(x_t) has there.

Pure noise is q(x_t) only where next to nothing of the picture is left. A schedule of small betas ends before that, and
leading timesteps or start_step begin before it. Right would be sqrt(alpha-bar) x_0 + sqrt(1 - alpha-bar) eps with x_0
from the data's own distribution, which a sampler does not have. Of all Gaussians, the one with the same mean and
covariance has the least KL divergence from q, and it takes only some pictures of the data.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffusion.errors import FieldError

PICTURES = "reference/test.npz"  # in a checkpoint's folder: held-out pictures of its data, with labels
MAX_BYTES = 20_000_000
# Share of the picture's amplitude that pure noise may lack: 0.05 is 6 of 255 levels. Stable Diffusion's schedule leaves
# 0.068, which is known to cost it the dark and the bright pictures (Lin et al. 2024, "Common diffusion noise schedules
# and sample steps are flawed"); DDPM's own leaves 0.006
VISIBLE_SIGNAL = 0.05


def gaussian_start(
    noise: Tensor, log_alpha_bar: Tensor, pictures: Sequence[Tensor], generators: Sequence[torch.Generator]
) -> Tensor:
    """Turn standard normal noise into a state with the mean and covariance of q(x_t) over some pictures.

    noise: (B, C, H, W). log_alpha_bar: (), of the timestep. pictures: for each image (N, C*H*W) float32 in [-1, 1].
    generators: image i draws its N weights from generators[i]. With w ~ N(0, I_N), mean + sum_j w_j (x_j - mean) /
    sqrt(N) has exactly the mean and covariance of the N pictures.
    """
    signal, spread = torch.exp(0.5 * log_alpha_bar).float(), torch.expm1(log_alpha_bar).abs().sqrt().float()
    states = []
    for eps, own, generator in zip(noise, pictures, generators, strict=True):
        weights, mean = torch.randn(len(own), generator=generator), own.mean(0)
        drawn = mean + (weights @ own - weights.sum() * mean) / math.sqrt(len(own))
        states.append(signal * drawn.reshape(eps.shape) + spread * eps)
    return torch.stack(states)


def start_pictures(folder: Path | None, shape: tuple[int, ...], labels: Sequence[int | None]) -> list[Tensor]:
    """Return the pictures of a checkpoint's data from which `gaussian_start` takes the moments, for each image.

    folder: of the checkpoint. shape: (C, H, W). labels: of each image, None for pictures of all classes. Raises
    FieldError if the folder holds none.
    """
    path = None if folder is None else folder / PICTURES
    try:
        if path is None or path.stat().st_size > MAX_BYTES:
            raise ValueError("no such file, or too large")
        pictures, classes = _read(path, path.stat().st_mtime_ns, tuple(shape))
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise FieldError("start", "no_pictures", file=PICTURES) from error
    found = {label: pictures if label is None else pictures[classes == label] for label in set(labels)}
    for label, own in found.items():
        if not len(own):
            raise FieldError("start", "no_pictures_of_class", file=PICTURES, got=label)
    return [found[label] for label in labels]


@lru_cache(maxsize=2)
def _read(path: Path, changed: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    with np.load(path, allow_pickle=False) as arrays:
        images = arrays["images"]
        labels = arrays["labels"] if "labels" in arrays else np.full(len(images), -1)
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images) or len(labels) != len(images):
        raise ValueError("holds no pictures")
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
    if tuple(pictures.shape[1:]) != shape:
        raise ValueError("holds pictures of another size")
    return pictures.reshape(len(images), -1).float() / 127.5 - 1, torch.from_numpy(labels.astype(np.int64))
