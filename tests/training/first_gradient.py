"""Run by `accelerate launch` in test_processes: saves the first gradient and the final weights of a run."""

import sys
from pathlib import Path

import torch

from training.start import prepare
from training.train import parse


def main(target: Path, arguments: list[str]) -> None:
    config, _ = parse(arguments)
    training, _ = prepare(config)
    gradient = None
    for _ in training.steps():
        if gradient is None:
            gradient = torch.cat([p.grad.flatten() for p in training.raw_unet.parameters()]).clone()
    weights = torch.cat([p.detach().flatten() for p in training.raw_unet.parameters()])
    if training.accelerator.is_main_process:
        record = {"gradient": gradient, "weights": weights, "processes": training.accelerator.num_processes}
        torch.save(record, target)
    training.accelerator.wait_for_everyone()
    training.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
