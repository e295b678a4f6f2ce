"""Checks of the toy option of test_toy_option.py; that test runs this file in a copy of the program with the option."""

import json

import numpy as np
import pytest
from PIL import Image

import training
from diffusion.errors import FieldError
from tests.training.tiny import REPOSITORY, command, tiny_config
from training.config import TrainConfig
from training.data import DataConfig, load_data
from training.features import data_of
from training.train import main


@pytest.fixture(autouse=True)
def is_the_copy():
    assert training.__path__[0] == str(REPOSITORY / "training")


@pytest.fixture
def pictures(tmp_path):
    """Forty pictures of 20 pixels and twenty of 10."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        side = 10 if number % 3 == 0 else 20
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def count(data) -> int:
    return len(data.train) + len(data.test)


def test_it_reaches_the_place_that_uses_it(pictures):
    assert count(load_data(DataConfig(data=str(pictures)))) == 60
    assert count(load_data(DataConfig(data=str(pictures), least_side=11))) == 40
    assert count(load_data(TrainConfig(data=str(pictures), least_side=11, minutes=1))) == 40


def test_its_range_is_kept():
    with pytest.raises(FieldError, match=r"^least_side: "):
        DataConfig(least_side=300)


def train(config, *flags: str) -> int:
    return main([*command(config)[3:], *flags])


def test_the_command_line_has_it_and_the_run_keeps_it(pictures, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "--least-side" in shown and "Leave out pictures with a shorter side." in " ".join(shown.split())

    config = tiny_config(tmp_path, data=str(pictures), steps=2, least_side=5)
    assert train(config) == 0
    record = json.loads((tmp_path / "runs" / "tiny" / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["least_side"] == 5

    assert train(config.model_copy(update={"least_side": 0}), "--resume") == 1
    assert "--least-side was 5 and is now 0" in capsys.readouterr().err


def test_what_reads_the_checkpoint_later_reads_the_same_pictures(pictures, tmp_path):
    config = tiny_config(tmp_path, data=str(pictures), steps=2, least_side=11)
    assert train(config) == 0
    assert count(data_of(tmp_path / "checkpoints" / "tiny")) == 40
