"""Exports a run's EMA weights as a checkpoint: a plain diffusers folder that describes itself.

`python -m training.export RUN_FOLDER` exports the last saved state of a running or stopped run.
"""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler

from diffusion.console import accept_any_encoding
from training.card import write_card
from training.config import TrainConfig
from training.data import DataError, DataSet
from training.features import WHERE_NOW, carry_over
from training.loop import Training
from training.milestones import export_milestones
from training.reporting import history
from training.safe_files import making, partial_of, put_in_place, recover, write_json
from training.snapshots import contact_sheet, sample_grid
from training.start import prepare
from training.states import Run, RunError, checkpoint_folder, known_run, run_folder

MAX_SHARD = "9MB"  # a Space accepts files up to 10 MB in git without LFS
REFERENCE_TRAIN, REFERENCE_TEST = 10_000, 2_000
REFERENCE_BYTES = 8_000_000
PROBE = 200
PACKAGES = ("torch", "diffusers", "accelerate", "safetensors", "numpy")


def export_run(training: Training, run: Run) -> Path:
    """Write the checkpoint folder of a run as it is now, then put it in place of the old one, if any. Returns its path.

    Contents: model_index.json, unet/ (EMA weights, safetensors), scheduler/, training.json, samples.png, README.md (the
    model card), reference/ (a sample of the training and test pictures with their labels, 8-bit) and the run's
    milestones/. A kill at any moment leaves a whole checkpoint, the old or the new one. Raises DiskFull.
    """
    target = checkpoint_folder(training.config)
    recover(target)
    partial = partial_of(target)
    weights = sum(p.numel() for p in training.raw_unet.parameters())
    with making(partial, target.parent, "a checkpoint", 4 * weights + 2 * REFERENCE_BYTES):
        _write_checkpoint(training, run, partial, target)
        put_in_place(target)
    return target


def _write_checkpoint(training: Training, run: Run, partial: Path, target: Path) -> None:
    """Write the folder. target: the checkpoint that it will replace, whose feature space it may keep."""
    config, data = training.config, training.data
    (partial / "reference").mkdir(parents=True)
    scheduler = DDPMScheduler(
        num_train_timesteps=config.num_train_timesteps,
        beta_schedule=config.beta_schedule,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        prediction_type=config.prediction_type,
        variance_type="fixed_small",
        clip_sample=True,
    )
    with training.ema_weights() as unet:
        DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(
            partial, safe_serialization=True, max_shard_size=MAX_SHARD
        )
        samples = sample_grid(unet, training.schedule, config.prediction_type, training.classes)
    contact_sheet(samples, scale=max(1, 64 // samples.shape[1])).save(partial / "samples.png", optimize=True)
    save_reference(data, partial / "reference")
    carry_over(target, partial, data.sha256())
    export_milestones(training, partial)
    record = training_record(training, run)
    write_json(partial / "training.json", record)
    write_card(partial, training, record)
    for file in filter(Path.is_file, partial.rglob("*")):
        file.chmod(0o644)  # safetensors makes files readable by their owner only; a server runs as another user


def save_reference(data: DataSet, folder: Path, most_bytes: int = REFERENCE_BYTES) -> None:
    """Write train.npz, test.npz and reference.json: the part of the data that the app needs.

    A file that would exceed most_bytes gets fewer pictures.
    """
    for split, pictures, count in (("train", data.train, REFERENCE_TRAIN), ("test", data.test, REFERENCE_TEST)):
        path = folder / f"{split}.npz"
        pictures.take(PROBE).save(path)  # packing everything first would take minutes for large pictures
        fitting = int(0.9 * most_bytes * min(PROBE, len(pictures)) / path.stat().st_size)
        pictures.take(min(count, fitting)).save(path)
    write_json(folder / "reference.json", {"data": data.name, "class_names": data.class_names, "license": data.license})


def training_record(training: Training, run: Run) -> dict:
    """Return the content of training.json: everything that explains how the weights were made."""
    config, progress = training.config, training.progress
    hours = progress.seconds / 3600
    return {
        "run_id": run.run_id,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": progress.step,
        "images": progress.step * config.batch_size,
        "hours": round(hours, 3),
        "hours_with_init_from": round(hours + run.earlier_hours, 3),
        "weights": "EMA",
        "ema_decay": training.ema.cur_decay_value,
        "data": {
            "name": training.data.name,
            "sha256": training.data.sha256(),
            "train": len(training.data.train),
            "test": len(training.data.test),
            "class_names": training.data.class_names,
            "license": training.data.license,
            "source": training.data.source,
        },
        "hardware": {
            "device": _device_name(training.accelerator.device),
            "processes": training.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "mixed_precision": training.accelerator.mixed_precision,
        },
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "settings": config.model_dump(mode="json", exclude={"output_dir", "checkpoints_dir", "resume", "overwrite"}),
        "history": history(run_folder(config) / "metrics.jsonl"),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {os.cpu_count()} cores)"


def main(arguments: list[str] | None = None) -> int:
    """Export the last saved state of a run. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=main.__doc__.split(".")[0] + ".")
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="such as runs/my-pictures")
    parser.add_argument("--data", help="where the pictures lie now, if not where they lay during the training")
    options = parser.parse_args(arguments)
    try:
        folder = options.run_folder
        if not (folder / "run.json").is_file() and not (folder / "states").is_dir():
            raise RunError(f"RUN_FOLDER: {folder} holds no run.json; runs are in runs/, each in a folder of its name")
        settings = known_run(folder, lambda text: print(f"warning: {text}"))["config"]
        here = {"output_dir": str(folder.parent), "name": folder.name, "resume": True, "trackers": ()}
        here |= {} if options.data is None else {"data": options.data}
        try:
            training, run = prepare(TrainConfig(**settings | here), alone=False)
        except DataError as error:
            raise DataError(f"{error}. {WHERE_NOW}") from error
        if run.state is None:
            raise RunError(f"{folder} has no saved state yet")
        print(f"exported to {export_run(training, run)}")
        return 0
    except (DataError, RunError, ValueError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main())
