"""EMA networks saved along one training."""

import json

import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file

from tests.training.tiny import tiny_config
from training.milestones import milestone_passed
from training.states import checkpoint_folder, run_folder
from training.train import train


@pytest.mark.parametrize("steps, count", [(1000, 5), (16, 5), (7, 3), (3, 5)])
def test_each_milestone_has_twice_the_training_of_the_one_before(steps, count):
    passed = {}
    for step in range(1, steps + 1):
        if milestone := milestone_passed((step - 1) / steps, step / steps, count):
            passed[milestone] = step / steps
    assert passed[count] == 1
    assert all(0 <= fraction - 2.0 ** (k - count) < 1 / steps for k, fraction in passed.items())
    assert set(passed) == set(range(1, count + 1)) or steps < 2 ** (count - 1)


def test_no_milestones_unless_asked_for(tmp_path):
    assert milestone_passed(0, 1, 0) is None
    config = tiny_config(tmp_path)
    assert train(config) == 0
    assert not (checkpoint_folder(config) / "milestones").exists()


def test_milestones_are_the_ema_weights_in_half_precision_and_travel_with_the_checkpoint(tmp_path):
    config = tiny_config(tmp_path, milestones=3)
    assert train(config) == 0
    folder = checkpoint_folder(config)
    record = json.loads((folder / "milestones" / "milestones.json").read_text(encoding="utf-8"))
    assert [entry["step"] for entry in record.values()] == [5, 10, 20]
    assert [entry["images"] for entry in record.values()] == [80, 160, 320]
    exported = UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True).state_dict()
    last = load_file(folder / "milestones" / "ema-3-of-3.safetensors")
    assert last.keys() == exported.keys()
    assert all(torch.equal(last[name], weight.half()) for name, weight in exported.items())
    first = load_file(folder / "milestones" / "ema-1-of-3.safetensors")
    assert any(not torch.equal(first[name], last[name]) for name in last)


def test_a_resumed_run_keeps_one_network_for_each_milestone(tmp_path):
    assert train(tiny_config(tmp_path, milestones=2)) == 0
    longer = tiny_config(tmp_path, milestones=2, steps=40, resume=True)
    assert train(longer) == 0
    folder = run_folder(longer) / "milestones"
    record = json.loads((folder / "milestones.json").read_text(encoding="utf-8"))
    assert {file.name for file in folder.glob("*.safetensors")} == set(record)
    assert [entry["step"] for entry in record.values()] == [10, 40]
