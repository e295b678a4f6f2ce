"""Fits the feature network of a data set and stores it in a checkpoint: `python -m training.features CHECKPOINT ...`

It learns from the training pictures that are not in the checkpoint's reference/train.npz, so that those pictures are as
new to it as samples are. A checkpoint of the same data that is exported again keeps it (training/export.py).
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from diffusion.console import accept_any_encoding
from diffusion.metrics.features import (
    FEATURES,
    RECORD,
    TURNS,
    WEIGHTS,
    FeatureConfig,
    FeatureNetwork,
    FeatureSpace,
    save_feature_space,
)
from diffusion.pixels import to_unit_range
from training.data import DataConfig, DataError, DataSet, Pictures, load_data

IMAGES, BATCH = 200_000, 128  # pictures seen: some minutes on two cores
MOST_REAL = 10_000
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-2
MOST_NOISE, HALF_NOISE, MOST_TINT = 64.0, 16.0, 64.0  # in levels of 255
DAMAGE_WEIGHT = 1.0


def fit_features(data: DataSet, reference: Pictures, images: int = IMAGES, seed: int = 0) -> FeatureSpace:
    """Fit the feature space of a data set.

    reference: the training pictures that distances will be measured to. images: pictures drawn to learn from.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = FeatureNetwork(FeatureConfig(data.image_shape[2], data.image_shape[0], data.classes))
    pool = without(data.train, reference)
    steps = max(1, images // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    network.train()
    for _ in tqdm(range(steps), desc="feature network", leave=False):
        batch = pool.at(rng.integers(len(pool), size=BATCH))
        x, turns = to_unit_range(batch.images), torch.from_numpy(rng.integers(TURNS, size=BATCH))
        worse, damage = made_worse(turned(x, turns), rng)
        features = network(torch.cat([x, worse]))
        loss = F.cross_entropy(network.to_turn(features[BATCH:]), turns)
        target = torch.cat([torch.zeros_like(damage), damage])
        loss = loss + DAMAGE_WEIGHT * F.mse_loss(network.to_damage(features), target)
        if network.to_class is not None:
            loss = loss + F.cross_entropy(network.to_class(features[:BATCH]), torch.from_numpy(batch.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    held_out = data.test.take(MOST_REAL)
    space = FeatureSpace(network.eval(), {}, torch.empty(0), torch.empty(0))
    record = {
        "data": data.name,
        "data_sha256": data.sha256(),
        "trained_on": f"{len(pool)} training pictures that are not in train.npz, {steps * BATCH} draws, seed {seed}",
        "real": f"the {len(reference)} pictures of train.npz",
        "held_out": f"{len(held_out)} of the {len(data.test)} test pictures",
        "accuracy": class_accuracy(space, held_out),
        "turn_accuracy": turn_accuracy(space, held_out, seed),
    }
    return FeatureSpace(network, record, space.features(reference.images), space.features(held_out.images))


def class_accuracy(space: FeatureSpace, pictures: Pictures) -> float | None:
    """Return the share of pictures whose class the network recognises; None for data without classes."""
    if space.network.to_class is None:
        return None
    return (space.classes(pictures.images) == torch.from_numpy(pictures.labels)).double().mean().item()


@torch.no_grad()
def turn_accuracy(space: FeatureSpace, pictures: Pictures, seed: int = 0) -> float:
    """Turn each picture by random quarters and return the share of turns that the network recognises."""
    turns = torch.from_numpy(np.random.default_rng(seed).integers(TURNS, size=len(pictures)))
    right = []
    for i in range(0, len(pictures), 256):
        x = turned(to_unit_range(pictures.images[i : i + 256]), turns[i : i + 256])
        right.append(space.network.to_turn(space.network(x)).argmax(1) == turns[i : i + 256])
    return torch.cat(right).double().mean().item()


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turn picture i by turns[i] quarters. x: (B, C, H, H), turns: (B,) in [0, 4)."""
    out = x.clone()
    for quarter in range(1, TURNS):
        out[turns == quarter] = x[turns == quarter].rot90(quarter, (2, 3))
    return out


def made_worse(x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Damage pictures by random amounts. Returns them on the 8-bit grid, (B, C, H, W), and the amounts, (B, 1 + C).

    x: (B, C, H, W) in [-1, 1]. Half of the pictures get noise and half a tint, independently. The amount of noise with
    standard deviation s, in levels of 255, is s^2 / (s^2 + 16^2): it rises with s, and invisible grain hardly counts. A
    tint adds a number of levels to each channel; its amounts are these numbers divided by 64.
    """
    batch, channels = x.shape[:2]
    std = MOST_NOISE * rng.random((batch, 1)) * (rng.random((batch, 1)) < 0.5)
    tint = rng.uniform(-MOST_TINT, MOST_TINT, (batch, channels)) * (rng.random((batch, 1)) < 0.5)
    noise = rng.standard_normal(x.shape, dtype=np.float32) * std.astype(np.float32)[..., None, None]
    levels = (x + 1) * 127.5 + torch.from_numpy(noise + tint.astype(np.float32)[..., None, None])
    amounts = np.concatenate([std**2 / (std**2 + HALF_NOISE**2), tint / MOST_TINT], axis=1)
    return levels.round().clamp(0, 255) / 127.5 - 1, torch.from_numpy(amounts).float()


def without(pictures: Pictures, others: Pictures) -> Pictures:
    """Return the pictures that are not among the others; all of them if less than a quarter, or none, would be left."""
    known = {image.tobytes() for image in others.images}
    index = np.array([i for i, image in enumerate(pictures.images) if image.tobytes() not in known], dtype=np.int64)
    return pictures.at(index) if len(index) >= max(1, len(pictures) // 4) else pictures


def carry_over(old: Path, new: Path, data_sha256: str) -> bool:
    """Copy the feature space of a replaced checkpoint if its data and reference pictures are unchanged."""
    source, target = old / "reference", new / "reference"
    record = source / RECORD
    if not record.is_file() or json.loads(record.read_text(encoding="utf-8"))["data_sha256"] != data_sha256:
        return False
    if (source / "train.npz").read_bytes() != (target / "train.npz").read_bytes():
        return False
    for name in (WEIGHTS, FEATURES, RECORD):
        shutil.copyfile(source / name, target / name)
    return True


WHERE_NOW = "If the pictures lie elsewhere now, say where with --data"


def data_of(checkpoint: Path, moved_to: str | None = None) -> DataSet:
    """Load the data set that a checkpoint was trained on.

    moved_to: where the pictures lie now, as a training's --data says it, if not where they lay. Raises DataError if
    they are not there, or have changed.
    """
    record = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))
    settings = record["settings"] | ({} if moved_to is None else {"data": moved_to})
    try:
        data = load_data(DataConfig(**{name: settings[name] for name in DataConfig.model_fields if name in settings}))
    except DataError as error:
        raise DataError(f"{error}. {WHERE_NOW}") from error
    if data.sha256() != record["data"]["sha256"]:
        raise DataError(f"{checkpoint.name}: the pictures of {settings['data']} are not those it was trained on")
    return data


def main(arguments: list[str] | None = None) -> int:
    """Fit each checkpoint's feature network, save it and print its accuracies. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.features", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"pictures to learn from (default {IMAGES:,})")
    parser.add_argument("--data", help="where the pictures lie now, if not where they lay during the training")
    options = parser.parse_args(arguments)
    try:
        for checkpoint in options.checkpoints:
            reference = Pictures.read(checkpoint / "reference" / "train.npz")
            space = fit_features(data_of(checkpoint, options.data), reference, options.images)
            save_feature_space(space, checkpoint / "reference")
            seen = space.record["accuracy"]
            classes = "no classes" if seen is None else f"{seen:.2%} of the test pictures' classes"
            print(f"{checkpoint.name}: {classes}, {space.record['turn_accuracy']:.2%} of their turns")
    except (DataError, OSError, KeyError) as error:
        print(f"features: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main())
