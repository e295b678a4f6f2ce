"""The checkpoints of a folder and their pipelines: read when first requested, then kept."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from app.server.checkpoint_facts import Checkpoint, describe
from app.server.keyed_locks import KeyedLocks
from app.server.malloc import give_back
from app.texts.messages import PageError
from app.ui.lazy_import import lazy_import
from diffusion.errors import CheckpointError, FieldError
from diffusion.words import CHECKPOINT_NAME

if TYPE_CHECKING:
    from diffusion.metrics.features import FeatureSpace
    from diffusion.pipeline import DDPMLabPipeline

checkpoints, features = lazy_import("diffusion.checkpoint"), lazy_import("diffusion.metrics.features")
pipelines = lazy_import("diffusion.pipeline")

MAX_FILES = 1000  # of a folder of weights; more are not looked at
FAVOURITE = "pixel-faces"  # the page opens with it if it exists: quick, in colour, and easy to judge by eye
NAME = re.compile(CHECKPOINT_NAME)
PARTS = (
    "model_index.json", "config.json", "scheduler_config.json", "unet", "scheduler", "reference/reference.json",
    "reference/features.json", "training.json", "samples.png",
)  # fmt: skip
FLAT_WEIGHTS = "diffusion_pytorch_model*.safetensors"  # beside config.json

logger = logging.getLogger(__name__)


class Catalogue:
    """The checkpoints in a folder. Thread-safe; while one folder is read, the others answer.

    Whatever reading a folder raises is the refusal of that folder. A checkpoint that is added, replaced or removed
    while the page runs is noticed at the next call. The `keep` most recently used pipelines stay in memory. quicken:
    returns a faster pipeline; called in the background for each pipeline that was read and does not run on a fast
    engine yet. The result replaces the pipeline here; callers that hold the old pipeline are unaffected.
    """

    def __init__(
        self, folder: Path, keep: int = 3, quicken: Callable[[DDPMLabPipeline], DDPMLabPipeline] | None = None
    ):
        self.folder = folder
        self._keep = keep
        self._quicken = quicken
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quicken")
        self._quickening: dict[tuple, Future] = {}
        self._lock = threading.RLock()  # of the dictionaries; not held while a folder is read
        self._reading = KeyedLocks()
        self._known: dict[str, tuple[tuple, Checkpoint | FieldError]] = {}
        self._pipelines: OrderedDict[tuple, DDPMLabPipeline] = OrderedDict()
        self._spaces: OrderedDict[tuple, FeatureSpace] = OrderedDict()

    def names(self) -> list[str]:
        """Return the names of the checkpoint folders that exist now, usable or not, in order."""
        return sorted(self._folders())

    def _folders(self) -> dict[str, Path]:
        """Return the folders by the name that the page has for them: a name that is no text has escapes in it."""
        try:
            paths = [path for path in self.folder.iterdir() if not path.name.startswith(".") and path.is_dir()]
        except OSError:
            return {}
        return {os.fsencode(path.name).decode("utf-8", "backslashreplace"): path for path in paths}

    def checkpoint(self, name: str) -> Checkpoint:
        """Return the facts of a checkpoint. Raises FieldError (one sentence) if it is unusable or does not exist."""
        signature = self._signature(name)
        found = self._found(name, signature)
        if found is None:
            with self._reading.of(name):
                found = self._found(name, signature)
                if found is None:
                    found = self._look(name)
                    with self._lock:
                        self._known[name] = signature, found
                        for gone in self._known.keys() - self._folders().keys():
                            del self._known[gone]
        if isinstance(found, FieldError):
            raise found.fresh()
        return found

    def _found(self, name: str, signature: tuple) -> Checkpoint | FieldError | None:
        with self._lock:
            known = self._known.get(name)
            return known[1] if known is not None and known[0] == signature else None

    def pipeline(self, name: str) -> DDPMLabPipeline:
        """Return the pipeline of a checkpoint. Raises FieldError (one sentence), as `checkpoint` does."""
        return self._load(name, self._signature(name))

    def quick_pipeline(self, name: str) -> DDPMLabPipeline:
        """Return the pipeline of a checkpoint once `quicken` has finished with it. Raises as `pipeline` does."""
        key = (name, self._signature(name))
        self._load(*key)
        with self._lock:
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
        key = (name, self._signature(name))
        with self._reading.of(("space", name)):
            with self._lock:
                space = self._spaces.get(key)
            if space is None:
                try:
                    space = features.load_feature_space(self.folder / name)
                except FieldError as error:
                    _log(str(error))
                    raise
                with self._lock:
                    self._spaces[key] = space
                    _forget(self._spaces, self._keep)
            return space

    def pipelines(self) -> Callable[[str], DDPMLabPipeline]:
        """Return `pipeline` with one lookup per name: for runs that belong together and can name more than are kept."""
        return cache(self.pipeline)

    def error_of(self, name: str) -> FieldError | None:
        """Return why a checkpoint cannot be used, or None if it can."""
        try:
            self.checkpoint(name)
        except FieldError as error:
            return error.fresh()
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
            found = error.fresh()
        except Exception as error:
            logger.debug("Could not read a folder", exc_info=True)
            found = CheckpointError.unreadable(name, error)
        _log(str(found))
        return found

    def _load(self, name: str, signature: tuple) -> DDPMLabPipeline:
        key = (name, signature)
        with self._reading.of(("pipeline", name)):
            with self._lock:
                pipeline = self._pipelines.get(key)
            if pipeline is None:
                _check_name(name)
                pipeline = self._read(self.folder / name)
            with self._lock:
                if key not in self._pipelines:
                    self._pipelines[key] = pipeline
                    _forget(self._pipelines, self._keep)
                    if self._quicken is not None and not pipeline.is_fast:
                        self._quickening[key] = self._background.submit(self._replace, key)
                self._pipelines.move_to_end(key)
                return self._pipelines[key]

    def _read(self, folder: Path) -> DDPMLabPipeline:
        kind = pipelines.DDPMLabPipeline
        try:
            kept = None if self._quicken is None else kind.from_kept_engine(folder)
            return kept or kind.from_checkpoint(folder)
        except FieldError:
            raise
        except Exception as error:
            logger.debug("Could not read a folder", exc_info=True)
            raise CheckpointError.unreadable(folder.name, error) from None
        finally:
            give_back()

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
        folder = self._folders().get(name) if isinstance(name, str) else None
        if folder is None:
            raise PageError("checkpoint", "unknown_checkpoint", name=str(name)[:80])
        files = []
        for part in PARTS:
            path = folder / part
            try:
                files += sorted(islice(path.iterdir(), MAX_FILES)) if path.is_dir() else [path]
            except OSError:  # a folder that cannot be listed; reading it says why
                files.append(path)
        if (folder / "config.json").is_file():
            files += sorted(islice(folder.glob(FLAT_WEIGHTS), MAX_FILES))
        return tuple((path.name, *_stamp(path)) for path in files)


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
