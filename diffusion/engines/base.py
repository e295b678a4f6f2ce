"""Engines: ways to compute a network, all with the same answers. One is the network itself in PyTorch.

Faster ones are diffusion/engines/onnx.py on a CPU and diffusion/engines/gpu.py on a GPU. Each is derived from the
network's weights alone, and checked against the network itself before it is used.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from diffusers import UNet2DModel
from torch import Tensor

from diffusion.checkpoint_config import sample_shape
from diffusion.errors import first_line

LIMIT = 1e-4  # largest difference allowed between outputs of scale 1; two float32 kernels differ by some 3e-6


E = TypeVar("E", bound="Engine")


class EngineError(RuntimeError):
    """There is no faster engine for a network here; the text is one sentence with the reason."""


class Engine(Protocol):
    """A network as a function of x_t: (B, C, H, W), t: (B,) in [0, T-1], possibly fractional, class_labels: (B,) int64.

    name: the package that computes, and after a dash how. threads, precision: see diffusion.denoisers.Description.
    device: where x_t must be; None accepts x_t on any device and answers there.
    """

    name: str
    device: torch.device | None

    @property
    def threads(self) -> int: ...

    @property
    def precision(self) -> str: ...

    def __call__(self, x_t: Tensor, t: Tensor, class_labels: Tensor | None = None) -> Tensor: ...


class TorchEngine:
    """The network itself, with its weights at each call: eager PyTorch, on any device, in any precision."""

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
    """Raise EngineError if an engine's output differs from the network's by more than LIMIT."""
    for batch in (1, 3):
        inputs = probe(unet, batch)
        expected = TorchEngine(unet)(*inputs)
        error = (engine(*inputs) - expected).abs().max().item()
        if not error <= LIMIT * max(1.0, expected.abs().max().item()):
            raise EngineError(f"engine: differs from the network by {error:.1e}, the limit is {LIMIT:g}")


def checked_engine(make: Callable[[], E], unet: UNet2DModel, computes: str) -> E:
    """Return the engine that `make` returns, after check_engine. computes: what computes, in words for an error.

    Raises EngineError, also in place of any error that `make` raises.
    """
    try:
        engine = make()
        check_engine(engine, unet)
    except EngineError:
        raise
    except Exception as error:  # ImportError without its package; any error of a runtime or a driver
        raise EngineError(f"engine: {computes} can't run it: {first_line(error)}") from error
    return engine


def probe(unet: UNet2DModel, batch: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return fixed inputs to test a network with, on its device: x_t, t (fractional, one per picture) and labels."""
    config = unet.config
    shape = batch, config.in_channels, *sample_shape(config)
    x_t = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    classes = config.num_class_embeds
    labels = None if classes is None else torch.arange(batch).flip(0) % classes
    inputs = (x_t, torch.linspace(0.25, 900.75, batch), labels)
    return tuple(None if value is None else value.to(unet.device) for value in inputs)
