"""Ways to compute a network, all with the same answers: the network itself in PyTorch, and what is faster than that.

Faster ones are diffusion/engines/onnx.py on a CPU and diffusion/engines/gpu.py on a GPU. Each is derived from the
network's weights alone, and checked against the network itself before it is believed.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from diffusers import UNet2DModel
from torch import Tensor

LIMIT = 1e-4  # of the outputs' difference, whose scale is 1; two kernels of float32 differ by some 3e-6


E = TypeVar("E", bound="Engine")


class EngineError(RuntimeError):
    """A network has no faster engine here; the text is one sentence that says why."""


class Engine(Protocol):
    """A network as a function of x_t: (B, C, H, W), t: (B,), in [0, T-1] or between two, and class_labels: (B,) int64.

    name: the package that computes, and after a dash how. threads, precision: see diffusion.denoisers.Description.
    device: where x_t must be; None takes it anywhere and answers there.
    """

    name: str
    device: torch.device | None

    @property
    def threads(self) -> int: ...

    @property
    def precision(self) -> str: ...

    def __call__(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor: ...


class TorchEngine:
    """The network itself, as it is at each moment: eager PyTorch, on any device, in any precision."""

    name = "torch"

    def __init__(self, unet: UNet2DModel):
        self.unet = unet

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    @property
    def precision(self) -> str:
        return str(self.unet.dtype).removeprefix("torch.")

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor:
        return self.unet(x_t.to(self.unet.dtype), t, class_labels).sample.to(x_t.dtype)


def check_engine(engine: Engine, unet: UNet2DModel) -> None:
    """Raises EngineError where an engine does not answer as the network does."""
    for batch in (1, 3):
        inputs = probe(unet, batch)
        expected = TorchEngine(unet)(*inputs)
        error = (engine(*inputs) - expected).abs().max().item()
        if not error <= LIMIT * max(1.0, expected.abs().max().item()):
            raise EngineError(f"engine: differs from the network by {error:.1e}, allowed are {LIMIT:g}")


def checked_engine(make: Callable[[], E], unet: UNet2DModel, computes: str) -> E:
    """The engine that `make` returns, if it answers as the network does. computes: what does, in words for an error.

    Raises EngineError.
    """
    try:
        engine = make()
        check_engine(engine, unet)
    except EngineError:
        raise
    except Exception as error:  # ImportError without its package; whatever a runtime or a driver raises
        raise EngineError(f"engine: {computes} can't run it: {first_line(error)}") from error
    return engine


def probe(unet: UNet2DModel, batch: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """x_t, t (fractional, one a picture) and labels to try a network with, on its device: always the same."""
    config = unet.config
    x_t = torch.randn(
        batch, config.in_channels, config.sample_size, config.sample_size, generator=torch.Generator().manual_seed(0)
    )
    classes = config.num_class_embeds
    labels = None if classes is None else torch.arange(batch).flip(0) % classes
    inputs = (x_t, torch.linspace(0.25, 900.75, batch), labels)
    return tuple(None if value is None else value.to(unet.device) for value in inputs)


def first_line(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
