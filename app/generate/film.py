"""A run as a film: x_t, the guess x_0_hat and the noise eps_hat, from x_T to the end, to scrub through and to save."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.ui.images import data_uri, full_columns, png, sheet, visible

if TYPE_CHECKING:
    from torch import Tensor

    from diffusion.sampling import Step

FRAMES = 24  # at most per film: enough to follow the run, and under a megabyte
FRAME_PIXELS = 2**15  # numbers (pixels x channels) per frame and kind; pictures beyond that are left out
EPS_RANGE = 2.5  # black is -2.5 and white is 2.5 standard deviations: 99% of the noise
KINDS = ("x_t", "x_0_hat", "eps_hat")
ANIMATION_SIDE, FRAME_MS, LAST_MS = 640, 110, 1600  # approximate width in pixels; duration of each frame, and the last
PAPER, INK = (250, 249, 247), (26, 26, 26)  # colours of an animation: between its pictures, and of its step numbers
LEAST_FONT, FONT_SHARE = 13, 32  # of an animation's step numbers: pixels at least, and of its width one part in so many


def frame_steps(steps: int, most: int = FRAMES) -> frozenset[int]:
    """Return which states of a run become frames: 0 is x_T, k the state after step k. Evenly spaced, with both ends."""
    count = min(steps + 1, most)
    return frozenset(round(k * steps / (count - 1)) for k in range(count))


@dataclass(frozen=True, eq=False)
class Frame:
    """One state of the run. step: how many of its `steps` are done. t: timestep at which the last one of them began.

    x_t, x_0_hat, eps_hat: (B, H, W, C) uint8. x_t is the state after the step; eps_hat is black at -2.5, white at 2.5.
    Before the first step x_t is x_T; the network has not been called, and t, x_0_hat and eps_hat are None.
    """

    step: int
    steps: int
    t: int | None
    x_t: np.ndarray
    x_0_hat: np.ndarray | None = None
    eps_hat: np.ndarray | None = None

    @classmethod
    def before(cls, first: Step, steps: int) -> Frame:
        """Return the frame of x_T, from which the sampler's first step begins."""
        return cls(0, steps, None, _visible(first.x_t))

    @classmethod
    def of(cls, number: int, step: Step, steps: int) -> Frame:
        """Return the frame of a step of the sampler."""
        shown = (step.x_s, step.x_0_hat, step.eps_hat / EPS_RANGE)
        return cls(number, steps, step.t, *map(_visible, shown))

    @property
    def caption(self) -> str:
        """Where in the run the frame is, the same in every language."""
        return f"{self.step} / {self.steps} · " + ("x_T" if self.t is None else f"t = {self.t}")


def _visible(x: Tensor) -> np.ndarray:
    """Return as many of the pictures as a frame has room for, at least one."""
    return visible(x[: max(1, FRAME_PIXELS // x[0].numel())])


def strip(frames: list[Frame], kind: str) -> str:
    """Stack all frames of one kind (see KINDS) vertically in one picture; return its PNG as a data: address.

    A frame without this kind is transparent.
    """
    return data_uri(png(Image.fromarray(np.concatenate([np.asarray(_sheet(frame, kind)) for frame in frames]))))


def frame_size(frames: list[Frame]) -> tuple[int, int]:
    """Return width and height of one frame, in its own pixels."""
    return _sheet(frames[0], "x_t").size


def animation(frames: list[Frame]) -> bytes:
    """Encode the film as a GIF file that repeats: x_t on the left, x_0_hat on the right, the step's number below."""
    first, *rest = map(_still, frames)
    durations = [FRAME_MS] * len(rest) + [LAST_MS]
    buffer = BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    return buffer.getvalue()


def _still(frame: Frame) -> Image.Image:
    """Return a frame of the animation."""
    pictures = _beside(_sheet(frame, "x_t"), _sheet(frame, "x_0_hat"))
    factor = max(1, ANIMATION_SIDE // pictures.width)
    width, height = pictures.width * factor, pictures.height * factor
    size = max(LEAST_FONT, width // FONT_SHARE)
    canvas = Image.new("RGB", (width, height + 2 * size), PAPER)
    canvas.paste(pictures.resize((width, height), Image.Resampling.NEAREST))
    draw = ImageDraw.Draw(canvas)
    draw.text((size // 2, height + size), frame.caption, INK, ImageFont.load_default(size), anchor="lm")
    return canvas


def _sheet(frame: Frame, kind: str) -> Image.Image:
    images = getattr(frame, kind)
    if images is None:  # transparent, and as large as the others
        return Image.new(_sheet(frame, "x_t").mode, _sheet(frame, "x_t").size)
    return sheet(images, full_columns(len(images)))


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    gap = max(2, left.width // 40)
    canvas = Image.new("RGB", (2 * left.width + gap, left.height), PAPER)
    for place, image in ((0, left), (left.width + gap, right)):
        image = image.convert("RGBA")
        canvas.paste(image, (place, 0), image)
    return canvas
