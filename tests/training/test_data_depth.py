"""Pictures of more than 8 bits: one scale for the whole set, told; never one picture's own maximum."""

import struct

import numpy as np
import pytest
from PIL import Image

from diffusion.depth import Extremes, Scale
from tests.training.deep_files import png_of_16_bits, tiff_of_16_bits
from training.data import DataConfig, load_data

RAMP = np.add.outer(np.linspace(0, 1, 16), np.linspace(0, 1, 16)) / 2


def pictures(count: int = 20) -> list[np.ndarray]:
    """(16, 16) in [0, 1], each darker than the one before; only the first holds 1 and only the last holds 0."""
    return [RAMP * (1 - 0.5 * number / count) + 0.3 * (number < count - 1) * (1 - RAMP) for number in range(count)]


def load(folder):
    return load_data(DataConfig(data=str(folder), image_size=16))


def all_pictures(data) -> np.ndarray:
    images = np.concatenate([data.train.images, data.test.images])[..., 0].astype(int)
    return images[np.argsort(-images.reshape(len(images), -1).max(axis=1), kind="stable")]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_depth_in_16_bits_is_read_on_its_own_scale(tmp_path, bits, suffix):
    top = 2**bits - 1
    for number, x in enumerate(pictures()):
        Image.fromarray((x * top).round().astype(np.uint16)).save(tmp_path / f"{number}{suffix}")
    data = load(tmp_path)
    for found, x in zip(all_pictures(data), pictures(), strict=True):
        assert np.abs(found - x * 255).max() <= 1
    (line,) = [note for note in data.notes if "more than 8 bits" in note]
    assert line.startswith("20 pictures of more than 8 bits") and line.endswith(f"0 is black and {top:g} is white")
    assert not any("nearly" in said for said in data.warnings)


@pytest.mark.parametrize(
    "made, black, white",
    [
        (lambda x: x, 0, 1),
        (lambda x: x * 1.02, 0, 1),  # overshoot of a resampling
        (lambda x: x * 1.04 - 0.02, 0, 1),
        (lambda x: 2 * x - 1, -1, 1),
        (lambda x: 255 * x, 0, 255),
        (lambda x: 65535 * x, 0, 65535),
        (lambda x: 3 * x, 0, 3),
        (lambda x: 300 * x - 100, -100, 200),
    ],
)
def test_floats_of_every_usual_range(tmp_path, made, black, white):
    for number, x in enumerate(pictures()):
        Image.fromarray(made(x).astype(np.float32)).save(tmp_path / f"{number}.tif")
    data = load(tmp_path)
    for found, x in zip(all_pictures(data), pictures(), strict=True):
        wanted = np.clip((made(x) - black) / (white - black), 0, 1) * 255
        assert np.abs(found - wanted).max() <= 1
    assert any(note.endswith(f"{black:g} is black and {white:g} is white") for note in data.notes)


@pytest.mark.parametrize("top", [255, 1000, 4095, 40_000, 100_000, 2**31 - 1])
def test_32_bit_whole_numbers(tmp_path, top):
    for number, x in enumerate(pictures()):
        Image.fromarray((x * top).round().astype(np.int32)).save(tmp_path / f"{number}.tif")
    white = next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if top < 2**bits), top)
    for found, x in zip(all_pictures(load(tmp_path)), pictures(), strict=True):
        assert np.abs(found - x * top / white * 255).max() <= 1


def test_nan_and_infinity_are_told_and_do_not_spread(tmp_path):
    for number, x in enumerate(pictures()):
        levels = x.astype(np.float32)
        if number == 3:
            levels[4, 5], levels[6, 7] = np.nan, np.inf
        Image.fromarray(levels).save(tmp_path / f"{number}.tif")
    data = load(tmp_path)
    found = all_pictures(data)[3]
    assert found[6, 7] == found.max() and abs(int(found[4, 4]) - 255 * pictures()[3][4, 4]) <= 1
    assert any(said.startswith("1 pictures have 2 levels that are NaN or infinite") for said in data.warnings)


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("kind", ["png", "<tiff", ">tiff", "<tiff, packed", ">tiff, packed"])
def test_colour_of_more_than_8_bits_keeps_it(tmp_path, bits, kind):
    for number, x in enumerate(pictures()):
        levels = (np.stack([x, x / 2, x / 4], axis=-1) * (2**bits - 1)).round().astype(np.uint16)
        made = png_of_16_bits(levels) if kind == "png" else tiff_of_16_bits(levels, kind[0], "packed" in kind)
        (tmp_path / f"{number}.picture").write_bytes(made)
    data = load(tmp_path)
    assert data.image_shape == (16, 16, 3)
    images = np.concatenate([data.train.images, data.test.images]).astype(int)
    images = images[np.argsort(-images.reshape(len(images), -1).max(axis=1), kind="stable")]
    for found, x in zip(images, pictures(), strict=True):
        assert np.abs(found - np.stack([x, x / 2, x / 4], axis=-1) * 255).max() <= 1


@pytest.mark.parametrize(
    "level, word",
    [(4, "nearly constant"), (None, "nearly black"), (251, "nearly constant"), (-1, "nearly white")],
)
def test_a_set_that_shows_nothing_is_warned_of(tmp_path, level, word):
    for number in range(20):
        rng = np.random.default_rng(number)
        if level is None or level == -1:
            pixels = rng.integers(0, 30, (16, 16), dtype=np.uint8)
            pixels = pixels if level is None else 255 - pixels
        else:
            pixels = rng.integers(level, level + 3, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    assert any(f"the training pictures are {word}" in said for said in load(tmp_path).warnings)


def test_pictures_of_a_single_colour_are_counted(tmp_path):
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels if number % 4 else pixels * 0 + number).save(tmp_path / f"{number}.png")
    data = load_data(DataConfig(data=str(tmp_path), image_size=16, test_fraction=0.05))
    flat = sum(bool((image == image[0, 0]).all()) for image in data.train.images)
    assert any(said == f"{flat} of {len(data.train)} training pictures are a single colour" for said in data.warnings)


def test_the_scale_is_that_of_the_whole_set():
    parts = [Extremes(0, 900, True), Extremes(20, 3000, True)]
    assert Scale.choose(Extremes.over(parts)) == Scale(0, 4095)
    assert Scale.choose(Extremes(0, 0, True)) == Scale(0, 255)
    assert Scale.choose(Extremes(0, 0, False)) == Scale(0, 1)
    assert Scale.choose(Extremes(-0.7, 0.9, False)) == Scale(-1, 1)
    assert Scale.choose(Extremes(-500, -20, True)).white > -500


def change_tag(path, tag: int, value: int) -> None:
    """Set a tag of a TIFF of one number, which Pillow writes as it sees fit."""
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<HHI", tag, 3, 1))
    content[at + 8 : at + 10] = struct.pack("<H", value)
    path.write_bytes(content)


def test_32_bits_without_a_sign(tmp_path):
    for number, x in enumerate(pictures()):
        levels = (x * (2**32 - 1)).round().astype(np.uint32)
        Image.fromarray(levels.view(np.int32)).save(tmp_path / f"{number}.tif")
        change_tag(tmp_path / f"{number}.tif", 339, 1)
    for found, x in zip(all_pictures(load(tmp_path)), pictures(), strict=True):
        assert np.abs(found - x * 255).max() <= 1


@pytest.mark.parametrize("tag, value, said", [(284, 2, "whose channels lie apart"), (262, 0, "in which 0 is white")])
def test_what_pillow_would_misread_is_not_read(tmp_path, tag, value, said):
    for number, x in enumerate(pictures()):
        Image.fromarray((x * 65535).astype(np.uint16)).save(tmp_path / f"{number}.png")
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(tmp_path / "odd.tif")
    change_tag(tmp_path / "odd.tif", tag, value)
    assert any(said in line and "of a kind that is not read: 1 .tif" in line for line in load(tmp_path).warnings)
