"""Where does the time of a network call go? ONNX Runtime by its own profiler, eager PyTorch by torch's.

python -m benchmarks.profiling [NAME ...] [--batches 1 8] [--calls 20]

One row per operation, the longest first: its share of all operations' time, its runs per call, and its time per run.
The profilers themselves cost some microseconds per operation. The engine takes 8 pictures of 28 x 28 at once, so a
batch of 16 is two calls of 8.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from app.server.options import ROOT
from benchmarks.sampling import SHIPPED
from diffusion.console import accept_any_encoding
from diffusion.engines.base import TorchEngine, probe
from diffusion.engines.onnx import fed, session_options
from diffusion.engines.onnx_model import write_model
from diffusion.pipeline import DDPMLabPipeline

LINES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=SHIPPED, metavar="NAME")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--calls", type=int, default=20)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads; microseconds an operation, mean of {options.calls} calls\n")
    print("| checkpoint | engine | batch | operation | share | times | µs each |\n|---|---|---|---|---|---|---|")
    for name in options.names:
        unet = DDPMLabPipeline.from_checkpoint(ROOT / "checkpoints" / name).unet
        for batch in options.batches:
            for engine, taken in (("ONNX Runtime", of_onnx), ("eager PyTorch", of_torch)):
                microseconds, counts = taken(unet, batch, options.calls)
                for operation, total in microseconds.most_common(LINES):
                    share, times = total / microseconds.total(), counts[operation] / options.calls
                    each = f"{share:.1%} | {times:.0f} | {total / counts[operation]:.0f}"
                    print(f"| {name} | {engine} | {batch} | {operation} | {each} |", flush=True)


def of_onnx(unet, batch: int, calls: int) -> tuple[Counter, Counter]:
    """Count the microseconds and the runs of each operation in `calls` calls of ONNX Runtime."""
    from onnxruntime import InferenceSession

    inputs = fed(*probe(unet, batch))
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(torch.get_num_threads())
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/calls"
        session = InferenceSession(write_model(unet, Path(folder)), options, providers=["CPUExecutionProvider"])
        for _ in range(calls + 1):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    first_run = next(event for event in events if event["name"] == "model_run")
    microseconds, counts = Counter(), Counter()
    for event in events:
        is_kernel = event.get("cat") == "Node" and event["name"].endswith("kernel_time")
        if is_kernel and event["ts"] > first_run["ts"] + first_run["dur"]:
            operation = event["args"]["op_name"]
            microseconds[operation] += event["dur"]
            counts[operation] += 1
    return microseconds, counts


def of_torch(unet, batch: int, calls: int) -> tuple[Counter, Counter]:
    """Count the same for eager PyTorch."""
    engine, inputs = TorchEngine(unet), probe(unet, batch)
    engine(*inputs)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(calls):
            engine(*inputs)
    averages = [event for event in found.key_averages() if event.self_cpu_time_total > 0]
    microseconds = Counter({event.key: event.self_cpu_time_total for event in averages})
    return microseconds, Counter({event.key: event.count for event in averages})


if __name__ == "__main__":
    accept_any_encoding()
    main()
