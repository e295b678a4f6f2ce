"""Tiny checkpoint folders with random weights, laid out as training/export.py does: no test waits for a training."""

import json
from pathlib import Path

import numpy as np
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image

from tests.networks import make_unet

SIDE = 8
CLASS_NAMES = ["T-shirt/top", "Trouser", "a name the texts do not know"]


def make_checkpoint(
    folder: Path, classes: int = 0, channels: int = 1, widths: tuple[int, int] = (8, 16), blocks: int = 1, **scheduler
) -> Path:
    """A folder that the catalogue reads. Its network answers differently at every t and for every class."""
    unet = make_unet(classes, channels, SIDE, widths, blocks)
    DDPMPipeline(unet, DDPMScheduler(**scheduler)).save_pretrained(folder)
    add_showcase(folder, classes, channels)
    return folder


def add_showcase(folder: Path, classes: int, channels: int) -> None:
    """reference/ and samples.png, of random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE, channels), dtype=np.uint8)
    (folder / "reference").mkdir()
    np.savez_compressed(
        folder / "reference" / "test.npz", images=pixels, labels=np.arange(64, dtype=np.uint16) % max(1, classes)
    )
    names = CLASS_NAMES[:classes] if classes else None
    reference = {"data": folder.name, "class_names": names, "license": "MIT"}
    (folder / "reference" / "reference.json").write_text(json.dumps(reference), encoding="utf-8")
    sheet = np.full((8 * (SIDE + 2) - 2, 8 * (SIDE + 2) - 2, channels), 255, dtype=np.uint8)
    for number, tile in enumerate(pixels):
        top, left = number // 8 * (SIDE + 2), number % 8 * (SIDE + 2)
        sheet[top : top + SIDE, left : left + SIDE] = tile
    image = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(folder / "samples.png")


def make_all(folder: Path) -> Path:
    """Grey with classes, colour without, a slow one to stop, and one that cannot be used."""
    make_checkpoint(folder / "clothes", classes=3)
    make_checkpoint(folder / "faces", channels=3, num_train_timesteps=100, beta_schedule="squaredcos_cap_v2")
    make_checkpoint(folder / "slow", widths=(64, 128), blocks=3)
    make_checkpoint(folder / "broken")
    (folder / "broken" / "model_index.json").write_text('{"_class_name": "EvilPipeline"}', encoding="utf-8")
    return folder
