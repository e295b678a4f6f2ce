"""Which engine computes our networks fastest here? Pictures per second of network calls, all by turns in one run.

python -m benchmarks.engines [NAME ...] [--rounds 7] [--compile]

Eager PyTorch, the same in channels-last, ONNX Runtime (what the program uses), OpenVINO where it is installed
(`pip install openvino`; it is no dependency), and with --compile torch.compile, which needs a C++ compiler and a minute
a batch size. "seconds": from the weights to the first answer. "off by": the largest difference from eager PyTorch.
"""

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from diffusers import UNet2DModel

from app.options import ROOT
from benchmarks.sampling import SHIPPED, quiet
from benchmarks.table import in_turns
from diffusion.engine import TorchEngine, fast_engine
from diffusion.pipeline import DDPMLabPipeline

BATCHES = (1, 4, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=SHIPPED, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    options = parser.parse_args()
    makers = {"eager": TorchEngine, "channels-last": channels_last, "ONNX Runtime": fast_engine}
    if options.compile:
        makers["torch.compile"] = compiled
    try:
        import openvino  # noqa: F401
    except ImportError:
        print("OpenVINO is not installed: left out")
    else:
        makers["OpenVINO"] = openvino_engine
    print(f"{torch.get_num_threads()} threads, median of {options.rounds}; pictures/s (times eager)")
    print("| checkpoint | engine | batch 1 | batch 4 | batch 16 | seconds | off by |")
    print("|---|---|---|---|---|---|---|")
    for name in options.names:
        pipeline = quiet(DDPMLabPipeline.from_checkpoint(ROOT / "checkpoints" / name))
        for line in lines(name, pipeline, makers, options.rounds):
            print(line, flush=True)


def lines(name: str, pipeline: DDPMLabPipeline, makers: dict[str, Callable], rounds: int) -> list[str]:
    """One line an engine."""
    engines, taken, errors = {}, {}, {}
    inputs = {batch: _inputs(pipeline, batch) for batch in BATCHES}
    expected = TorchEngine(pipeline.unet)(*inputs[1])
    for engine, make in makers.items():
        began = time.perf_counter()
        engines[engine] = make(pipeline.unet)
        errors[engine] = (engines[engine](*inputs[1]) - expected).abs().max().item()
        taken[engine] = time.perf_counter() - began
    rates = {}
    for batch in BATCHES:
        calls = {
            k: lambda e=e, batch=batch: [e(*inputs[batch]) for _ in range(16 // batch)] for k, e in engines.items()
        }
        rates[batch] = {engine: 16 / seconds for engine, seconds in in_turns(calls, rounds).items()}
    rows = []
    for engine in engines:
        each = [f"{rates[batch][engine]:.0f} ({rates[batch][engine] / rates[batch]['eager']:.2f})" for batch in BATCHES]
        rows.append(f"| {name} | {engine} | {' | '.join(each)} | {taken[engine]:.1f} | {errors[engine]:.0e} |")
    return rows


def channels_last(unet: UNet2DModel) -> Callable:
    return TorchEngine(copy.deepcopy(unet).to(memory_format=torch.channels_last))


def compiled(unet: UNet2DModel) -> Callable:
    call = torch.compile(lambda *inputs: unet(*inputs, return_dict=False)[0], dynamic=False)
    return torch.no_grad()(call)


def openvino_engine(unet: UNet2DModel) -> Callable:
    """OpenVINO's own reading of the network, in float32, for any batch size."""
    import openvino as ov

    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = unet

        def forward(self, *inputs):
            return self.unet(*inputs, return_dict=False)[0]

    classes = unet.config.num_class_embeds
    example = (torch.zeros(2, unet.config.in_channels, *[unet.config.sample_size] * 2), torch.full((2,), 0.5))
    example += () if classes is None else (torch.zeros(2, dtype=torch.long),)
    with torch.no_grad():
        model = ov.convert_model(Call(), example_input=example)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = ov.compile_model(model, "CPU", settings | {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()

    def call(*inputs):
        return torch.from_numpy(np.copy(request.infer([value.numpy() for value in inputs])[0]))

    return call


def _inputs(pipeline: DDPMLabPipeline, batch: int) -> tuple:
    x_t, t = torch.randn(batch, *pipeline.image_shape), torch.full((batch,), 500.5)
    return (x_t, t, torch.arange(batch) % pipeline.classes) if pipeline.classes else (x_t, t)


if __name__ == "__main__":
    main()
