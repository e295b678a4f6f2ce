"""The feature space of a data set, in which distances between sets of pictures are measured.

A small convolutional network is trained to tell three things: the data set's classes; by which quarter turn a picture
was rotated (Gidaris et al. 2018, which needs no classes at all); and how much noise and tint was added, since a
classifier alone learns to ignore the grain and the tints of poor samples. Its last hidden layer, normalised to mean 0
and variance 1, is the feature vector. Distances in one such space say nothing about those in another, nor about FID in
Inception's.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from diffusion.errors import FeatureError
from diffusion.pixels import to_unit_range

TURNS = 4
LARGEST_SIDE = 32
WEIGHTS, RECORD, FEATURES = "features.safetensors", "features.json", "features.npz"


@dataclass(frozen=True)
class FeatureConfig:
    """The shape of a feature network. classes: 0 for data without labels."""

    channels: int
    image_size: int
    classes: int
    width: int = 32
    features: int = 64


class FeatureNetwork(nn.Module):
    """Pictures (B, C, H, W) in [-1, 1] -> features (B, features). Pictures wider than 32 pixels are first reduced."""

    def __init__(self, config: FeatureConfig):
        super().__init__()
        self.config = config
        w = config.width
        self.body = nn.Sequential(
            *_block(config.channels, w),
            *_block(w, 2 * w, stride=2),
            *_block(2 * w, 2 * w),
            *_block(2 * w, 4 * w, stride=2),
            *_block(4 * w, 4 * w),
            nn.AdaptiveAvgPool2d(4),  # where something is matters as much as what
            nn.Flatten(),
            nn.Linear(16 * 4 * w, config.features),
            nn.BatchNorm1d(config.features, affine=False),
        )
        self.to_class = nn.Linear(config.features, config.classes) if config.classes else None
        self.to_turn = nn.Linear(config.features, TURNS)
        self.to_damage = nn.Linear(config.features, 1 + config.channels)  # noise, and the tint of each channel

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of pictures in [-1, 1]."""
        if x.shape[-1] > LARGEST_SIDE:
            x = F.interpolate(x, (LARGEST_SIDE, LARGEST_SIDE), mode="area")
        return self.body(x)


def _block(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
    return [conv, nn.GroupNorm(8, channels_out), nn.SiLU()]


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A feature network, its record (features.json), and the features of real pictures.

    real: (N, features) float64 of the pictures of reference/train.npz, which the network was not trained on.
    held_out: (M, features) float64 of test pictures.
    """

    network: FeatureNetwork
    record: dict
    real: Tensor
    held_out: Tensor

    @torch.no_grad()
    def features(self, images: np.ndarray, batch: int = 256) -> Tensor:
        """(N, H, W, C) uint8 -> (N, features) float64."""
        parts = [self.network(to_unit_range(images[i : i + batch])) for i in range(0, len(images), batch)]
        return torch.cat(parts).double()

    @torch.no_grad()
    def classes(self, images: np.ndarray) -> Tensor:
        """Return the predicted class of each picture: (N,) int64. Raises FeatureError for a network without classes."""
        if self.network.to_class is None:
            raise FeatureError("class", "no_feature_classes")
        return self.network.to_class(self.features(images).float()).argmax(1)


def save_feature_space(space: FeatureSpace, folder: Path) -> None:
    """Write the three files into a checkpoint's reference folder. Features are stored in half precision."""
    weights = save({name: weight.contiguous() for name, weight in space.network.state_dict().items()})
    (folder / WEIGHTS).write_bytes(weights)
    arrays = {"real": space.real, "held_out": space.held_out}
    np.savez_compressed(folder / FEATURES, **{name: x.numpy().astype(np.float16) for name, x in arrays.items()})
    record = space.record | {
        "config": asdict(space.network.config),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "features_sha256": hashlib.sha256((folder / FEATURES).read_bytes()).hexdigest(),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def has_feature_space(checkpoint: str | Path) -> bool:
    """Whether a checkpoint folder has a feature space."""
    return (Path(checkpoint) / "reference" / RECORD).is_file()


def load_feature_space(checkpoint: str | Path) -> FeatureSpace:
    """Load the feature space in a checkpoint's reference folder and verify its hashes. Raises FeatureError."""
    folder = Path(checkpoint) / "reference"
    name = Path(checkpoint).name
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        weights, features = (folder / WEIGHTS).read_bytes(), (folder / FEATURES).read_bytes()
        if hashlib.sha256(weights).hexdigest() != record["sha256"]:
            raise FeatureError(name, "features_differ", file=WEIGHTS, record=RECORD)
        if hashlib.sha256(features).hexdigest() != record["features_sha256"]:
            raise FeatureError(name, "features_differ", file=FEATURES, record=RECORD)
        network = FeatureNetwork(FeatureConfig(**record["config"]))
        network.load_state_dict(load(weights))
        with np.load(folder / FEATURES, allow_pickle=False) as arrays:
            real, held_out = (torch.from_numpy(arrays[key].astype(np.float64)) for key in ("real", "held_out"))
    except FileNotFoundError as error:
        raise FeatureError(name, "no_features", file=Path(error.filename).name, name=name) from error
    except FeatureError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FeatureError(name, "features_unreadable", reason=reason) from error
    return FeatureSpace(network.eval(), record, real, held_out)
