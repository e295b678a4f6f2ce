"""The common form of all picture sources: 8-bit arrays with labels, and their origin."""

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from diffusion.errors import printable
from diffusion.pixels import fit

TAKE_SEED = 0  # any fixed number: decides which pictures represent their set
EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # fixed, so that equal arrays give equal files


class DataError(Exception):
    """Data cannot be used. The text, meant for the user, says what to do."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures and labels. images: (N, H, W, C) uint8, C = 1 or 3; labels: (N,) int64 classes from 0, or None."""

    images: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self):
        if self.images.ndim != 4 or self.images.dtype != np.uint8 or self.images.shape[-1] not in (1, 3):
            raise DataError(
                f"images: must be uint8 of shape (N, H, W, 1 or 3), got {self.images.dtype} {self.images.shape}"
            )
        if self.labels is not None and self.labels.shape != (len(self.images),):
            raise DataError(f"labels: must be {len(self.images)} numbers, got shape {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, count: int) -> Self:
        """Return `count` pictures, always the same random ones, in their order; all if there are fewer."""
        index = np.random.default_rng(TAKE_SEED).permutation(len(self))[:count]
        return self.at(np.sort(index))

    def at(self, index: np.ndarray) -> Self:
        """Return the pictures at these positions: (n,) integers."""
        return type(self)(self.images[index], None if self.labels is None else self.labels[index])

    def in_style(self, image_size: int | None, color: str) -> Self:
        """Return the pictures at another size and as "grey" or "rgb"; None and "auto" leave them as they are."""
        channels = {"grey": 1, "rgb": 3, "auto": self.images.shape[-1]}[color]
        size = image_size or self.images.shape[1]
        if self.images.shape[1:] == (size, size, channels):
            return self
        images = [fit(to_pillow(image), size, "L" if channels == 1 else "RGB") for image in self.images]
        return type(self)(np.stack(images), self.labels)

    def sha256(self) -> str:
        """Hash the shape, the pixels and the labels."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images))
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels.astype("<i8")))
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write a compact .npz (LZMA; plain np.load reads it): images uint8 and, if there are any, labels uint16."""
        arrays = {"images": self.images}
        if self.labels is not None:
            arrays["labels"] = self.labels.astype(np.uint16)
        with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_LZMA) as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy", EARLIEST_ZIP_TIME)
                entry.compress_type = zipfile.ZIP_LZMA
                with archive.open(entry, "w") as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises DataError, naming the file, if it is missing or not of that form."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(arrays["images"], arrays["labels"].astype(np.int64) if "labels" in arrays else None)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: could not be read as pictures ({error})") from error


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test pictures that share no picture, and what the model card says about them.

    notes: what was decided while reading them; warnings: what should be seen before hours are spent on them.
    """

    name: str
    train: Pictures
    test: Pictures
    class_names: tuple[str, ...] | None = None
    license: str = "unknown"
    source: str = ""
    warnings: tuple[str, ...] = field(default=())
    hub_id: str | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self):
        for name, value in (("name", printable(self.name)), ("class_names", _unique(self.class_names))):
            object.__setattr__(self, name, value)  # they come from folders and the Hub, and go into JSON and the page
        if self.class_names is not None:
            for split in (self.train, self.test):
                if split.labels is None or (
                    len(split) and not 0 <= split.labels.min() <= split.labels.max() < self.classes
                ):
                    raise DataError(f"labels: {self.name} needs one in [0, {self.classes}) for every picture")

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return len(self.class_names or ())

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.train.images.shape[1:]

    def sha256(self) -> str:
        """Hash all pictures and labels of both splits."""
        return hashlib.sha256(f"{self.train.sha256()} {self.test.sha256()}".encode()).hexdigest()


def _unique(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return class names as they can be written and shown anywhere, no two alike."""
    if names is None:
        return None
    shown = [printable(name) or "(no name)" for name in names]
    return tuple(f"{name} ({number})" if shown.count(name) > 1 else name for number, name in enumerate(shown))


def to_pillow(image: np.ndarray) -> Image.Image:
    """Convert an (H, W, 1 or 3) uint8 array to a Pillow picture of mode L or RGB."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
