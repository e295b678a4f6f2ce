"""Pictures from strangers: judged by their header, decoded one at a time, within a budget of bytes."""

import io
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from diffusion.decoding import MAX_SIDE, check_header, decoding
from diffusion.errors import FieldError
from diffusion.sharing.recipe import read_png


def png(size: tuple[int, int], mode: str = "L", texts: dict | None = None) -> bytes:
    information, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, text in (texts or {}).items():
        information.add_text(name, text, zip=True)
    Image.new(mode, size).save(file, "PNG", pnginfo=information)
    return file.getvalue()


def test_nobody_decodes_beside_another():
    at_once, most = 0, 0

    def decode(_):
        nonlocal at_once, most
        with decoding():
            at_once += 1
            most = max(most, at_once)
            time.sleep(0.005)
            at_once -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(decode, range(24)))
    assert most == 1


def test_a_picture_that_fails_lets_the_next_in():
    with pytest.raises(ValueError, match="broken"), decoding():
        raise ValueError("broken")
    done = threading.Event()

    def decode():
        with decoding():
            done.set()

    threading.Thread(target=decode, daemon=True).start()
    assert done.wait(10)


@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, 20_000), (5000, 5000)])
@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGBA"])
def test_a_small_file_of_a_large_picture_is_refused_by_its_header(size, mode, monkeypatch):
    content = png(size, mode)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(FieldError, match="4096"):
        read_png(content)
    with Image.open(io.BytesIO(content)) as picture, pytest.raises(FieldError, match=r"^own: .*4096"):
        check_header(picture, "own")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_the_largest_picture_that_is_promised_passes(mode):
    with Image.open(io.BytesIO(png((MAX_SIDE, MAX_SIDE), mode))) as picture:
        check_header(picture, "own")


def test_texts_that_unpack_to_megabytes_are_refused():
    small = {f"t{number}": "x" * 900_000 for number in range(3)}
    with pytest.raises(FieldError, match="recipe"):
        read_png(png((8, 8), texts=small))  # only a recipe is missing
    large = png((8, 8), texts={f"t{number}": "x" * 900_000 for number in range(60)})
    assert len(large) < 100_000
    with pytest.raises(FieldError, match="PNG"):
        read_png(large)


def test_a_picture_of_whole_numbers_in_16_bits_is_still_exact():
    from diffusion.depth import deep_levels

    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    found, extremes = deep_levels(Image.open(file))
    assert np.array_equal(found[..., 0], levels) and (extremes.low, extremes.high) == (0, 65535)
    assert zlib.crc32(found.astype(np.uint16).tobytes()) == zlib.crc32(levels.tobytes())
