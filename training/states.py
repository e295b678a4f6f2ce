"""The run's folder: which training owns it, and its saved states, each complete or absent."""

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from training.config import FREE_ON_RESUME, TrainConfig

STATE_PREFIX = "step-"
# These can change too, but not bit for bit: a longer run (its learning rate follows), or other hardware. What the data
# are, their hash decides, wherever they lie
CHANGEABLE = FREE_ON_RESUME | {"data"} | {"steps", "minutes", "threads", "cpu", "compile"}


class RunError(Exception):
    """A run's folder cannot be used as asked; the text says what to do."""


def run_folder(config: TrainConfig) -> Path:
    """Return the folder of the run's states, samples and logs."""
    return Path(config.output_dir) / config.name


def checkpoint_folder(config: TrainConfig) -> Path:
    """Return the folder of the run's checkpoint."""
    return Path(config.checkpoints_dir) / config.name


def check_checkpoint(config: TrainConfig, run_id: str) -> None:
    """Refuse, before training starts, to replace another training's checkpoint without overwrite. Raises RunError."""
    target = checkpoint_folder(config)
    if not target.exists() or config.overwrite:
        return
    record = target / "training.json"
    if record.exists() and json.loads(record.read_text(encoding="utf-8")).get("run_id") == run_id:
        return
    raise RunError(f"{target} already holds a checkpoint of another training: choose another --name, or --overwrite it")


@dataclass(frozen=True)
class Run:
    """A claimed run: its id, the name of the state to resume from, if any, and the training hours of its init_from."""

    run_id: str
    state: str | None
    earlier_hours: float


def claim_run(config: TrainConfig, data_hash: str) -> Run:
    """Start or resume the run of this config; call this in the main process only.

    Everything is checked before anything is changed. Raises RunError if the folder, or the checkpoint that the run
    would write, holds another training, so that nothing is lost by mistake.
    """
    folder = run_folder(config)
    record, state = folder / "run.json", latest_state(folder)
    if record.exists() and config.resume:
        known = json.loads(record.read_text(encoding="utf-8"))
        _refuse_another_training(config, known, data_hash)
        check_checkpoint(config, known["run_id"])
        if known["config"].get("data") != config.data:  # the next export finds the pictures where they lie now
            write_json(record, known | {"config": known["config"] | {"data": config.data}})
        return Run(known["run_id"], state.name if state else None, known.get("earlier_hours", 0.0))
    if record.exists() and not config.overwrite:
        at = f" at {state.name}" if state else ""
        raise RunError(
            f"{folder} already holds a training{at}: add --resume to go on with it, --overwrite to start again, "
            "or choose another --name"
        )
    run = Run(uuid.uuid4().hex, None, _hours_of(config.init_from))
    check_checkpoint(config, run.run_id)
    if record.exists():
        remove_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {"run_id": run.run_id, "data_sha256": data_hash, "earlier_hours": run.earlier_hours}
    write_json(record, written | {"config": config.model_dump(mode="json")})
    return run


def state_folder(config: TrainConfig, run: Run) -> Path | None:
    """Return the folder of the state to resume from, if any. Raises RunError if this process cannot see it."""
    if run.state is None:
        return None
    folder = run_folder(config) / "states" / run.state
    if not folder.is_dir():
        raise RunError(f"output_dir: {folder} does not exist here; several machines need a shared folder")
    return folder


def _refuse_another_training(config: TrainConfig, known: dict, data_hash: str) -> None:
    if known["data_sha256"] != data_hash:
        raise RunError("data: the pictures are not those that the run began with, so it cannot be resumed")
    now = config.model_dump(mode="json")
    different = [
        f"--{field.replace('_', '-')} was {known['config'].get(field)!r} and is now {now[field]!r}"
        for field in now
        if field not in CHANGEABLE and known["config"].get(field) != now[field]
    ]
    if different:
        raise RunError("the run was begun with other settings, so it cannot be resumed: " + "; ".join(different))


def save_state(accelerator: Accelerator, folder: Path, step: int, keep: int) -> Path:
    """Save everything that the run needs to resume, then delete all but the newest `keep` states. Returns the folder.

    The state is written under a temporary name, flushed to disk and renamed: a kill leaves a complete state or none.
    """
    final = folder / "states" / f"{STATE_PREFIX}{step:09d}"
    if final.exists():  # a run killed after this state was saved repeats its steps, with the same result
        return final
    partial = final.with_name("." + final.name)
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for file in partial.rglob("*"):
            _flush(file)
        _flush(partial)
        partial.rename(final)
        _flush(final.parent)
        for old in _states(folder)[:-keep]:
            remove_folder(old)
    accelerator.wait_for_everyone()
    return final


def remove_folder(folder: Path) -> None:
    """Rename a folder to a hidden name, then delete it: a kill never leaves half of it under its own name."""
    rest = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(rest, ignore_errors=True)
    if folder.exists():
        folder.rename(rest)
        shutil.rmtree(rest)


def latest_state(folder: Path) -> Path | None:
    """Return the newest complete state of a run, or None."""
    states = _states(folder)
    return states[-1] if states else None


def _states(folder: Path) -> list[Path]:
    return sorted((folder / "states").glob(f"{STATE_PREFIX}*"))


def _hours_of(checkpoint: str | None) -> float:
    """Return the hours that a checkpoint was trained for, including the checkpoints it started from."""
    record = Path(checkpoint or "") / "training.json"
    if checkpoint is None or not record.is_file():
        return 0.0
    return json.loads(record.read_text(encoding="utf-8")).get("hours_with_init_from", 0.0)


def write_json(path: Path, content: dict) -> None:
    """Write indented JSON, completely or not at all."""
    partial = path.with_name("." + path.name)
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
