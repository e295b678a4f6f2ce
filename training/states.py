"""The run's folder: which training owns it, and its saved states, each complete or absent."""

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from filelock import FileLock, Timeout

from diffusion.errors import printable
from training.config import FREE_ON_RESUME, TrainConfig
from training.safe_files import (
    damaged_files,
    making,
    partial_of,
    put_in_place,
    recover,
    remove_folder,
    write_checksums,
    write_json,
)

STATE_PREFIX = "step-"
RECORD = "run.json"
BYTES_OF_A_PARAMETER = 16  # in a state: the weight, two moments of AdamW, and the EMA, in 32 bits each
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
    if (_read(target / "training.json") or {}).get("run_id") == run_id:
        return
    raise RunError(f"{target} already holds a checkpoint of another training: choose another --name, or --overwrite it")


@dataclass(frozen=True)
class Run:
    """A claimed run: its id, the name of the state to resume from, if any, and the training hours of its init_from."""

    run_id: str
    state: str | None
    earlier_hours: float


def claim_run(config: TrainConfig, data_hash: str, say: Callable[[str], None] = print, alone: bool = True) -> Run:
    """Start or resume the run of this config; call this in the main process only.

    Everything is checked before anything is changed. A damaged state is put aside and the newest whole one taken, a
    damaged run.json is restored from it; `say` gets a sentence of each. alone: keep the run for this process; False to
    export a run that may be going on, of which nothing is changed. Raises RunError if the folder, or the checkpoint
    that the run would write, holds another training, or another process is training it, so that nothing is lost.
    """
    folder = run_folder(config)
    if alone:
        _keep_others_out(folder)
    record = folder / RECORD
    exists = record.exists() or bool(_states(folder))
    if exists and config.resume:
        whole, damaged = _whole_and_damaged(folder)
        known = known_run(folder, say)
        _refuse_another_training(config, known, data_hash)
        check_checkpoint(config, known["run_id"])
        if damaged and not whole:
            raise RunError(
                f"{folder}: no saved state is whole ({'; '.join(map(_told, damaged))}); start with --overwrite"
            )
        for state, files in damaged:
            aside = "it is put aside, and the run goes on from" if alone else "what is exported is"
            say(f"{_told((state, files))}: {aside} {whole[-1].name}")
        if alone:
            _tidy(config)
            for state, _ in damaged:  # or the run would take its place in the order of steps for saved
                remove_folder(aside := state.with_name(f"damaged-{state.name}"))
                state.rename(aside)
            if known["config"].get("data") != config.data:  # the next export finds the pictures where they lie now
                known = known | {"config": known["config"] | {"data": config.data}}
            if known != _read(record):
                write_json(record, known)
        return Run(known["run_id"], whole[-1].name if whole else None, known.get("earlier_hours", 0.0))
    if exists and not config.overwrite:
        state = latest_state(folder)
        at = f" at {state.name}" if state else ""
        raise RunError(
            f"{folder} already holds a training{at}: add --resume to go on with it, --overwrite to start again, "
            "or choose another --name"
        )
    run = Run(uuid.uuid4().hex, None, _hours_of(config.init_from))
    check_checkpoint(config, run.run_id)
    _tidy(config)
    if exists:
        remove_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {"run_id": run.run_id, "data_sha256": data_hash, "earlier_hours": run.earlier_hours}
    write_json(record, written | {"config": config.model_dump(mode="json")})
    return run


_kept: dict[Path, FileLock] = {}  # by the runs that this process trains, until it ends


def _keep_others_out(folder: Path) -> None:
    """Lock a run's folder for this process. Raises RunError if another process has it."""
    folder = folder.resolve()
    if folder in _kept:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"{folder}: another process is training this run now; choose another --name or --output-dir"
        ) from None
    except NotImplementedError:  # a disk without locks: two trainings of one run are the user's to avoid
        return
    _kept[folder] = lock


def release_run(config: TrainConfig) -> None:
    """Let other processes train the run of this config, if this process has kept it."""
    lock = _kept.pop(run_folder(config).resolve(), None)
    if lock is not None:
        lock.release()


def _tidy(config: TrainConfig) -> None:
    """Delete what a killed save or export has left, and finish a replacement of the checkpoint."""
    recover(checkpoint_folder(config))
    for rest in (run_folder(config) / "states").glob(f".{STATE_PREFIX}*"):
        shutil.rmtree(rest, ignore_errors=True)


def _whole_and_damaged(folder: Path) -> tuple[list[Path], list[tuple[Path, list[str]]]]:
    """Return the whole states, oldest first, and those newer than all of them that are damaged, with their files."""
    states, damaged = _states(folder), []
    while states and (files := damaged_files(states[-1])):
        damaged.append((states.pop(), files))
    return states, damaged


def _told(state: tuple[Path, list[str]]) -> str:
    return f"{state[0].name} is damaged ({', '.join(map(printable, state[1]))})"


def known_run(folder: Path, say: Callable[[str], None]) -> dict:
    """Return the content of run.json, or if it is damaged, its copy in the newest whole state. Raises RunError."""
    if known := _record_in(folder):
        return known
    whole, _ = _whole_and_damaged(folder)  # reads every byte of the newest, so only if it must be
    for state in reversed(whole):
        if known := _record_in(state):
            say(f"{folder / RECORD} is damaged: it is restored from {state.name}")
            return known
    raise RunError(f"{folder / RECORD} is damaged, and no saved state has a copy of it; start again with --overwrite")


def _record_in(folder: Path) -> dict | None:
    """Return the content of a folder's run.json; None if it is missing or damaged."""
    known = _read(folder / RECORD)
    usable = known is not None and {"run_id", "data_sha256"} <= set(known) and isinstance(known.get("config"), dict)
    return known if usable else None


def _read(path: Path) -> dict | None:
    """Return a JSON object, or None if the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


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
    # An option that is newer than the run had its default
    then = TrainConfig(steps=1).model_dump(mode="json") | known["config"]
    different = [
        f"--{field.replace('_', '-')} was {then[field]!r} and is now {now[field]!r}"
        for field in now
        if field not in CHANGEABLE and then[field] != now[field]
    ]
    if different:
        raise RunError("the run was begun with other settings, so it cannot be resumed: " + "; ".join(different))


def save_state(accelerator: Accelerator, folder: Path, step: int, keep: int) -> Path:
    """Save everything that the run needs to resume, then delete all but the newest `keep` states. Returns the folder.

    The state is written under a temporary name, with its checksums and a copy of run.json, flushed to disk and renamed:
    a kill leaves a complete state or none. Raises DiskFull.
    """
    final = folder / "states" / f"{STATE_PREFIX}{step:09d}"
    if final.exists():  # a run killed after this state was saved repeats its steps, with the same result
        return final
    partial = partial_of(final)
    with making(partial, folder, "a state", _bytes_of(accelerator)):
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            shutil.copyfile(folder / RECORD, partial / RECORD)
            write_checksums(partial)
            put_in_place(final)
    if accelerator.is_main_process:
        for old in _states(folder)[:-keep]:
            remove_folder(old)
    accelerator.wait_for_everyone()
    return final


def _bytes_of(accelerator: Accelerator) -> int:
    models = accelerator._models  # Accelerate has no public list of what it was given
    return BYTES_OF_A_PARAMETER * sum(p.numel() for model in models for p in model.parameters())


def latest_state(folder: Path) -> Path | None:
    """Return the newest complete state of a run, or None."""
    states = _states(folder)
    return states[-1] if states else None


def _states(folder: Path) -> list[Path]:
    return sorted((folder / "states").glob(f"{STATE_PREFIX}*"))


def _hours_of(checkpoint: str | None) -> float:
    """Return the hours that a checkpoint was trained for, including the checkpoints it started from."""
    record = None if checkpoint is None else _read(Path(checkpoint) / "training.json")
    return (record or {}).get("hours_with_init_from", 0.0)
