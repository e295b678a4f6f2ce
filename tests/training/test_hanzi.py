"""The characters in six scripts: how they are chosen and drawn, and how a training finds them."""

import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from torch.utils.flop_counter import FlopCounterMode

from tests.training.tiny import REPOSITORY
from training.config import TrainConfig
from training.data import DataConfig, DataError, DataSet, Pictures, load_data
from training.data.named import HANZI_CLASSES
from training.network import build_unet
from training.presets import preset

FOLDER = REPOSITORY / "datasets" / "hanzi"


@pytest.fixture
def modules(monkeypatch):
    """(writing, make): the scripts of datasets/hanzi, which are no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("writing"), importlib.import_module("make")


def drawing(character: str, size: int = 120) -> Image.Image:
    """Ink of a letter of the font that Pillow carries, as Font.drawing gives it."""
    mask = ImageFont.load_default(size).getmask(character, mode="L")
    ink = Image.frombytes("L", mask.size, bytes(mask))
    return ink.crop(ink.getbbox())


def test_gb2312_is_complete_and_in_order(modules):
    characters = modules[0].gb2312()
    assert len(characters) == len(set(characters)) == 6763
    assert (characters[0], characters[3754], characters[3755], characters[-1]) == ("啊", "座", "亍", "齄")


def test_held_out_characters_are_disjoint_and_do_not_depend_on_the_order(modules):
    writing, _ = modules
    characters = writing.gb2312()[:500]
    train, test = writing.hold_out(characters, 60)
    assert len(test) == 60 and not set(train) & set(test) and set(train) | set(test) == set(characters)
    assert train == [c for c in characters if c in set(train)]
    assert set(writing.hold_out(characters[::-1], 60)[1]) == set(test)


def test_writing_is_deterministic_varied_and_dark_on_paper(modules):
    writing, _ = modules
    # wide, tall, round, and a stroke so long that it must shrink
    for ink in (drawing("M"), drawing("l"), drawing("Q"), drawing("W", 200), drawing("|", 300)):
        pictures = [writing.written(ink, f"test {number}") for number in range(40)]
        assert np.array_equal(pictures[7], writing.written(ink, "test 7"))
        assert len({picture.tobytes() for picture in pictures}) == 40
        for picture in pictures:
            assert picture.shape == (32, 32) and picture.dtype == np.uint8
            border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
            assert (border == 255).all() and picture.min() < 60
            rows, columns = np.nonzero(picture < 255)
            for places in (rows, columns):  # SHIFT, and a pixel for the turn and the pixels' own grid
                assert abs((places.min() + places.max()) / 2 - 15.5) <= writing.SHIFT[1] + 1


def test_far_from_ink_the_paper_is_exactly_white(modules):
    writing, _ = modules
    small = drawing("o", 40)
    for number in range(40):
        rows, columns = np.nonzero(writing.written(small, f"{number}") < 255)
        extent = max(small.size) / writing.FINE * writing.SIZE[1] * 1.1 + 3
        assert rows.max() - rows.min() < extent and columns.max() - columns.min() < extent


def test_a_lower_edge_is_a_thicker_brush(modules):
    writing, _ = modules
    ink = drawing("H")
    levels = []
    for edge in (0.22, 0.4, 0.56):
        levels.append(writing.written(ink, "the same hand", (edge, edge)).mean())
    assert levels[0] < levels[1] - 3 < levels[2] - 6


def test_every_place_of_a_file_is_written_once_and_fonts_take_turns(modules):
    writing, make = modules
    plan = make.Plan(["一", "二", "三"], 4)
    places = {
        (script, font): plan.places(script, font)
        for script, fonts in enumerate(writing.SCRIPTS.values())
        for font in range(len(fonts))
    }
    flat = [(place, script) for (script, _), found in places.items() for place, *_ in found]
    assert sorted(place for place, _ in flat) == list(range(len(plan))) and len(plan) == 3 * 4 * 6
    assert all(place % 6 == script for place, script in flat)
    assert {variant for *_, variant in places[0, 0]} == {0, 2} and {variant for *_, variant in places[0, 1]} == {1, 3}


def test_the_check_sees_ink_at_the_border_wrong_labels_and_repeated_pictures(modules):
    writing, make = modules
    images = np.stack([writing.written(drawing("R"), f"{number}") for number in range(12)])[..., None]
    labels = (np.arange(12) % 6).astype(np.uint8)
    make.check_pictures("train", images, labels, 12)
    make.require_different(images)
    touching = images.copy()
    touching[3, 31, 5] = 254
    with pytest.raises(writing.DataError, match="touches the border"):
        make.check_pictures("train", touching, labels, 12)
    with pytest.raises(writing.DataError, match="label i is not"):
        make.check_pictures("train", images, labels[::-1].copy(), 12)
    with pytest.raises(writing.DataError, match="not 13 pictures"):
        make.check_pictures("train", images, labels, 13)
    with pytest.raises(writing.DataError, match="1 pictures occur more than once"):
        make.require_different(np.concatenate([images, images[:1]]))


def test_a_file_has_the_same_bytes_whenever_it_is_written(modules, tmp_path):
    _, make = modules
    arrays = {"images": np.arange(2048, dtype=np.uint8).reshape(2, 32, 32, 1), "labels": np.arange(2, dtype=np.uint8)}
    make.write_npz(tmp_path / "train.npz", arrays)
    first = (tmp_path / "train.npz").read_bytes()
    make.write_npz(tmp_path / "train.npz", arrays)
    assert (tmp_path / "train.npz").read_bytes() == first and [path.name for path in tmp_path.iterdir()] == [
        "train.npz"
    ]
    assert np.array_equal(make.load(tmp_path, "train")[0], arrays["images"])


def test_missing_fonts_are_named_with_what_to_do(modules, tmp_path):
    writing, _ = modules
    with pytest.raises(writing.DataError, match=r"\*\.woff: no such files; run `npm ci`"):
        writing.common_characters(["*.woff"], tmp_path)


def test_the_lock_pins_every_font_and_names_no_registry():
    lock = (FOLDER / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock and "registry" not in lock
    wanted = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = json.loads(lock)["packages"]
    locked = {name.removeprefix("node_modules/"): found for name, found in packages.items() if name}
    assert {name: found["version"] for name, found in locked.items()} == wanted
    assert all(found["integrity"].startswith("sha512-") for found in locked.values())


def test_missing_pictures_say_how_to_make_them(monkeypatch, tmp_path):
    monkeypatch.setenv("DDPM_LAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"hanzi: train.npz and test.npz not found .*datasets/hanzi/make\.py"):
        load_data(DataConfig(data="hanzi"))


def test_made_pictures_are_loaded_with_the_names_of_their_scripts(modules, monkeypatch, tmp_path):
    writing, make = modules
    monkeypatch.setenv("DDPM_LAB_DATA", str(tmp_path))
    assert make.default_folder() == tmp_path / "hanzi"
    (tmp_path / "hanzi").mkdir()
    for split, count in (("train", 12), ("test", 6)):
        images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)
        labels = (np.arange(count) % 6).astype(np.uint8)
        make.write_npz(tmp_path / "hanzi" / f"{split}.npz", {"images": images, "labels": labels})
    data = load_data(DataConfig(data="hanzi"))
    assert data.class_names == HANZI_CLASSES == tuple(writing.SCRIPTS)
    assert (len(data.train), len(data.test), data.image_shape) == (12, 6, (32, 32, 1))
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_the_preset_needs_at_most_0_8_gflop_a_call():
    config = TrainConfig(**preset("hanzi"))
    assert not config.flip and config.class_conditional and config.loss_weighting == "simple"
    pictures = Pictures(np.zeros((6, 32, 32, 1), np.uint8), np.arange(6))
    unet = build_unet(config, DataSet("hanzi", pictures, pictures, HANZI_CLASSES)).eval()
    assert unet.config.num_class_embeds == 7
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(torch.zeros(1, 1, 32, 32), torch.tensor([5]), class_labels=torch.tensor([6]))
    assert 0.4e9 < counter.get_total_flops() <= 0.8e9
