"""Does bf16 train faster than float32 on this machine? Images per second of the presets' networks, in one run.

python -m benchmarks.precision [--rounds 5] [--threads 2]

The two precisions take turns and the ratio is that of their medians, because shared machines are noisy.
"""

import argparse
import statistics
import tempfile
import time

import torch
from accelerate.state import AcceleratorState

from diffusion.console import accept_any_encoding
from training.config import TrainConfig
from training.presets import preset
from training.start import prepare
from training.summary import flops_of_one_call

PRESETS = ("pixel-faces", "fashion-mnist")
STEPS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.threads} threads, batch 32, median of {options.rounds} x {STEPS} steps")
    print("| network | parameters | GFLOP an image and call | float32 images/s | bf16 images/s | ratio |")
    print("|---|---|---|---|---|---|")
    for name in PRESETS:
        speed = {"no": [], "bf16": []}
        for _ in range(options.rounds):
            for precision, measured in speed.items():
                training = _training(name, precision, options.threads)
                measured.append(_images_per_second(training))
        plain, half = (statistics.median(measured) for measured in speed.values())
        unet = training.raw_unet
        widths = f"{tuple(unet.config.block_out_channels)} x {unet.config.layers_per_block}"
        parameters = sum(p.numel() for p in unet.parameters()) / 1e6
        print(
            f"| {name} {widths} | {parameters:.2f} M | {flops_of_one_call(unet) / 1e9:.3f} "
            f"| {plain:.0f} | {half:.0f} | {half / plain:.2f} |"
        )


def _training(name: str, precision: str, threads: int):
    AcceleratorState._reset_state(reset_partial_state=True)
    place = tempfile.mkdtemp()
    places = dict(output_dir=place, checkpoints_dir=place, trackers=())
    return prepare(TrainConfig(**preset(name) | places, cpu=True, threads=threads, mixed_precision=precision))[0]


def _images_per_second(training) -> float:
    steps = training.steps()
    next(steps)
    began = time.perf_counter()
    for _ in range(STEPS):
        next(steps)
    return STEPS * training.config.batch_size / (time.perf_counter() - began)


if __name__ == "__main__":
    accept_any_encoding()
    main()
