"""Convert between 8-bit pictures and tensors: grey level k in 0..255 is k / 127.5 - 1."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from diffusion.depth import Scale, deep_levels, fit_levels, is_deep

HALF_BIN = 1 / 255  # half the distance between two grey levels on [-1, 1]


def to_unit_range(images: np.ndarray) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


def to_uint8(x: Tensor) -> np.ndarray:
    """(B, C, H, W), clamped to [-1, 1] -> (B, H, W, C) uint8, rounded."""
    return ((x.detach().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def to_pictures(x: Tensor) -> list[Image.Image]:
    """(B, C, H, W) in [-1, 1] with C = 1 (grey) or 3 (RGB) -> B pictures."""
    return [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in to_uint8(x)]


def check_grid(x_0: Tensor) -> None:
    """Raise ValueError if a value is not one of the 256 grey levels: such data have no likelihood in bits."""
    k = (x_0.double() + 1) * 127.5
    off = (k - k.round()).abs().max().item() if x_0.numel() else 0.0
    if not off < 1e-3 or k.min().item() < -1e-3 or k.max().item() > 255 + 1e-3:  # NaN is refused too
        raise ValueError("x_0: must lie on the 8-bit grid k / 127.5 - 1, k = 0..255; quantise after any resizing")


def fit(
    picture: Image.Image, size: int, mode: str, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> np.ndarray:
    """Convert a picture as a camera or a paint program saved it to (size, size, C) uint8.

    Turned upright by its EXIF tag, alpha laid over white, resized so that it fills the square, cropped at the centre.
    mode: "L" (C = 1) or "RGB" (C = 3). More than 8 bits are scaled as those of a set of this one picture.
    """
    if is_deep(picture):
        levels, extremes = deep_levels(picture)
        pixels = Scale.choose(extremes).to_8_bits(fit_levels(levels, size, resample))
        return in_mode(pixels, mode)
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    pixels = np.asarray(ImageOps.fit(picture.convert(mode), (size, size), resample))
    return pixels.reshape(size, size, -1)


def in_mode(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Convert (H, W, 1 or 3) uint8 to grey, "L", or "RGB"."""
    if pixels.shape[-1] == (1 if mode == "L" else 3):
        return pixels
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return np.asarray(picture.convert(mode)).reshape(*pixels.shape[:2], -1)
