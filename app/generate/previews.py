"""The pictures in a checkpoint's folder: some of its data, and some of its samples."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from app.server.checkpoint_facts import Checkpoint
from app.ui.images import data_uri, png, sheet, tiles_of

COLUMNS = 8  # as on samples.png
MAX_ROWS = 10
MAX_PREVIEW_BYTES = 20_000_000
MAX_PIXELS = 4_000_000


def samples_uri(checkpoint: Checkpoint) -> str | None:
    """Return samples.png as a data: address, without its white lines; None if it is missing or cannot be read."""
    return _from_file(_samples, checkpoint.folder / "samples.png", checkpoint)


def data_uri_of(checkpoint: Checkpoint) -> str | None:
    """Return a sheet of test pictures as a data: address, one class per row as on samples.png.

    None if the pictures are missing or cannot be read.
    """
    return _from_file(_data, checkpoint.folder / "reference" / "test.npz", checkpoint)


def _from_file(make, path: Path, checkpoint: Checkpoint) -> str | None:
    try:
        status = path.stat()
        if status.st_size > MAX_PREVIEW_BYTES:
            return None
        return make(path, status.st_mtime_ns, checkpoint.image_shape[1], checkpoint.classes)
    except (OSError, ValueError, KeyError, Image.DecompressionBombError):
        return None


@lru_cache(maxsize=16)
def _samples(path: Path, changed: int, side: int, classes: int) -> str | None:
    with Image.open(path, formats=["PNG"]) as image:
        if image.width * image.height > MAX_PIXELS:
            return None
        tiles = tiles_of(image, side)
        return data_uri(png(image if tiles is None else sheet(*tiles)))


@lru_cache(maxsize=16)
def _data(path: Path, changed: int, side: int, classes: int) -> str | None:
    with np.load(path, allow_pickle=False) as arrays:
        images = arrays["images"]
        labels = arrays["labels"] if classes and "labels" in arrays else None
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        return None
    chosen = np.arange(min(len(images), COLUMNS * COLUMNS))
    if labels is not None:
        rows = [np.flatnonzero(labels == row)[:COLUMNS] for row in range(min(classes, MAX_ROWS))]
        if all(len(row) == COLUMNS for row in rows):
            chosen = np.concatenate(rows)
    return data_uri(png(sheet(images[chosen], COLUMNS)))
