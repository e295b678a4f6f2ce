"""Turn pixels into PNGs. Nothing here is ever smoothed: enlarging means larger squares."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from app.ui.lazy_import import lazy_import
from diffusion.sharing.recipe import Recipe, png_text

if TYPE_CHECKING:
    from torch import Tensor

tensors = lazy_import("diffusion.pixels")

GAP = 1  # pixels between the pictures of a sheet, transparent
SAVED_SIDE = 224  # a saved picture is enlarged to about this many pixels
SHEET_SIDE = 1200  # a sheet of all pictures of a run is enlarged to about this many
FASTEST = 1  # zlib level: a preview is shown for a quarter of a second


def visible(x: Tensor) -> np.ndarray:
    """Turn a sampler's (B, C, H, W) in [-1, 1] into (B, H, W, C) uint8; NaN is shown as 0, mid-grey."""
    return tensors.to_uint8(x.nan_to_num(nan=0.0))


def picture(pixels: np.ndarray) -> Image.Image:
    """Return the image of (H, W, C) uint8 with C = 1 (grey) or 3 (RGB)."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def enlarged(image: Image.Image, side: int = SAVED_SIDE) -> Image.Image:
    """Enlarge a picture by the largest whole factor (at least 1) that keeps it within `side`; pixels become squares."""
    factor = max(1, side // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def sheet(images: np.ndarray, columns: int) -> Image.Image:
    """Arrange (N, H, W, C) uint8 row by row in one picture, transparent in between."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels + 1), dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
        canvas[top : top + height, left : left + width, :channels] = image
        canvas[top : top + height, left : left + width, channels] = 255
    return Image.fromarray(canvas)


def square_columns(count: int) -> int:
    """Return the columns of the most nearly square sheet of `count` square pictures that is not taller than wide."""
    return max(1, int(np.ceil(np.sqrt(count))))


def together(images: np.ndarray) -> Image.Image:
    """Return (N, H, W, C) uint8 as one picture, not enlarged: the picture itself, or a sheet of several."""
    return picture(images[0]) if len(images) == 1 else sheet(images, square_columns(len(images)))


def as_saved(images: np.ndarray, saved: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures as the file `saved` would hold them, and what it holds: two RGBA uint8 arrays to compare.

    The shapes differ if the file holds anything but such pictures, enlarged by a whole factor.
    """
    fresh = together(images)
    factor = max(1, saved.width // fresh.width)
    fresh = fresh.resize((fresh.width * factor, fresh.height * factor), Image.Resampling.NEAREST)
    return np.asarray(fresh.convert("RGBA")), np.asarray(saved.convert("RGBA"))


def png(image: Image.Image, recipe: Recipe | None = None, level: int = 6, size: tuple[int, int] | None = None) -> bytes:
    """Encode a picture as a PNG file, with its recipe inside if it has one.

    level: of zlib. size: (width, height) of one picture of the run, which the recipe names for other programs.
    """
    buffer = BytesIO()
    image.save(buffer, format="PNG", pnginfo=recipe and png_text(recipe, size), compress_level=level)
    return buffer.getvalue()


def data_uri(content: bytes) -> str:
    """Return a data: address that holds a PNG file: nothing is stored on the server, nobody else can request it."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def tiles_of(image: Image.Image, side: int) -> tuple[np.ndarray, int] | None:
    """Return the pictures on a checkpoint's samples.png, (N, side, side, C) uint8, and its number of columns.

    Returns None if the size is not that of such a sheet: N pictures of side x side, two white pixels apart, all
    enlarged by one whole factor up to 16.
    """
    gap = 2
    for scale in range(1, 17):
        width, height = image.width / scale, image.height / scale
        if not (width.is_integer() and height.is_integer()):
            continue
        columns, rows = (width + gap) / (side + gap), (height + gap) / (side + gap)
        if columns.is_integer() and rows.is_integer():
            small = image.convert("L" if image.mode == "L" else "RGB").resize(
                (int(width), int(height)), Image.Resampling.NEAREST
            )
            pixels = np.atleast_3d(np.asarray(small))
            corners = [
                (row * (side + gap), column * (side + gap))
                for row in range(int(rows))
                for column in range(int(columns))
            ]
            tiles = np.stack([pixels[top : top + side, left : left + side] for top, left in corners])
            return tiles, int(columns)
    return None


def full_columns(count: int) -> int:
    """Return the columns of a sheet of `count` pictures that is about square or wider, with the fewest empty cells."""
    least = square_columns(count)
    return min(range(least, min(count, 2 * least) + 1), key=lambda columns: (-count % columns, columns))
