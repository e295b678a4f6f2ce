"""The checkpoints of a folder, their facts and their pipelines: read when first requested, then kept."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.server.malloc import give_back
from app.texts.messages import PageError
from app.ui.lazy_import import lazy_import
from diffusion.errors import FieldError
from diffusion.words import CHECKPOINT_NAME, COSINE

if TYPE_CHECKING:
    from diffusion.metrics.features import FeatureSpace
    from diffusion.pipeline import DDPMLabPipeline

checkpoints, features = lazy_import("diffusion.checkpoint"), lazy_import("diffusion.metrics.features")
pipelines = lazy_import("diffusion.pipeline")

MAX_JSON = 4_000_000
FAVOURITE = "pixel-faces"  # the page opens with it if it exists: quick, in colour, and easy to judge by eye
NAME = re.compile(CHECKPOINT_NAME)
PARTS = (
    "model_index.json", "unet", "scheduler", "reference/reference.json", "reference/features.json", "training.json",
    "samples.png",
)  # fmt: skip

logger = logging.getLogger(__name__)


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


class Catalogue:
    """The checkpoints in a folder. Thread-safe.

    A checkpoint that is added, replaced or removed while the page runs is noticed at the next call. The `keep` most
    recently used pipelines stay in memory. quicken: returns a faster pipeline; called in the background for each
    pipeline that was read and does not run on a fast engine yet. The result replaces the pipeline here; callers that
    hold the old pipeline are unaffected.
    """

    def __init__(
        self, folder: Path, keep: int = 3, quicken: Callable[[DDPMLabPipeline], DDPMLabPipeline] | None = None
    ):
        self.folder = folder
        self._keep = keep
        self._quicken = quicken
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quicken")
        self._quickening: dict[tuple, Future] = {}
        self._lock = threading.RLock()
        self._known: dict[str, tuple[tuple, Checkpoint | FieldError]] = {}
        self._pipelines: OrderedDict[tuple, DDPMLabPipeline] = OrderedDict()
        self._spaces: OrderedDict[tuple, FeatureSpace] = OrderedDict()

    def names(self) -> list[str]:
        """Return the names of the checkpoint folders that exist now, usable or not, in order."""
        try:
            folders = [path.name for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        except OSError:
            return []
        return sorted(folders)

    def checkpoint(self, name: str) -> Checkpoint:
        """Return the facts of a checkpoint. Raises FieldError (one sentence) if it is unusable or does not exist."""
        with self._lock:
            signature = self._signature(name)
            known = self._known.get(name)
            if known is None or known[0] != signature:
                known = (signature, self._look(name))
                self._known[name] = known
        if isinstance(known[1], FieldError):
            raise known[1]
        return known[1]

    def pipeline(self, name: str) -> DDPMLabPipeline:
        """Return the pipeline of a checkpoint. Raises FieldError (one sentence), as `checkpoint` does."""
        with self._lock:
            return self._load(name, self._signature(name))

    def quick_pipeline(self, name: str) -> DDPMLabPipeline:
        """Return the pipeline of a checkpoint once `quicken` has finished with it. Raises as `pipeline` does."""
        with self._lock:
            key = (name, self._signature(name))
            self._load(*key)
            quickening = self._quickening.get(key)
        if quickening is not None:
            quickening.exception()  # waits
        return self.pipeline(name)

    def feature_space(self, name: str) -> FeatureSpace | None:
        """Return the space in which distances to a checkpoint's data are measured; None if the checkpoint has none.

        Raises FieldError (one sentence) if the space cannot be read or the checkpoint cannot be used.
        """
        if not features.has_feature_space(self.checkpoint(name).folder):
            return None
        with self._lock:
            key = (name, self._signature(name))
            if key not in self._spaces:
                try:
                    self._spaces[key] = features.load_feature_space(self.folder / name)
                except FieldError as error:
                    _log(str(error))
                    raise
                _forget(self._spaces, self._keep)
            return self._spaces[key]

    def pipelines(self) -> Callable[[str], DDPMLabPipeline]:
        """Return `pipeline` with one lookup per name: for runs that belong together and can name more than are kept."""
        return cache(self.pipeline)

    def error_of(self, name: str) -> FieldError | None:
        """Return why a checkpoint cannot be used, or None if it can."""
        try:
            self.checkpoint(name)
        except FieldError as error:
            return error
        return None

    def default(self) -> str | None:
        """Return the name of the first usable checkpoint, FAVOURITE before all others.

        If none is usable, return the first one's name; None if there are no checkpoints.
        """
        names = sorted(self.names(), key=lambda name: name != FAVOURITE)
        return next((name for name in names if self.error_of(name) is None), names[0] if names else None)

    def _look(self, name: str) -> Checkpoint | FieldError:
        try:
            _check_name(name)
            sketch = pipelines.DDPMLabPipeline(*checkpoints.sketch_checkpoint(self.folder / name))
            return describe(self.folder / name, sketch)
        except FieldError as error:
            _log(str(error))
            return error

    def _load(self, name: str, signature: tuple) -> DDPMLabPipeline:
        key = (name, signature)
        if key not in self._pipelines:
            _check_name(name)
            self._pipelines[key] = pipeline = self._read(self.folder / name)
            _forget(self._pipelines, self._keep)
            if self._quicken is not None and not pipeline.is_fast:
                self._quickening[key] = self._background.submit(self._replace, key)
        self._pipelines.move_to_end(key)
        return self._pipelines[key]

    def _read(self, folder: Path) -> DDPMLabPipeline:
        kind = pipelines.DDPMLabPipeline
        kept = None if self._quicken is None else kind.from_kept_engine(folder)
        pipeline = kept or kind.from_checkpoint(folder)
        give_back()
        return pipeline

    def _replace(self, key: tuple) -> None:
        with self._lock:
            pipeline = self._pipelines.get(key)  # None if newer ones have displaced it meanwhile
        try:
            if pipeline is not None:
                quick = self._quicken(pipeline)
                with self._lock:
                    if self._pipelines.get(key) is pipeline:
                        self._pipelines[key] = quick
        except Exception:
            logger.exception("Could not build the fast engine for %s; using PyTorch", key[0])
        finally:
            del pipeline  # frees the parts that the fast pipeline does not need
            give_back()
            with self._lock:
                self._quickening.pop(key, None)

    def _signature(self, name: str) -> tuple:
        """Return a value that changes with the checkpoint's files. Raises PageError for a name not in `names()`."""
        if not isinstance(name, str) or name not in self.names():
            raise PageError("checkpoint", "unknown_checkpoint", name=str(name)[:80])
        files = []
        for part in PARTS:
            path = self.folder / name / part
            files += sorted(path.iterdir()) if path.is_dir() else [path]
        return tuple((path.name, *_stamp(path)) for path in files)


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
        data_name=data_name if isinstance(data_name, str) and data_name else folder.name,
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
        if path.stat().st_size > MAX_JSON:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _class_names(folder: Path, reference: dict, classes: int) -> tuple[str, ...]:
    if not classes:
        return ()
    data = read_json(folder / "training.json").get("data")
    for names in (reference.get("class_names"), data.get("class_names") if isinstance(data, dict) else None):
        if isinstance(names, list) and len(names) == classes and all(isinstance(name, str) and name for name in names):
            return tuple(names)
    return tuple(map(str, range(classes)))


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise PageError("checkpoint", "checkpoint_name", name=name)


@lru_cache(maxsize=1000)
def _log(problem: str) -> None:
    """Log a library's message about a file once: the page has no text for it, and checks again at every edit."""
    logger.warning("Cannot use a checkpoint: %s", problem)


def _forget(things: OrderedDict, keep: int) -> None:
    while len(things) > keep:
        things.popitem(last=False)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
