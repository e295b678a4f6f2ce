"""How much faster than stock diffusers is a whole run, and how much of the machine does the network use?

python -m benchmarks.sampling [NAME ...] [--rounds 5] [--steps 20]

Whole runs: against the stock pipeline or, for checkpoints with classes, its loop over the stock U-Net and
scheduler.step with labels. Steps, noise and pictures are the same (compared before anything is timed). Both take turns.
Network calls alone: FLOPs of 16 pictures by torch's counter over the seconds of a call, as a share of the rate of a
float32 matrix product timed in turns with it. Time outside network calls: of a DDIM-50 run of 16 pictures.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler

from app.server.options import ROOT
from benchmarks.table import Row, in_turns, print_rows
from diffusion.console import accept_any_encoding
from diffusion.pipeline import DDPMLabPipeline
from diffusion.sampling import image_generators, noise_like
from diffusion.settings import SamplingSettings
from training.summary import flops_of_one_call

FASTER = {1: 3.0, 4: 2.0, 16: 1.4}
SHARE, SHARE_OF_WIDEST = 0.6, 0.8
OUTSIDE = 0.05
SIDE = 1024  # rows and columns of the matrices
SHIPPED = tuple(sorted(path.name for path in (ROOT / "checkpoints").iterdir() if path.is_dir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=SHIPPED, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    print_rows(rows(**vars(parser.parse_args())))


def rows(names=SHIPPED, rounds: int = 5, steps: int = 20) -> Iterator[Row]:
    """Yield the rows of the three questions."""
    pipelines = {name: quiet(DDPMLabPipeline.from_checkpoint(ROOT / "checkpoints" / name).fast()) for name in names}
    widest = max(pipelines, key=lambda name: flops_of_one_call(pipelines[name].unet))
    for name, pipeline in pipelines.items():
        for sampler in ("ddpm", "ddim"):
            for batch, bar in FASTER.items():
                yield Row.at_least(
                    f"{name}: {sampler.upper()} run of {batch}, times as fast as stock diffusers",
                    faster(pipeline, sampler, batch, rounds, steps),
                    bar,
                )
    for name, pipeline in pipelines.items():
        share, rate = share_of_sgemm(pipeline, rounds)
        bar = SHARE_OF_WIDEST if name == widest else SHARE
        what = f"{name}: network calls at batch 16, share of sgemm's {rate / 1e9:.0f} GFLOP/s"
        yield Row.at_least(what, share, bar, "{:.0%}")
    for name, pipeline in pipelines.items():
        what = f"{name}: time outside network calls, DDIM-50 of 16"
        yield Row.at_most(what, time_outside(pipeline, rounds), OUTSIDE, "{:.1%}")


def faster(pipeline: DDPMLabPipeline, sampler: str, batch: int, rounds: int, steps: int) -> float:
    """Return the seconds of stock diffusers over ours. Raises AssertionError if the pictures are not the same."""
    labels = tuple(k % pipeline.classes for k in range(batch)) if pipeline.classes else None
    settings = SamplingSettings(
        sampler=sampler,
        num_inference_steps=steps,
        timestep_spacing="leading",  # diffusers' default
        num_images=batch,
        class_label=labels,
    )
    works = {
        "stock": lambda: stock_run(pipeline, sampler, batch, steps, labels),
        "ours": lambda: pipeline(settings, output_type="np").images,
    }
    stock, ours = (work() for work in works.values())
    np.testing.assert_allclose(ours, stock, atol=1 / 255)
    seconds = in_turns(works, rounds)
    return seconds["stock"] / seconds["ours"]


def stock_run(pipeline: DDPMLabPipeline, sampler: str, batch: int, steps: int, labels) -> np.ndarray:
    """Draw pictures with diffusers alone: (B, H, W, C) in [0, 1]."""
    config = {"timestep_spacing": "leading"}
    if sampler == "ddpm":
        scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, variance_type="fixed_small", **config)
        kind, own = DDPMPipeline, {}
    else:
        scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **config)
        kind, own = DDIMPipeline, {"use_clipped_model_output": True}
    generators = image_generators(0, batch)
    if labels is None:
        stock = quiet(kind(pipeline.unet, scheduler))
        return stock(batch, generator=generators, num_inference_steps=steps, output_type="np", **own).images
    x, class_labels = noise_like(torch.empty(batch, *pipeline.image_shape), generators), torch.tensor(labels)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        with torch.no_grad():
            output = pipeline.unet(x, t, class_labels).sample
        x = scheduler.step(output, t, x, generator=generators, **own).prev_sample
    return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def share_of_sgemm(pipeline: DDPMLabPipeline, rounds: int, batch: int = 16) -> tuple[float, float]:
    """Return the FLOP/s of network calls over those of a matrix product, and the latter."""
    engine = pipeline.engine
    x_t, t = torch.randn(batch, *pipeline.image_shape), torch.full((batch,), 500.5)
    labels = torch.zeros(batch, dtype=torch.long) if pipeline.classes else None
    a, b = torch.randn(2, SIDE, SIDE)
    seconds = in_turns({"network": lambda: engine(x_t, t, labels), "sgemm": lambda: [a @ b for _ in range(5)]}, rounds)
    sgemm = 5 * 2 * SIDE**3 / seconds["sgemm"]
    return batch * flops_of_one_call(pipeline.unet) / seconds["network"] / sgemm, sgemm


def time_outside(pipeline: DDPMLabPipeline, rounds: int) -> float:
    """Return the share of a DDIM-50 run of 16 pictures spent outside network calls; the least of all rounds."""
    engine, shares = pipeline.engine, []
    within = 0.0

    class Timed:
        name, device, threads, precision = engine.name, engine.device, engine.threads, engine.precision

        def __call__(self, *inputs):
            nonlocal within
            began = time.perf_counter()
            output = engine(*inputs)
            within += time.perf_counter() - began
            return output

    timed = pipeline.with_engine(Timed())
    settings = SamplingSettings(num_images=16, class_label=0 if pipeline.classes else None)
    for _ in range(rounds):
        within, began = 0.0, time.perf_counter()
        timed(settings)
        shares.append(1 - within / (time.perf_counter() - began))
    return min(shares)


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


if __name__ == "__main__":
    accept_any_encoding()
    main()
