"""A network in ONNX Runtime, on the CPU: PyTorch's answers in less time.

Chosen by measuring (benchmarks/engines.py): on two cores ONNX Runtime is faster than OpenVINO, channels-last and
torch.compile, needs no compiler where it runs, and is ready in a second. Its models are checked when they are made, and
kept in a cache by the hash of what they were made from: from then on a checkpoint runs without PyTorch's weights.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers import UNet2DModel
from safetensors import safe_open
from torch import Tensor

from diffusion.engines.base import EngineError, checked_engine, first_line
from diffusion.engines.onnx_model import MADE_BY, MODEL, write_model

KEPT = 12  # models in the cache: the ones made last
PLACE = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")  # a model's folder in it: see _place
PIXELS_AT_ONCE = 6 * 28 * 28  # 1% slower than 8 in 5 MB less; more are no faster


class OnnxEngine:
    """A network in ONNX Runtime, on the CPU, in float32, for any batch size. Safe to use from many threads.

    model: a file in ONNX. Its threads spin only within a call, so that neither torch nor another network's threads lose
    a core to them; and what a call needs lies in one place for all networks.
    """

    name = "onnxruntime"
    device = torch.device("cpu")
    precision = "float32"

    def __init__(self, model: Path, threads: int):
        from onnxruntime import InferenceSession  # 0.2 s that nobody needs before the first network

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
    """What goes into a model of `write_model`."""
    inputs = {"x_t": x_t.to(torch.float32), "t": t.to(torch.float32)}
    if class_labels is not None:
        inputs["class_labels"] = class_labels
    return {name: value.numpy() for name, value in inputs.items()}


def session_options(threads: int):
    """How ONNX Runtime runs a network."""
    from onnxruntime import SessionOptions

    _share_memory()
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")  # not in the arena
    options.enable_mem_pattern = False  # with it, one block a call: 1% faster, 9 MB more
    options.log_severity_level = 3
    return options


@cache
def _share_memory() -> None:
    """One arena for what the networks of this process compute, in place of one each; it grows by what is missing."""
    from onnxruntime import OrtAllocatorType, OrtArenaCfg, OrtMemoryInfo, OrtMemType, create_and_register_allocator

    place = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    create_and_register_allocator(place, OrtArenaCfg(0, 1, -1, -1))  # no limit; as requested; the rest as it is


def default_cache() -> Path:
    """The folder for what is derived from networks: DDPM_LAB_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("DDPM_LAB_CACHE") or f"{home}/ddpm-lab/engines").expanduser()


def onnx_engine(unet: UNet2DModel, cache: Path | None = None) -> OnnxEngine:
    """The network as it is now, in ONNX Runtime, with torch's number of threads.

    unet: in float32, on the CPU. cache: folder of the models that were made before, by default default_cache(); one
    that can't be read or written only costs the second that making takes. Tracing is not safe beside other work in
    torch: call it where the network runs. Raises EngineError.
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
    """What onnx_engine would answer for these weights, where it was asked before; else None. No weight is kept.

    unet: anywhere, without weights too. weights: its safetensors files.
    """
    try:
        return _kept(_key(unet, _tensors_of(weights)), default_cache() if cache is None else cache)
    except Exception:  # whatever a broken file raises: who reads the checkpoint finds it too, and says it
        return None


def _tensors_of(weights: Iterable[Path]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of these files, sorted by name, one in memory at a time."""
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(path, "pt")) for path in weights]
        file_of = {name: file for file in files for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        for name in sorted(file_of):
            yield name, file_of[name].get_tensor(name)


def _kept(key: str, cache: Path) -> OnnxEngine | None:
    """The engine whose model lies in the cache. A folder whose name does not hold its content's hash is passed over."""
    try:
        folders = list(cache.glob(f"{key}-*"))
    except OSError:  # somebody else's home
        return None
    for folder in folders:
        try:
            if folder == _place(key, folder, cache):
                return OnnxEngine(folder / MODEL, torch.get_num_threads())
        except Exception:  # ImportError without the package; whatever the file system or ONNX Runtime raise
            continue
    return None


def _made(unet: UNet2DModel, key: str, cache: Path) -> OnnxEngine:
    """The engine made anew, checked, and kept where that can be. Raises EngineError."""

    def checked(model: Callable[[], Path]) -> OnnxEngine:
        return checked_engine(lambda: OnnxEngine(model(), torch.get_num_threads()), unet, "ONNX Runtime")

    try:
        with _workplace(cache) as place:
            folder = Path(place) / "engine"
            folder.mkdir()
            checked(lambda: write_model(unet, folder))  # not held: not every system moves a file that is open
            _keep(folder, key, cache)
            return _kept(key, cache) or checked(lambda: folder / MODEL)
    except OSError as error:
        raise EngineError(f"engine: no place to write its model: {first_line(error)}") from error


def _workplace(cache: Path) -> TemporaryDirectory:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(dir=cache, prefix=".", ignore_cleanup_errors=True)
    except OSError:
        return TemporaryDirectory(ignore_cleanup_errors=True)  # a read-only home


def _keep(folder: Path, key: str, cache: Path) -> None:
    """Put a model into the cache, whole or not at all, and take the oldest ones out."""
    with suppress(OSError):  # it is made anew next time
        place = _place(key, folder, cache)
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
        models = [path for path in cache.iterdir() if PLACE.fullmatch(path.name)]
        for old in sorted(models, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _place(key: str, folder: Path, cache: Path) -> Path:
    """Where a folder's content belongs: the key, and the hash of what is in it."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    return cache / f"{key}-{digest.hexdigest()[:32]}"


def _key(unet: UNet2DModel, weights: Iterable[tuple[str, Tensor]]) -> str:
    """The hash of all that decides the model and its answers: the network, and what writes and runs it."""
    programs = {name: version(name) for name in ("torch", "diffusers", "onnx", "onnxruntime")}
    config = {name: value for name, value in sorted(unet.config.items()) if not name.startswith("_")}
    digest = hashlib.sha256(f"{config} {programs} {MADE_BY} {torch.backends.cpu.get_cpu_capability()}".encode())
    for name, value in weights:
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.contiguous().numpy())
    return digest.hexdigest()[:32]
