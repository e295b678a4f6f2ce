"""A network in ONNX Runtime, on the CPU: PyTorch's answers in less time.

Chosen by measuring (benchmarks/engines.py): on two cores ONNX Runtime is faster than OpenVINO, channels-last and
torch.compile, needs no compiler where it runs, and is ready in a second. Its models are kept in a cache, by the hash of
what they were made from.
"""

import hashlib
import io
import os
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import Tensor

from diffusion.engine import EngineError, checked_engine, first_line, probe

OPSET = 18
KEPT = 12  # files in the cache: the ones built last
PIXELS_AT_ONCE = 8 * 28 * 28  # as fast as more of them, in half the memory


class OnnxEngine:
    """A network in ONNX Runtime, on the CPU, in float32, for any batch size. Safe to use from many threads.

    model: in ONNX, or the file that holds it (in less memory). Its threads spin only within a call, so that neither
    torch nor another network's threads lose a core to them; and what a call needs is given back after it.
    """

    name = "onnxruntime"
    device = torch.device("cpu")
    precision = "float32"

    def __init__(self, model: bytes | Path, threads: int):
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
    """What goes into a model of `exported`."""
    inputs = {"x_t": x_t.to(torch.float32), "t": t.to(torch.float32)}
    if class_labels is not None:
        inputs["class_labels"] = class_labels
    return {name: value.numpy() for name, value in inputs.items()}


def session_options(threads: int):
    """How ONNX Runtime runs a network."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return options


def default_cache() -> Path:
    """The folder for what is derived from networks: DDPM_LAB_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("DDPM_LAB_CACHE") or f"{home}/ddpm-lab/engines").expanduser()


def onnx_engine(unet: UNet2DModel, cache: Path | None = None) -> OnnxEngine:
    """The network as it is now, in ONNX Runtime, with torch's number of threads.

    unet: in float32, on the CPU. cache: folder of the models that were built before, by default default_cache(); one
    that can't be read or written only costs the second that building takes. Tracing is not safe beside other work in
    torch: call it where the network runs. Raises EngineError.
    """
    if unet.device.type != "cpu" or unet.dtype != torch.float32:
        raise EngineError(f"engine: takes a float32 network on the CPU, got {unet.dtype} on {unet.device}")
    try:
        file = (default_cache() if cache is None else cache) / f"{_key(unet)}.onnx"
    except PackageNotFoundError as error:
        raise EngineError(f"engine: {error.name} is not installed") from error
    try:
        return _checked(file, unet)
    except EngineError:  # not there yet, or not what this network's file should be
        pass
    content = exported(unet)
    engine = _checked(content, unet)
    return _checked(file, unet) if _keep(content, file) else engine  # from the file: in less memory


def exported(unet: UNet2DModel) -> bytes:
    """The network as an ONNX model with inputs x_t, t and, where it has labels, class_labels. Raises EngineError."""
    x_t, t, labels = probe(unet, 2)
    inputs = {"x_t": x_t, "t": t} | ({} if labels is None else {"class_labels": labels})
    content = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer; _checked finds out whether something is amiss
            torch.onnx.export(
                _Call(unet),
                tuple(inputs.values()),
                content,
                dynamo=False,  # the tracer: ready in a second, where the other exporter takes ten and two more packages
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["output"],
                dynamic_axes={name: {0: "batch"} for name in (*inputs, "output")},
            )
    except Exception as error:  # whatever torch and onnx raise over a network that they can't describe
        raise EngineError(f"engine: no ONNX model of this network: {first_line(error)}") from error
    return content.getvalue()


class _Call(torch.nn.Module):
    def __init__(self, unet: UNet2DModel):
        super().__init__()
        self.unet = unet

    def forward(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        return self.unet(x_t, t, class_labels, return_dict=False)[0]


def _checked(model: bytes | Path, unet: UNet2DModel) -> OnnxEngine:
    return checked_engine(lambda: OnnxEngine(model, torch.get_num_threads()), unet, "ONNX Runtime")


def _key(unet: UNet2DModel) -> str:
    """The hash of all that decides the model: config, weights, and the programs that write and run it."""
    programs = {name: version(name) for name in ("torch", "diffusers", "onnx", "onnxruntime")}
    digest = hashlib.sha256(f"{sorted(unet.config.items())} {programs} {OPSET}".encode())
    for name, value in sorted(unet.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.contiguous().numpy())
    return digest.hexdigest()


def _keep(content: bytes, file: Path) -> bool:
    """Put a model into the cache, whole or not at all, and take the oldest out. False where it can't be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            part.write(content)
        os.replace(part.name, file)
        newest_first = sorted(file.parent.glob("*.onnx"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in newest_first[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError:
        return False  # a read-only home: it is built anew next time
    return True
