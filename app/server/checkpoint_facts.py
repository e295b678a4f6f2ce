"""What the page needs to know of a checkpoint, from its pipeline and the JSON files beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.ui.lazy_import import lazy_import
from diffusion.regular_files import read_regular
from diffusion.words import COSINE

if TYPE_CHECKING:
    from diffusion.pipeline import DDPMLabPipeline

checkpoints = lazy_import("diffusion.checkpoint")

MAX_JSON = 4_000_000


@dataclass(frozen=True)
class Checkpoint:
    """The facts that the page needs about a usable checkpoint.

    class_names: one per class, empty for a network without labels. beta_schedule, beta_start, beta_end: as trained;
    None where the training has no such value (betas listed one by one; cosine has no range). image_shape: (C, H, W).
    sha256: see checkpoint_sha256.
    """

    name: str
    folder: Path
    sha256: str
    data_name: str
    class_names: tuple[str, ...]
    num_train_timesteps: int
    beta_schedule: str | None
    beta_start: float | None
    beta_end: float | None
    image_shape: tuple[int, int, int]

    @property
    def classes(self) -> int:
        return len(self.class_names)


def describe(folder: Path, pipeline: DDPMLabPipeline) -> Checkpoint:
    """Return the facts of a checkpoint, from its pipeline (with or without weights) and the JSON files beside it.

    Values in the JSON files that do not fit are ignored.
    """
    config = pipeline.scheduler.config
    schedule = None if config.get("trained_betas") is not None else config["beta_schedule"]
    has_range = schedule not in (None, COSINE)
    reference = read_json(folder / "reference" / "reference.json")
    data_name = reference.get("data")
    return Checkpoint(
        name=folder.name,
        folder=folder,
        sha256=checkpoints.checkpoint_sha256(folder),
        data_name=data_name if _is_text(data_name) else folder.name,
        class_names=_class_names(folder, reference, pipeline.classes),
        num_train_timesteps=pipeline.num_train_timesteps,
        beta_schedule=schedule,
        beta_start=config["beta_start"] if has_range else None,
        beta_end=config["beta_end"] if has_range else None,
        image_shape=pipeline.image_shape,
    )


def read_json(path: Path) -> dict:
    """Return the JSON object in a file; {} if the file is missing, unreadable, no object or over MAX_JSON bytes."""
    try:
        content = json.loads(read_regular(path, MAX_JSON).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _class_names(folder: Path, reference: dict, classes: int) -> tuple[str, ...]:
    if not classes:
        return ()
    data = read_json(folder / "training.json").get("data")
    for names in (reference.get("class_names"), data.get("class_names") if isinstance(data, dict) else None):
        if isinstance(names, list) and len(names) == classes and all(map(_is_text, names)):
            return tuple(names)
    return tuple(map(str, range(classes)))


def _is_text(name) -> bool:
    """Whether a name is one that can be shown: not empty, and without halves of characters."""
    return isinstance(name, str) and bool(name) and name == name.encode("utf-8", "ignore").decode()
