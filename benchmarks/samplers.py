"""Which sampler makes the best use of few network calls? Distance to the exact path, and KID; lower is better.

python -m benchmarks.samplers checkpoints/pixel-faces [...] [--calls 10 20 50] [--pictures 64] [--samples 1000]

Runs cost calls, not steps, so each sampler takes as many steps as its calls allow (Heun 5 steps of 10 or 9 calls).
RMS: between the pictures (clipping off) and those of DDIM in all steps from the same x_T, for samplers without fresh
noise; the median picture's RMS stands beside it, because a few pictures that end as another shape dominate the mean.
KID: of samples, drawn as on the page (clipping on), to the real pictures of the checkpoint in its own feature space.
Samples are kept in the cache of training.evaluate: a stopped run resumes, and a larger one extends it.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import table
from diffusion.console import accept_any_encoding
from diffusion.metrics.distances import kid_of_few, shuffled
from diffusion.metrics.features import load_feature_space
from diffusion.pipeline import DDPMLabPipeline
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplerName, SamplingSettings
from diffusion.trajectory import TimestepSpacing
from training.samples import CACHE, draw_samples

SEED = 0
CALLS, PICTURES, SAMPLES = (10, 20, 50), 64, 1000
SPACINGS: tuple[TimestepSpacing, ...] = ("trailing", "even", "power")


def is_noisy(name: SamplerName) -> bool:
    """Return whether its runs draw fresh noise: then no path is exact, and the seed matters more than the spacing."""
    return SAMPLERS[name].eta_of(None) > 0


RUNS = tuple((name, spacing) for name in SAMPLERS for spacing in SPACINGS if spacing != "power" or not is_noisy(name))


def steps_within(name: SamplerName, calls: int) -> int:
    """Return the most steps of a run with at most `calls` network calls. Raises ValueError if not even one fits."""
    between, last = SAMPLERS[name].calls_of(0), SAMPLERS[name].calls_of(-1)
    if calls < last:
        raise ValueError(f"calls: {name} needs at least {last}, got {calls}")
    return 1 + (calls - last) // between


@dataclass(frozen=True)
class Row:
    """Measurements of one sampler, spacing and number of calls.

    calls: the limit; steps: how many it allows. rms: over all pictures; median: of the pictures' own RMS; both None
    with fresh noise. kid: value and standard error; None unless asked for.
    """

    checkpoint: str
    sampler: SamplerName
    spacing: TimestepSpacing
    steps: int
    calls: int
    rms: float | None
    median: float | None
    kid: tuple[float, float] | None


def measure(
    checkpoint: Path,
    calls: Sequence[int] = CALLS,
    pictures: int = PICTURES,
    samples: int = SAMPLES,
    cache: Path = CACHE,
) -> Iterator[Row]:
    """Yield the rows of a checkpoint. pictures: per RMS. samples: per KID, 3 or more; 0 leaves KID out."""
    pipeline = DDPMLabPipeline.from_checkpoint(checkpoint)
    of_classes = {"class_label": 0, "classes_seed": SEED} if pipeline.classes else {"class_label": None}
    space = load_feature_space(checkpoint) if samples else None
    all_steps = _drawn(checkpoint, cache, pictures, "ddim", "even", pipeline.num_train_timesteps, **of_classes)
    for sampler, spacing in RUNS:
        for count in calls:
            run = sampler, spacing, steps_within(sampler, count)
            rms = median = found = None
            if not is_noisy(sampler):
                apart = _drawn(checkpoint, cache, pictures, *run, **of_classes) - all_steps
                squares = np.square(apart, dtype=np.float64).mean((1, 2, 3))
                rms, median = float(np.sqrt(squares.mean())), float(np.median(np.sqrt(squares)))
            if samples:
                images = _drawn(checkpoint, cache, samples, *run, unrounded=False, **of_classes)
                found = kid_of_few(shuffled(space.real, seed=0), space.features(images))
            yield Row(Path(checkpoint).resolve().name, *run, count, rms, median, found)


def _drawn(
    checkpoint: Path, cache: Path, count: int, sampler: SamplerName, spacing: TimestepSpacing, steps: int,
    class_label: int | None, classes_seed: int | None = None, unrounded: bool = True,
) -> np.ndarray:  # fmt: skip
    settings = SamplingSettings(
        sampler=sampler,
        num_inference_steps=steps,
        timestep_spacing=spacing,
        clip_sample=not unrounded,
        seed=SEED,
        num_images=count,
        class_label=class_label,
    )
    return draw_samples(checkpoint, settings, cache, classes_seed, unrounded)


def table_rows(checkpoints: Sequence[Path], **sizes) -> Iterator[table.Row]:
    """Yield the results of `measure` for the table of all benchmarks; the bar is that of the verdict."""
    for checkpoint in checkpoints:
        rows = list(measure(checkpoint, **sizes))
        for row in rows:
            rms = "" if row.rms is None else f"RMS {row.rms:.4f}, median {row.median:.4f}"
            found = "" if row.kid is None else "KID x 1000 {:.1f} ± {:.1f}".format(*(1000 * part for part in row.kid))
            what = f"{row.checkpoint}: {row.sampler} ({row.spacing}), {row.calls} calls, {row.steps} steps"
            yield table.Row(what, "; ".join(filter(None, (rms, found))))
        best, ddim = rivals(rows)
        what = f"{best.checkpoint}: RMS of {best.sampler} at {best.calls} calls against DDIM's at {ddim.calls}"
        yield table.Row.at_most(what, best.rms / ddim.rms, 1.0)


def rivals(rows: Sequence[Row]) -> tuple[Row, Row]:
    """Return the nearest sampler at the fewest calls, and the nearest DDIM at the next more."""
    few, more = sorted({row.calls for row in rows})[:2]
    best = min((row for row in rows if row.calls == few and row.rms is not None), key=lambda row: row.rms)
    ddim = min((row for row in rows if row.calls == more and row.sampler == "ddim"), key=lambda row: row.rms)
    return best, ddim


def verdict(rows: Sequence[Row]) -> str:
    """Say whether the best sampler at the fewest calls is nearer than DDIM at the next more, on one checkpoint."""
    best, ddim = rivals(rows)
    word = "nearer than" if best.rms < ddim.rms else "NOT nearer than"
    return (
        f"{best.checkpoint}: {best.sampler} ({best.spacing}) with {best.calls} calls, {best.rms:.4f}, is {word} DDIM "
        f"with {ddim.calls}, {ddim.rms:.4f} at its best."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="0 leaves KID out")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"RMS over {options.pictures} pictures, KID x 1000 at N = {options.samples}\n")
    print(f"| data | sampler | timesteps | calls | steps | RMS to DDIM in all steps | median | KID |\n|{'---|' * 8}")
    verdicts = []
    for checkpoint in options.checkpoints:
        rows = []
        for row in measure(checkpoint, options.calls, options.pictures, options.samples, options.cache):
            rows.append(row)
            rms = "– | –" if row.rms is None else f"{row.rms:.4f} | {row.median:.4f}"
            found = "–" if row.kid is None else "{:.1f} ± {:.1f}".format(*(1000 * part for part in row.kid))
            run = f"{row.sampler} | {row.spacing} | {row.calls} | {row.steps}"
            print(f"| {row.checkpoint} | {run} | {rms} | {found} |", flush=True)
        if len(options.calls) > 1:
            verdicts.append(verdict(rows))
    print("", *verdicts, sep="\n")


if __name__ == "__main__":
    accept_any_encoding()
    main()
