"""The run's folder: who made it, and its saved states, each whole or absent."""

import json
import os
import shutil
import uuid
from pathlib import Path

from accelerate import Accelerator

from training.config import FREE_ON_RESUME, TrainConfig

STATE_PREFIX = "step-"
# What may differ too, though not bit for bit: a run made longer (its learning rate follows) or moved to other hardware
CHANGEABLE = FREE_ON_RESUME | {"steps", "minutes", "threads", "cpu", "compile"}


class RunError(Exception):
    """A run's folder that cannot be used as asked; the text says what to do."""


def run_folder(config: TrainConfig) -> Path:
    """Where the run keeps its states, samples and logs."""
    return Path(config.output_dir) / config.name


def checkpoint_folder(config: TrainConfig) -> Path:
    """Where the run's checkpoint goes."""
    return Path(config.checkpoints_dir) / config.name


def check_checkpoint(config: TrainConfig, run_id: str) -> None:
    """Refuse, before any hour is spent, to replace a checkpoint that another training made. Raises RunError."""
    target = checkpoint_folder(config)
    if not target.exists() or config.overwrite:
        return
    record = target / "training.json"
    if record.exists() and json.loads(record.read_text(encoding="utf-8")).get("run_id") == run_id:
        return
    raise RunError(f"{target} already holds a checkpoint of another training: choose another --name, or --overwrite it")


def open_run(config: TrainConfig, data_hash: str) -> tuple[str, Path | None]:
    """Start or continue the run of this config: its id, and the state to go on from (None at the start).

    Raises RunError where the folder holds another training, so that nothing is lost by a slip.
    """
    folder = run_folder(config)
    record = folder / "run.json"
    state = latest_state(folder)
    if record.exists() and config.resume:
        known = json.loads(record.read_text())
        _refuse_another_training(config, known, data_hash)
        return known["run_id"], state
    if record.exists() and not config.overwrite:
        at = f" at {state.name}" if state else ""
        raise RunError(
            f"{folder} already holds a training{at}: add --resume to go on with it, --overwrite to start again, "
            "or choose another --name"
        )
    if record.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run_id = uuid.uuid4().hex
    write_json(record, {"run_id": run_id, "data_sha256": data_hash, "config": config.model_dump(mode="json")})
    return run_id, None


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
    """Save everything that the run needs to go on, then drop all but the newest `keep` states.

    Written beside its place, flushed to the disk and renamed: a kill at any moment leaves a whole state or none.
    """
    final = folder / "states" / f"{STATE_PREFIX}{step:09d}"
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
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _flush(final.parent)
        for old in _states(folder)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()
    return final


def latest_state(folder: Path) -> Path | None:
    """The newest whole state of a run."""
    states = _states(folder)
    return states[-1] if states else None


def _states(folder: Path) -> list[Path]:
    return sorted((folder / "states").glob(f"{STATE_PREFIX}*"))


def write_json(path: Path, content: dict) -> None:
    """Write readable JSON, whole or not at all."""
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
