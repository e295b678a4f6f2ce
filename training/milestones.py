"""Saves a few EMA networks along one training, in half precision, to show later what training time does.

Milestone k of n is saved when 2^(k - n) of the run is done: each has twice the training of the one before.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from training.loop import Training
from training.safe_files import making, sync, write_json
from training.states import run_folder

FOLDER = "milestones"
RECORD = "milestones.json"


def milestone_passed(before: float, after: float, count: int) -> int | None:
    """Return the last of `count` milestones, 1-based, that lies in (before, after] of the run, or None."""
    passed = [k for k in range(1, count + 1) if before < 2.0 ** (k - count) <= after]
    return passed[-1] if passed else None


def save_milestone(training: Training, milestone: int) -> None:
    """Save the current EMA weights in the run's folder; a run that repeats these steps replaces them."""
    if not training.accelerator.is_main_process:
        return
    config, progress = training.config, training.progress
    folder = run_folder(config) / FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / f"ema-{milestone}-of-{config.milestones}.safetensors"
    with training.ema_weights() as unet:
        weights = {name: weight.to(torch.float16).contiguous() for name, weight in unet.state_dict().items()}
    partial = file.with_name("." + file.name)
    with making(None, folder, "a milestone", 2 * sum(weight.numel() for weight in weights.values())):
        save_file(weights, partial)
        sync(partial)
        partial.replace(file)
    record = folder / RECORD
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    known[file.name] = {
        "step": progress.step,
        "images": progress.step * config.batch_size,
        "hours": round(progress.seconds / 3600, 4),
        "ema_decay": training.ema.cur_decay_value,
    }
    write_json(record, dict(sorted(known.items())))


def export_milestones(training: Training, target: Path) -> None:
    """Copy the run's milestones, if any, into a checkpoint folder; the config in its unet/ fits them."""
    source = run_folder(training.config) / FOLDER
    if (source / RECORD).exists():
        shutil.copytree(source, target / FOLDER, ignore=shutil.ignore_patterns(".*"))
