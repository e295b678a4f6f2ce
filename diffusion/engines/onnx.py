"""A network in ONNX Runtime, on the CPU: PyTorch's answers in less time.

Chosen by measurement (benchmarks/engines.py): on two cores ONNX Runtime is faster than OpenVINO, channels-last and
torch.compile, needs no compiler where it runs, and is ready in a second. A model is checked when it is made, and cached
under the hash of what it was made from; from then on a checkpoint runs without PyTorch's weights.
"""

import atexit
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel
from safetensors import safe_open
from torch import Tensor

from diffusion.engines.base import EngineError, checked_engine
from diffusion.engines.onnx_model import MADE_BY, MODEL, write_model
from diffusion.errors import first_line

KEPT = 12  # newest models that stay in the cache
MAKING, ABANDONED = ".making-", 3600  # a model that is being made; after so many seconds its maker was killed
PLACE = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")  # name of a model's folder in the cache: see _place
PIXELS_AT_ONCE = 6 * 28 * 28  # 6 pictures: 1% slower than 8, 5 MB less; more are no faster


class OnnxEngine:
    """A network in ONNX Runtime, on the CPU, in float32, for any batch size. Thread-safe.

    model: an ONNX file. Its threads spin only within a call, so that they take no core from torch or from another
    network's threads. All networks share one memory arena for their calls.
    """

    name = "onnxruntime"
    device = torch.device("cpu")
    precision = "float32"

    def __init__(self, model: Path, threads: int):
        from onnxruntime import InferenceSession  # takes 0.2 s, so not before the first network

        self._session = InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])
        self.threads = threads

    def __call__(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        at_once = max(1, PIXELS_AT_ONCE // x_t[0, 0].numel())
        inputs = (x_t, t) if class_labels is None else (x_t, t, class_labels)
        parts = zip(*(value.split(at_once) for value in inputs), strict=True)
        return torch.cat([self._part(*part) for part in parts])

    def _part(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        (output,) = self._session.run(None, fed(x_t, t, class_labels))
        return torch.from_numpy(output).to(x_t.dtype)


def fed(x_t: Tensor, t: Tensor, class_labels: Tensor | None) -> dict[str, np.ndarray]:
    """Return the inputs of a model that `write_model` wrote, by name."""
    inputs = {"x_t": x_t.to(torch.float32), "t": t.to(torch.float32)}
    if class_labels is not None:
        inputs["class_labels"] = class_labels
    return {name: value.numpy() for name, value in inputs.items()}


def session_options(threads: int):
    """Return the options with which ONNX Runtime runs a network."""
    from onnxruntime import SessionOptions

    _share_memory()
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")  # not in the arena
    options.enable_mem_pattern = False  # with it, one block per call: 1% faster, 9 MB more
    options.log_severity_level = 3
    return options


@cache
def _share_memory() -> None:
    """Register one arena for the calls of all networks in this process, instead of one each; it grows as needed."""
    from onnxruntime import OrtAllocatorType, OrtArenaCfg, OrtMemoryInfo, OrtMemType, create_and_register_allocator

    place = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    create_and_register_allocator(place, OrtArenaCfg(0, 1, -1, -1))  # no limit; grow as requested; the rest by default


def default_cache() -> Path:
    """Return the folder for files derived from networks: DDPM_LAB_CACHE, or in the user's cache folder.

    A user without a home, as in a container, gets one that lasts as long as the process.
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(os.environ.get("DDPM_LAB_CACHE") or f"{home}/ddpm-lab/engines").expanduser()
    except RuntimeError:
        return _cache_of_this_process()


@cache
def _cache_of_this_process() -> Path:
    folder = tempfile.mkdtemp(prefix="ddpm-lab-engines-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def onnx_engine(unet: UNet2DModel, cache: Path | None = None) -> OnnxEngine:
    """Return an ONNX Runtime engine of the network's current weights, with torch's number of threads.

    unet: in float32, on the CPU. cache: folder of the models made before, by default default_cache(); if it cannot be
    read or written, making the model again costs a second. Tracing is not safe beside other work in torch: call this
    where the network runs. Raises EngineError.
    """
    if unet.device.type != "cpu" or unet.dtype != torch.float32:
        raise EngineError(f"engine: takes a float32 network on the CPU, got {unet.dtype} on {unet.device}")
    cache = default_cache() if cache is None else cache
    try:
        key = _key(unet, sorted(unet.state_dict().items()))
    except PackageNotFoundError as error:
        raise EngineError(f"engine: {error.name} is not installed") from error
    return _kept(key, cache) or _made(unet, key, cache)


def kept_engine(unet: UNet2DModel, weights: Iterable[Path], cache: Path | None = None) -> OnnxEngine | None:
    """Return the cached engine that onnx_engine would return for these weights, or None. Keeps no weight in memory.

    unet: on any device, also without weights. weights: its safetensors files.
    """
    try:
        return _kept(_key(unet, _tensors_of(weights)), default_cache() if cache is None else cache)
    except Exception:  # any error of a broken file: loading the checkpoint reports it
        return None


def _tensors_of(weights: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    """Yield names and tensors of these files, sorted by name, one in memory at a time."""
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, "pt")) for path in weights]
        file_of = {name: file for file in files for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        for name in sorted(file_of):
            yield name, file_of[name].get_tensor(name)


def _kept(key: str, cache: Path) -> OnnxEngine | None:
    """Return the engine whose model is in the cache, or None. Skips a folder whose name does not match its content."""
    try:
        folders = list(cache.glob(f"{key}-*"))
    except OSError:  # another user's home
        return None
    for folder in folders:
        try:
            if _is_ours(folder) and folder == _place(key, folder, cache):
                return OnnxEngine(folder / MODEL, torch.get_num_threads())
        except Exception:  # noqa: S112 (ImportError without the package; any error of the file system or the runtime)
            continue
    return None


def _made(unet: UNet2DModel, key: str, cache: Path) -> OnnxEngine:
    """Make the engine, check it, and cache its model if possible. Raises EngineError."""

    def checked(model: Callable[[], Path]) -> OnnxEngine:
        return checked_engine(lambda: OnnxEngine(model(), torch.get_num_threads()), unet, "ONNX Runtime")

    try:
        with _workplace(cache) as place:
            folder = Path(place) / "engine"
            folder.mkdir()
            checked(lambda: write_model(unet, folder))  # not held: some systems can't move an open file
            _keep(folder, key, cache)
            return _kept(key, cache) or checked(lambda: folder / MODEL)
    except OSError as error:
        raise EngineError(f"engine: no place to write its model: {first_line(error)}") from error


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put this folder there: a model is a program that this process runs."""
    return os.name == "nt" or folder.stat().st_uid in (os.getuid(), 0)


def _workplace(cache: Path) -> tempfile.TemporaryDirectory:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for rest in cache.glob(f"{MAKING}*"):
            with suppress(FileNotFoundError):  # its maker has just finished
                if time.time() - rest.stat().st_mtime > ABANDONED:
                    shutil.rmtree(rest, ignore_errors=True)
        return tempfile.TemporaryDirectory(dir=cache, prefix=MAKING, ignore_cleanup_errors=True)
    except OSError:
        return tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # a read-only home


def _keep(folder: Path, key: str, cache: Path) -> None:
    """Move a model into the cache, whole or not at all, and delete the oldest models beyond KEPT."""
    with suppress(OSError):  # the model is made again next time
        place = _place(key, folder, cache)
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
        models = [path for path in cache.iterdir() if PLACE.fullmatch(path.name)]
        for old in sorted(models, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _place(key: str, folder: Path, cache: Path) -> Path:
    """Return the cache path of a folder: the key, and the hash of the folder's content."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return cache / f"{key}-{digest.hexdigest()[:32]}"


def _key(unet: UNet2DModel, weights: Iterable[tuple[str, Tensor]]) -> str:
    """Return the hash of everything that decides a model and its answers: the network, what writes it, what runs it."""
    programs = {name: version(name) for name in ("torch", "diffusers", "onnx", "onnxruntime")}
    config = {name: value for name, value in sorted(unet.config.items()) if not name.startswith("_")}
    digest = hashlib.sha256(f"{config} {programs} {MADE_BY} {torch.backends.cpu.get_cpu_capability()}".encode())
    for name, value in weights:
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.contiguous().numpy())
    return digest.hexdigest()[:32]
