"""Pixels to PNGs. Nothing here is ever smoothed: enlarging means larger squares."""

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

GAP = 1  # between the pictures of a sheet, transparent
SAVED_SIDE = 224  # a saved picture is enlarged to about this many pixels
SHEET_SIDE = 1200  # and all pictures of a run together to about this many
FASTEST = 1  # zlib level: a preview lives a quarter of a second


def visible(x: Tensor) -> np.ndarray:
    """(B, C, H, W) as a sampler holds it -> (B, H, W, C) uint8; what is no number is shown as 0."""
    return tensors.to_uint8(x.nan_to_num(nan=0.0))


def picture(pixels: np.ndarray) -> Image.Image:
    """(H, W, C) uint8 with C = 1 (grey) or 3 (RGB) -> a picture."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def enlarged(image: Image.Image, side: int = SAVED_SIDE) -> Image.Image:
    """The picture with squares for pixels, by the largest whole factor (at least 1) that keeps it within `side`."""
    factor = max(1, side // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def sheet(images: np.ndarray, columns: int) -> Image.Image:
    """(N, H, W, C) uint8 -> one picture, row by row, transparent between."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.zeros((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels + 1), dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + GAP), (number % columns) * (width + GAP)
        canvas[top : top + height, left : left + width, :channels] = image
        canvas[top : top + height, left : left + width, channels] = 255
    return Image.fromarray(canvas)


def square_columns(count: int) -> int:
    """Columns of the sheet of `count` square pictures that is nearest to a square and not taller than wide."""
    return max(1, int(np.ceil(np.sqrt(count))))


def together(images: np.ndarray) -> Image.Image:
    """(N, H, W, C) uint8 -> one picture at the pictures' own size: the picture itself, or a sheet of several."""
    return picture(images[0]) if len(images) == 1 else sheet(images, square_columns(len(images)))


def as_saved(images: np.ndarray, saved: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Pictures as they would stand in the file `saved`, and what stands there: uint8 arrays to compare.

    The shapes differ where the file holds something else than such pictures, enlarged by a whole factor.
    """
    fresh = together(images)
    factor = max(1, saved.width // fresh.width)
    fresh = fresh.resize((fresh.width * factor, fresh.height * factor), Image.Resampling.NEAREST)
    return np.asarray(fresh.convert("RGBA")), np.asarray(saved.convert("RGBA"))


def png(image: Image.Image, recipe: Recipe | None = None, level: int = 6) -> bytes:
    """A picture as a PNG file, with its recipe inside if it has one."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", pnginfo=recipe and png_text(recipe), compress_level=level)
    return buffer.getvalue()


def data_uri(content: bytes) -> str:
    """A PNG file as an address that holds the file: nothing is stored on the server, nobody else can ask for it."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def tiles_of(image: Image.Image, side: int) -> tuple[np.ndarray, int] | None:
    """The pictures on a checkpoint's samples.png, (N, side, side, C) uint8, and its columns; None where it is no such
    sheet.

    Such a sheet is N pictures of side x side with two white pixels between, all enlarged by one whole factor.
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
    """Columns of a sheet that is about square or wider, with as few empty places as can be."""
    least = square_columns(count)
    return min(range(least, min(count, 2 * least) + 1), key=lambda columns: (-count % columns, columns))
