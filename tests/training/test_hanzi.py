"""The hanzi data set: what is said where it is missing, what is read where it is there, what its network costs."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from training.config import TrainConfig
from training.data import DataError, DataSet, Pictures
from training.data.named import HANZI_CLASSES, load_hanzi
from training.network import build_unet
from training.presets import PRESETS


def test_where_it_is_missing_the_command_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"train\.npz and test\.npz not found.*make\.py"):
        load_hanzi()


def test_what_make_writes_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_DATA", str(tmp_path))
    (tmp_path / "hanzi").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), dtype=np.uint8)
    for split in ("train", "test"):
        np.savez_compressed(tmp_path / "hanzi" / f"{split}.npz", images=pixels, labels=np.arange(12) % 6)
    data = load_hanzi()
    assert data.class_names == HANZI_CLASSES and len(HANZI_CLASSES) == 6
    assert np.array_equal(data.train.images, pixels)


def test_its_network_stays_within_the_budget():
    """At most 0.8 GFLOP a call of one picture; a multiplication and an addition are two."""
    blank = Pictures(np.full((6, 32, 32, 1), 255, np.uint8), np.arange(6))
    data = DataSet("hanzi", blank, blank, class_names=HANZI_CLASSES, license="MIT", source="blank paper")
    network = build_unet(TrainConfig(**PRESETS["hanzi"]), data).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 32, 32), torch.tensor([5]), class_labels=torch.tensor([0]))
    assert 0.2e9 < counter.get_total_flops() <= 0.8e9
