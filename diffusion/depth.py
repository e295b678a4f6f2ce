"""Bring pictures of more than 8 bits to 8, all pictures of a set on one scale.

The scale is chosen from the extremes of the whole set and never from one picture's own maximum, which would stretch
every picture differently. Whole numbers: black is 0 and white the top of the least usual depth that holds them all.
Floats: [0, 1] or [-1, 1] if the values fit, with a tolerance, since resampling overshoots.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageOps

DEPTHS = (8, 10, 12, 14, 16)  # of cameras, scanners and microscopes, in bits
OVERSHOOT = 0.1  # of the range: what resampling adds at edges
OTHER_BYTE = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGB;16N": "RGB;16" + "LB"[sys.byteorder == "little"]}


@dataclass(frozen=True)
class Extremes:
    """The least and the greatest finite level of pictures, and whether all their levels are whole numbers.

    not_finite: how many levels are NaN or infinite.
    """

    low: float
    high: float
    whole: bool
    not_finite: int = 0

    @classmethod
    def measure(cls, levels: np.ndarray, whole: bool) -> Self:
        """Measure one picture; without any finite level, both extremes are 0."""
        finite = levels[np.isfinite(levels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        return cls(low, high, whole, levels.size - finite.size)

    @classmethod
    def over(cls, parts: Iterable[Self]) -> Self:
        """Join those of the pictures of one set: at least one."""
        parts = list(parts)
        return cls(
            min(part.low for part in parts),
            max(part.high for part in parts),
            all(part.whole for part in parts),
            sum(part.not_finite for part in parts),
        )


@dataclass(frozen=True)
class Scale:
    """The levels that become black (0) and white (255)."""

    black: float
    white: float

    @classmethod
    def choose(cls, found: Extremes) -> Self:
        """Choose the scale of a set of pictures from its extremes."""
        low, high = found.low, found.high
        if found.whole:
            tops = [2**bits - 1 for bits in DEPTHS]
            white = next((top for top in tops if high <= top), high)
            return cls(0.0 if low >= 0 else low, float(max(white, low + 1)))
        if -1 - OVERSHOOT <= low < -OVERSHOOT and high <= 1 + OVERSHOOT:
            return cls(-1.0, 1.0)
        if low < -OVERSHOOT * max(high, 1.0):
            return cls(low, max(high, low + 1))
        if high <= 1 + OVERSHOOT:
            return cls(0.0, 1.0)
        tops = [2**bits - 1 for bits in DEPTHS]
        usual = next((top for top in tops if top / 2 < high <= top * (1 + OVERSHOOT)), None)
        return cls(0.0, float(usual if usual is not None else high))

    def to_8_bits(self, levels: np.ndarray) -> np.ndarray:
        """Scale levels to uint8, rounded and clipped."""
        scaled = (levels.astype(np.float64) - self.black) * (255.0 / (self.white - self.black))
        return scaled.round().clip(0, 255).astype(np.uint8)

    def __str__(self) -> str:
        return f"{self.black:g} is black and {self.white:g} is white"


def is_deep(picture: Image.Image) -> bool:
    """Whether an opened picture, not yet decoded, has more than 8 bits a channel that Pillow can give us.

    Pictures with alpha are not among them: Pillow reads the upper byte of each of their channels.
    """
    return picture.mode.startswith("I") or picture.mode == "F" or _deep_rgb(picture)


def deep_levels(picture: Image.Image) -> tuple[np.ndarray, Extremes]:
    """Return the levels of a deep picture, (H, W, C) float32 or float64 with C = 1 or 3, upright, and its extremes.

    NaN becomes the picture's least level, as an infinite level becomes its least or greatest.
    """
    whole = picture.mode != "F"
    if _deep_rgb(picture):
        levels = _both_bytes(picture)
    else:
        exact = np.float64 if picture.mode == "I" else np.float32  # 32 bits hold whole numbers up to 2^24
        unsigned = _has_no_sign(picture)  # tags are gone once it is turned
        levels = np.asarray(ImageOps.exif_transpose(picture)).astype(exact)[..., None]
        levels = levels % 2**32 if unsigned else levels  # Pillow takes the upper half for negative
    extremes = Extremes.measure(levels, whole)
    if extremes.not_finite:
        levels = np.nan_to_num(levels, nan=extremes.low, posinf=extremes.high, neginf=extremes.low)
    return levels, extremes


def fit_levels(levels: np.ndarray, size: int, resample: Image.Resampling) -> np.ndarray:
    """Resize (H, W, C) levels so that they fill a square and crop it at the centre: (size, size, C) float32."""
    planes = [Image.fromarray(levels[..., c].astype(np.float32)) for c in range(levels.shape[-1])]
    return np.stack([np.asarray(ImageOps.fit(plane, (size, size), resample)) for plane in planes], axis=-1)


def _has_no_sign(picture: Image.Image) -> bool:
    """Return whether a TIFF holds whole numbers of 32 bits from 0 on."""
    tags = getattr(picture, "tag_v2", {})
    return picture.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,)


def _deep_rgb(picture: Image.Image) -> bool:
    return picture.mode == "RGB" and _raw_mode(picture) in OTHER_BYTE


def _raw_mode(picture: Image.Image) -> str | None:
    """Return how the file stores its pixels; Pillow forgets it once the picture is decoded."""
    tiles = getattr(picture, "tile", None)
    arguments = tiles[0][3] if tiles else None
    return arguments[0] if isinstance(arguments, tuple) and arguments else arguments


def _both_bytes(picture: Image.Image) -> np.ndarray:
    """Decode 16-bit RGB, of which Pillow keeps the upper byte, twice: (H, W, 3) float32."""
    raw, whole_file = _raw_mode(picture), picture.fp
    whole_file.seek(0)
    twin = Image.open(whole_file, formats=[picture.format])
    twin.tile = [
        tile._replace(args=(OTHER_BYTE[raw], *tile.args[1:]) if isinstance(tile.args, tuple) else OTHER_BYTE[raw])
        for tile in twin.tile
    ]
    lower = np.asarray(ImageOps.exif_transpose(twin)).astype(np.float32)
    whole_file.seek(0)
    upper = np.asarray(ImageOps.exif_transpose(Image.open(whole_file, formats=[picture.format]))).astype(np.float32)
    return 256 * upper + lower
