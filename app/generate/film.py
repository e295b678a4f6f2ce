"""A run as a film: x_t, the guess x_0_hat and the noise eps_hat at some of its steps, to scrub through and to save."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from app.ui.images import data_uri, full_columns, png, sheet, visible

if TYPE_CHECKING:
    from diffusion.sampling import Step

FRAMES = 24  # at most per film: enough to follow the run, and under a megabyte
FRAME_PIXELS = 2**15  # numbers (pixels x channels) per frame and kind; pictures beyond that are left out
EPS_RANGE = 2.5  # black is -2.5 and white is 2.5 standard deviations: 99% of the noise
KINDS = ("x_t", "x_0_hat", "eps_hat")
ANIMATION_SIDE, FRAME_MS, LAST_MS = 640, 110, 1600  # approximate width in pixels; duration of each frame, and the last
PAPER = (250, 249, 247)  # colour between the pictures of an animation


def frame_steps(steps: int, most: int = FRAMES) -> frozenset[int]:
    """Return which of the steps 1..steps become frames: evenly spaced, including the first and the last."""
    count = min(steps, most)
    return frozenset(1 + round(k * (steps - 1) / max(1, count - 1)) for k in range(count))


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of the run. step: its number, from 1. t: timestep at which the step begins.

    x_t, x_0_hat, eps_hat: (B, H, W, C) uint8. x_t is the state after the step; eps_hat is black at -2.5, white at 2.5.
    """

    step: int
    t: int
    x_t: np.ndarray
    x_0_hat: np.ndarray
    eps_hat: np.ndarray

    @classmethod
    def of(cls, number: int, step: Step) -> Frame:
        """Return the frame of a step of the sampler."""
        _, channels, height, width = step.x_s.shape
        count = max(1, FRAME_PIXELS // (channels * height * width))
        tensors = (step.x_s, step.x_0_hat, step.eps_hat / EPS_RANGE)
        return cls(number, step.t, *(visible(x[:count]) for x in tensors))


def strip(frames: list[Frame], kind: str) -> str:
    """Stack all frames of one kind (see KINDS) vertically in one picture; return its PNG as a data: address."""
    return data_uri(png(Image.fromarray(np.concatenate([np.asarray(_sheet(getattr(f, kind))) for f in frames]))))


def frame_size(frames: list[Frame]) -> tuple[int, int]:
    """Return width and height of one frame, in its own pixels."""
    return _sheet(frames[0].x_t).size


def animation(frames: list[Frame]) -> bytes:
    """Encode the film as a GIF file that repeats: x_t on the left, x_0_hat on the right."""
    pictures = [_beside(_sheet(frame.x_t), _sheet(frame.x_0_hat)) for frame in frames]
    factor = max(1, ANIMATION_SIDE // pictures[0].width)
    first, *rest = (p.resize((p.width * factor, p.height * factor), Image.Resampling.NEAREST) for p in pictures)
    durations = [FRAME_MS] * len(rest) + [LAST_MS]
    buffer = BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    return buffer.getvalue()


def _sheet(images: np.ndarray) -> Image.Image:
    return sheet(images, full_columns(len(images)))


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    gap = max(2, left.width // 40)
    canvas = Image.new("RGB", (2 * left.width + gap, left.height), PAPER)
    for place, image in ((0, left), (left.width + gap, right)):
        image = image.convert("RGBA")
        canvas.paste(image, (place, 0), image)
    return canvas
