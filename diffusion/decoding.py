"""Decode pictures that strangers send: one at a time, after their header was judged, within a budget of bytes.

A file of some kilobytes can unpack to a hundred megabytes, and a dozen sent at once to a dozen times as much.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, PngImagePlugin

from diffusion.errors import FieldError

MAX_SIDE = 4096
MAX_DECODED_BYTES = 70_000_000  # 4096 x 4096 in RGBA, or in 32 bits of grey
PngImagePlugin.MAX_TEXT_MEMORY = 4_000_000  # of all texts in a PNG, unpacked; Pillow allows 64 MB
BYTES = {"1": 1, "L": 1, "P": 1, "LA": 2, "I;16": 4, "I;16B": 4, "I;16L": 4, "I;16N": 4, "I": 8, "F": 4}

_one = threading.Lock()


@contextmanager
def decoding() -> Iterator[None]:
    """Let no other picture be opened or decoded in this process meanwhile."""
    with _one:
        yield


def check_header(picture: Image.Image, field: str) -> None:
    """Check an opened picture before anything is unpacked. Raises FieldError if it would take too much memory."""
    if max(picture.size) > MAX_SIDE or picture.width * picture.height * BYTES.get(picture.mode, 4) > MAX_DECODED_BYTES:
        raise FieldError(field, "picture_large", most=MAX_SIDE)
