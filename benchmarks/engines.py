"""Which engine computes our networks fastest here? Pictures per second of network calls, in turns within one run.

python -m benchmarks.engines [NAME ...] [--rounds 7] [--compile] [--half]

Engines: eager PyTorch, the same in channels-last, ONNX Runtime (which the program uses), OpenVINO if it is installed
(`pip install openvino`; it is no dependency), with --compile torch.compile, which needs a C++ compiler and a minute per
batch size, and on a machine with a GPU the program's GPU engine. "seconds": from the weights to the first answer. "off
by": the largest difference from eager PyTorch.
--half instead: how far pictures in half precision are from those in float32, in levels of 255.
"""

import argparse
import copy
import time
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from diffusers import UNet2DModel

from app.server.options import ROOT
from benchmarks.sampling import SHIPPED, quiet
from benchmarks.table import in_turns
from diffusion.console import accept_any_encoding
from diffusion.engines.base import TorchEngine, probe
from diffusion.engines.gpu import gpu_engine
from diffusion.engines.onnx import onnx_engine
from diffusion.pipeline import DDPMLabPipeline
from diffusion.settings import SamplingSettings

BATCHES = (1, 4, 16)
PICTURES = 64  # per turn: enough to outlast what the previous engine left behind (awake threads, caches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=SHIPPED, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("--half", action="store_true", help="measure what half precision does to pictures instead")
    options = parser.parse_args()
    pipelines = {name: quiet(DDPMLabPipeline.from_checkpoint(ROOT / "checkpoints" / name)) for name in options.names}
    if options.half:
        print_halves(pipelines)
        return
    makers = {"eager": TorchEngine, "channels-last": channels_last, "ONNX Runtime": onnx_engine}
    if torch.cuda.is_available():
        makers["GPU"] = gpu_engine
    if options.compile:
        makers["torch.compile"] = compiled
    try:
        import openvino  # noqa: F401
    except ImportError:
        print("OpenVINO is not installed: skipped")
    else:
        makers["OpenVINO"] = openvino_engine
    print(f"{torch.get_num_threads()} threads, median of {options.rounds}; pictures/s (times eager)")
    print("| checkpoint | engine | batch 1 | batch 4 | batch 16 | seconds | off by |")
    print("|---|---|---|---|---|---|---|")
    for name, pipeline in pipelines.items():
        for line in lines(name, pipeline, makers, options.rounds):
            print(line, flush=True)


def lines(name: str, pipeline: DDPMLabPipeline, makers: dict[str, Callable], rounds: int) -> list[str]:
    """Measure a checkpoint's engines; return one table row per engine."""
    engines, taken, errors = {}, {}, {}
    inputs = {batch: _inputs(pipeline.unet, batch) for batch in BATCHES}
    expected = TorchEngine(pipeline.unet)(*inputs[1])
    for engine, make in makers.items():
        began = time.perf_counter()
        engines[engine] = make(pipeline.unet)
        errors[engine] = (engines[engine](*inputs[1]) - expected).abs().max().item()
        taken[engine] = time.perf_counter() - began
    rates = {}
    for batch in BATCHES:
        count = PICTURES // batch
        calls = {k: lambda e=e, n=count, b=batch: [e(*inputs[b]) for _ in range(n)] for k, e in engines.items()}
        rates[batch] = {engine: PICTURES / seconds for engine, seconds in in_turns(calls, rounds).items()}
    rows = []
    for engine in engines:
        each = [f"{rates[batch][engine]:.0f} ({rates[batch][engine] / rates[batch]['eager']:.2f})" for batch in BATCHES]
        rows.append(f"| {name} | {engine} | {' | '.join(each)} | {taken[engine]:.1f} | {errors[engine]:.0e} |")
    return rows


def print_halves(pipelines: dict[str, DDPMLabPipeline], pictures: int = 4) -> None:
    """Print a row per checkpoint, precision and run: the largest and the RMS difference of its pixels."""
    print("| checkpoint | precision | run | largest difference, levels | root mean square |\n|---|---|---|---|---|")
    for name, pipeline in pipelines.items():
        labels = 0 if pipeline.classes else None
        for sampler, precision in product(("ddim", "ddpm"), (torch.float16, torch.bfloat16)):
            half = quiet(pipeline.with_engine(Rounded(pipeline.unet, precision)))
            run = SamplingSettings(sampler=sampler, num_images=pictures, class_label=labels)
            whole, rounded = (p(run, output_type="pt").images for p in (pipeline, half))
            off = 255 * (whole - rounded).abs()
            run = f"{sampler.upper()}-{run.num_inference_steps}"
            figures = f"{off.max():.1f} | {off.square().mean().sqrt():.2f}"
            print(f"| {name} | {str(precision).removeprefix('torch.')} | {run} | {figures} |", flush=True)


class Rounded(TorchEngine):
    """A copy of the network in another precision."""

    def __init__(self, unet: UNet2DModel, precision: torch.dtype):
        super().__init__(copy.deepcopy(unet).to(dtype=precision))


def channels_last(unet: UNet2DModel) -> Callable:
    return TorchEngine(copy.deepcopy(unet).to(memory_format=torch.channels_last))


def compiled(unet: UNet2DModel) -> Callable:
    torch.compiler.reset()  # or calls of other checkpoints count towards its recompilation limit
    call = torch.compile(lambda *inputs: unet(*inputs, return_dict=False)[0], dynamic=False)
    return torch.no_grad()(call)


def openvino_engine(unet: UNet2DModel) -> Callable:
    """Convert the network with OpenVINO, in float32, for any batch size."""
    import openvino as ov

    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = unet

        def forward(self, *inputs):
            return self.unet(*inputs, return_dict=False)[0]

    with torch.no_grad():
        model = ov.convert_model(Call(), example_input=_inputs(unet, 2))
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = ov.compile_model(model, "CPU", settings | {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()

    def call(*inputs):
        return torch.from_numpy(np.copy(request.infer([value.numpy() for value in inputs])[0]))

    return call


def _inputs(unet: UNet2DModel, batch: int) -> tuple:
    return tuple(value for value in probe(unet, batch) if value is not None)


if __name__ == "__main__":
    accept_any_encoding()
    main()
