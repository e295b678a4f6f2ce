"""Measures what the mathematics tab shows first, once per checkpoint: `python -m training.lessons CHECKPOINT ...`

It reads the checkpoint and the pictures of its reference/, and writes three files there:

- facts.npz: diffusion.derivation.data_facts.DataFacts, with the network's own error on the same draws;
- lessons.npz: fitted_var (T,), the analytic variance of each unit step; curve_t (K,), the timesteps of the curves, with
  the means S_Q and standard errors S_Q_se (K,) for S in training, held_out and Q in network, exact, between,
  x_0_network, x_0_exact (c10_how_good.Errors), and training_pythagoras_z (K,); neighbour_edges (bins + 1,),
  samples_share and held_out_share (bins,), samples_distance (n,), held_out_distance (m,), nearest_index (n,)
  (c10_how_good.Neighbours);
- lessons.json: what the numbers were measured on, and `quality`: name -> [value, standard_error], for
  c11_identity_table.Subject.

The network runs without a class throughout, because the exact denoiser has none; only the samples have classes.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from diffusion.bound import reverse_variances
from diffusion.bound_plan import BoundPlan
from diffusion.checkpoint import checkpoint_sha256
from diffusion.console import accept_any_encoding
from diffusion.denoisers import Denoiser
from diffusion.derivation.c10_how_good import (
    SEED,
    CurvePoint,
    Neighbours,
    four_curves,
    mean_and_error,
    neighbours,
    pick_evenly,
    record_quality,
    some_timesteps,
    without_class,
)
from diffusion.derivation.data_facts import DataFacts, measure_levels
from diffusion.derivation.lessons import ARRAYS, RECORD
from diffusion.exact import DataDenoiser
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_unit_range
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from diffusion.settings import SamplingSettings
from diffusion.trajectory import visited_timesteps
from training.data import DataError, Pictures
from training.safe_files import write_json
from training.samples import CACHE, draw_samples

FACTS = "facts.npz"
EVERY_UNTIL = 20  # every t up to this one is measured: nearly all bits are there
MEASURED = ("network", "exact", "between", "x_0_network", "x_0_exact")


@dataclass(frozen=True)
class Size:
    """How much to measure. levels: timesteps of the facts, besides all up to 20; draws: of x_t at each timestep.

    curve_steps, curve_pictures: timesteps of the four curves, and pictures of each set. samples, sampling_steps: by
    DDIM.
    """

    levels: int
    draws: int
    curve_steps: int
    curve_pictures: int
    samples: int
    sampling_steps: int


FULL = Size(levels=80, draws=64, curve_steps=30, curve_pictures=32, samples=128, sampling_steps=50)
QUICK = Size(levels=8, draws=8, curve_steps=5, curve_pictures=8, samples=16, sampling_steps=5)


def measure_lessons(checkpoint: Path, size: Size = FULL, cache: Path = CACHE) -> dict:
    """Measure a checkpoint and write the three files. Returns the content of lessons.json.

    Raises DataError if reference/ has no pictures, and CheckpointError if the folder is no checkpoint.
    """
    pipeline, folder = DDPMLabPipeline.from_checkpoint(checkpoint), checkpoint / "reference"
    schedule = NoiseSchedule.from_scheduler_config(pipeline.scheduler.config)
    training, held_out = (to_unit_range(Pictures.read(folder / name).images) for name in ("train.npz", "test.npz"))
    network = without_class(pipeline.unet, schedule, pipeline.scheduler.config.prediction_type)
    exact = DataDenoiser(training, schedule)

    facts = data_facts(network, training, size)
    curves = curve_points(network, exact, held_out, size)
    samples = to_unit_range(draw_samples(checkpoint, sampling(pipeline, size), cache, _classes_seed(pipeline)))
    distances = neighbours(samples, held_out, training)
    quality = record_quality(network, exact, held_out)

    facts.save(folder / FACTS)
    arrays = fitted_variances(facts) | curve_arrays(curves) | neighbour_arrays(distances)
    np.savez_compressed(folder / ARRAYS, **{name: np.asarray(values) for name, values in arrays.items()})
    record = {
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "class": "none",
        "seed": SEED,
        "training_pictures": len(training),
        "held_out_pictures": len(held_out),
        "size": asdict(size),
        "copies": distances.copies,
        "quality": {name: list(values) for name, values in quality.items()},
    }
    write_json(folder / RECORD, record)
    return record


def data_facts(network: Denoiser, training: Tensor, size: Size) -> DataFacts:
    """Measure the facts of the training pictures at every t up to 20 and at some others."""
    schedule = network.schedule
    small = range(min(EVERY_UNTIL + 1, len(schedule)))
    timesteps = sorted({*small, *some_timesteps(schedule, size.levels, first=0)})
    levels = measure_levels(training, schedule, timesteps, size.draws, SEED, network)
    return DataFacts.gather(list(_with_bar(levels, "data facts", len(timesteps))), training, schedule, SEED)


def curve_points(network: Denoiser, exact: DataDenoiser, held_out: Tensor, size: Size) -> list[CurvePoint]:
    """Measure the four curves, by increasing t."""
    timesteps = some_timesteps(network.schedule, size.curve_steps)
    sets = pick_evenly(exact.pictures, size.curve_pictures), pick_evenly(held_out, size.curve_pictures)
    points = four_curves(network, exact, *sets, timesteps, image_generators(SEED, size.curve_pictures))
    return list(_with_bar(points, "four curves", len(timesteps)))


def _with_bar(items: Iterable, name: str, total: int) -> Iterable:
    return tqdm(items, desc=name, total=total, leave=False)


def sampling(pipeline: DDPMLabPipeline, size: Size) -> SamplingSettings:
    """Return the settings of the samples: DDIM on `even` timesteps, like the chains of the mathematics."""
    return SamplingSettings(
        sampler="ddim",
        num_inference_steps=min(size.sampling_steps, pipeline.num_train_timesteps),
        timestep_spacing="even",
        seed=SEED,
        num_images=size.samples,
        class_label=0 if pipeline.classes else None,
    )


def _classes_seed(pipeline: DDPMLabPipeline) -> int | None:
    return SEED if pipeline.classes else None


def fitted_variances(facts: DataFacts) -> dict[str, Tensor]:
    """Analytic variance of the unit step from every t, (T,), fitted to the network's error on training pictures."""
    T = len(facts.betas)
    plan = BoundPlan.all_steps(facts.schedule, visited_timesteps(T, T))
    variances = reverse_variances(plan, "analytic", facts.network_mse_at(plan.chain))
    return {"fitted_var": torch.tensor([variances[t, t - 1] for t in range(T)], dtype=torch.float64)}


def curve_arrays(points: list[CurvePoint]) -> dict[str, Tensor]:
    """Return means and standard errors of the curves over the pictures, and Pythagoras' z-scores, by array name."""
    arrays = {"curve_t": torch.tensor([point.t for point in points])}
    for name in ("training", "held_out"):
        for quantity in MEASURED:
            rows = [mean_and_error(getattr(getattr(point, name), quantity)) for point in points]
            means, errors = torch.tensor(rows, dtype=torch.float64).unbind(1)
            arrays |= {f"{name}_{quantity}": means, f"{name}_{quantity}_se": errors}
    z = [point.training.pythagoras_z for point in points]
    return arrays | {"training_pythagoras_z": torch.tensor(z, dtype=torch.float64)}


def neighbour_arrays(found: Neighbours) -> dict[str, Tensor]:
    """Return the distances and their histograms, by array name."""
    return {
        "neighbour_edges": found.edges,
        "samples_share": found.samples_share,
        "held_out_share": found.held_out_share,
        "samples_distance": found.samples,
        "held_out_distance": found.held_out,
        "nearest_index": found.index,
    }


def main(arguments: list[str] | None = None, quick: Size = QUICK) -> int:
    """Measure the checkpoints, write their files and print the quality. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.lessons", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--quick", action="store_true", help="small numbers, to try it")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the samples (default {CACHE})")
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        if options.threads < 1:
            parser.error(f"--threads: must be at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    try:
        for checkpoint in options.checkpoints:
            record = measure_lessons(checkpoint, quick if options.quick else FULL, options.cache)
            values = ", ".join(f"{name} {value:.4g}" for name, (value, _) in record["quality"].items())
            print(f"{checkpoint.name}: {values}")
    except (DataError, ValueError, OSError) as error:
        print(f"lessons: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main())
