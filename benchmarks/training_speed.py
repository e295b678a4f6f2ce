"""How fast does training compute? Images/s beside diffusers' example loop, and the share of the machine's sgemm rate.

python -m benchmarks.training_speed [--rounds 3] [--steps 4] [--data pixel-faces]

Our loop with its preset's batch and diffusers' train_unconditional.py, reimplemented with its batch of 16, take turns
on the same U-Net and pictures, without classes. A training step of a picture counts as three network calls: one
forward, two backward.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import islice

import torch

from benchmarks.sampling import SIDE
from benchmarks.table import Row, in_turns, print_rows
from benchmarks.training import THEIRS, batch_size, endless_steps
from diffusion.console import accept_any_encoding
from training.config import TrainConfig
from training.data import DataConfig, load_data
from training.network import build_unet
from training.presets import PRESETS
from training.summary import flops_of_one_call

DATA = "pixel-faces"  # in the repository, so that everyone can run this


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--data", default=DATA)
    print_rows(rows(**vars(parser.parse_args())))


def rows(rounds: int = 3, steps: int = 4, data: str = DATA) -> Iterator[Row]:
    """Yield images/s of both, and ours as a share of sgemm."""
    trainings = {name: endless_steps(name, data) for name in ("ours", THEIRS)}
    speeds = {name: [] for name in trainings}
    for training in trainings.values():
        next(training)
    for _ in range(rounds):
        for name, training in trainings.items():
            began = time.perf_counter()
            for _ in islice(training, steps):
                pass
            speeds[name].append(steps * batch_size(name, data) / (time.perf_counter() - began))
    ours, theirs = (statistics.median(speeds[name]) for name in trainings)
    yield Row(
        f"training on {data}: images/s against diffusers' example loop",
        f"{ours:.0f} : {theirs:.0f} = {ours / theirs:.2f}",
    )
    unet = build_unet(
        TrainConfig(**PRESETS[data] | {"class_conditional": False, "steps": 1}), load_data(DataConfig(data=data))
    )
    a, b = torch.randn(2, SIDE, SIDE)
    sgemm = 5 * 2 * SIDE**3 / in_turns({"sgemm": lambda: [a @ b for _ in range(5)]}, rounds)["sgemm"]
    share = 3 * flops_of_one_call(unet) * ours / sgemm
    yield Row(f"training on {data}: share of sgemm's {sgemm / 1e9:.0f} GFLOP/s", f"{share:.0%}")


if __name__ == "__main__":
    accept_any_encoding()
    main()
