"""A network on a GPU: channels-last, and each call one CUDA graph in place of some four hundred kernel launches.

Computes in float32 without TF32: half precision and TF32 round the weights to 8 or 11 bits, and the pictures then
differ by several levels of 255 (`python -m benchmarks.engines --half`).
"""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from diffusers import UNet2DModel
from torch import Tensor

from diffusion.engines.base import EngineError, checked_engine

RECORDED = 8  # batch sizes whose calls stay recorded; each holds the memory that it needs
WARM_UP = 3  # calls before the recorded one, in which libraries choose their kernels

Replay = Callable[[], None]


class GpuEngine:
    """A copy of a network on a GPU, in float32. Accepts x_t on any device and answers there. Thread-safe.

    recorder: makes a call repeatable; by default record_graph, which needs a GPU.
    """

    name = "torch-cuda"
    device = None
    precision = "float32"

    def __init__(self, unet: UNet2DModel, device: torch.device, recorder: "Recorder | None" = None):
        self._device = device
        self._unet = copy.deepcopy(unet).to(device=device, memory_format=torch.channels_last)
        self._recorder = recorder or record_graph
        self._calls: OrderedDict[int, _Call] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        inputs = (x_t.to(torch.float32), t.to(torch.float32), *(() if class_labels is None else (class_labels,)))
        with self._lock:
            if len(x_t) not in self._calls:
                self._calls[len(x_t)] = self._recorded(inputs)
                if len(self._calls) > RECORDED:
                    self._calls.popitem(last=False)
            self._calls.move_to_end(len(x_t))
            return self._calls[len(x_t)](inputs).to(x_t.device, x_t.dtype, copy=True)

    def _recorded(self, inputs: tuple[Tensor, ...]) -> "_Call":
        places = [value.to(self._device, copy=True) for value in inputs]
        with _exact():
            return _Call(places, *self._recorder(lambda: self._unet(*places, return_dict=False)[0]))


class _Call:
    """A recorded call: copies inputs to their places, replays, and returns the output."""

    def __init__(self, places: list[Tensor], output: Tensor, replay: Replay):
        self._places, self._output, self._replay = places, output, replay

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for place, value in zip(self._places, inputs, strict=True):
            place.copy_(value)
        self._replay()
        return self._output


Recorder = Callable[[Callable[[], Tensor]], tuple[Tensor, Replay]]


def record_graph(call: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
    """Record a call on the current GPU as a CUDA graph; return its output, and what recomputes it in place."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()
    return output, graph.replay


def _exact():
    """Return a context without TF32 in convolutions, which torch allows by default."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def gpu_engine(unet: UNet2DModel) -> GpuEngine:
    """Return an engine of the network's current weights, on the network's own GPU or else the current one.

    Raises EngineError.
    """
    if not torch.cuda.is_available():
        raise EngineError("engine: torch finds no GPU")
    if unet.dtype != torch.float32:
        raise EngineError(f"engine: takes a float32 network, got {unet.dtype}")
    device = unet.device if unet.device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())
    with _exact():
        return checked_engine(lambda: GpuEngine(unet, device), unet, "the GPU")
