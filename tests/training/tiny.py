"""The smallest real training: real pictures, a real U-Net, steps of a few milliseconds."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from training.config import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = dict(
    data="fashion-mnist",
    image_size=16,
    block_out_channels=(8, 16),
    norm_num_groups=4,
    attention_head_dim=8,
    batch_size=16,
    learning_rate=1e-3,
    warmup_steps=5,
    steps=20,
    threads=1,
    trackers=(),
    cpu=True,
)


def tiny_config(folder: Path, **fields) -> TrainConfig:
    """A config for tests whose run and checkpoint lie below `folder`."""
    places = dict(name="tiny", output_dir=str(folder / "runs"), checkpoints_dir=str(folder / "checkpoints"))
    return TrainConfig(**TINY | places | fields)


def command(config: TrainConfig, *launcher: str) -> list[str]:
    """The command line of a config: every field that differs from its default as a flag."""
    arguments = []
    for name, value in config.model_dump().items():
        flag = "--" + name.replace("_", "-")
        if value == TrainConfig.model_fields[name].default:
            continue
        if isinstance(value, bool):
            arguments.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            arguments += [flag, *map(str, value)]
        else:
            arguments += [flag, str(value)]
    return [sys.executable, *(launcher or ("-m", "training.train")), *arguments]


def run(arguments: list[str], **options) -> subprocess.CompletedProcess:
    """Run a command in the repository; its output is in the result."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, **options
    )


def state_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The network's raw weights in a saved state."""
    return load_file(folder / "model.safetensors")


def same_tensors(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
