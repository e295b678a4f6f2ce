"""Measures how good a checkpoint is and writes it into its card: `python -m training.evaluate CHECKPOINT`.

- fid: FID and KID in the feature space of its data (training.features fits one if it is missing), with their floor:
  DDIM-50 at N = 10,000 (the headline) and at 2,048, DDPM with all its steps at 2,048. This takes hours on two cores;
  samples are cached, so a stopped run resumes. --quick draws 1,000 by DDIM-50 alone, in minutes.
- texture: grain on flat areas and pure black, beside real pictures; FID in a space of fine texture, which sees grain
  that the classifier's features do not.
- bits: bits per dimension of test pictures, and the error of the predicted noise.
- accuracy: the share of samples, without and with guidance, in which the classifier sees the class asked for.
- neighbours: distances to the nearest training pictures, to see whether samples are copies.

Several processes share the sampling:
accelerate launch --multi_gpu --num_processes 2 -m training.evaluate CHECKPOINT --threads 1
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from diffusion.console import accept_any_encoding
from diffusion.metrics.distances import LEAST_FOR_FID, LEAST_FOR_KID, distance, fid, nearest
from diffusion.metrics.features import FeatureSpace, has_feature_space, load_feature_space, save_feature_space
from diffusion.metrics.texture import texture, texture_features
from diffusion.pipeline import DDPMLabPipeline
from diffusion.settings import SamplingSettings
from diffusion.trajectory import TimestepSpacing
from training.bits import measure_bits
from training.data import DataError, Pictures
from training.features import IMAGES, data_of, fit_features
from training.report import FILE, as_markdown, merge, report
from training.samples import CACHE, SHARD, draw_samples, drawn_classes, processes
from training.snapshots import contact_sheet

PARTS = ("fid", "texture", "bits", "accuracy", "neighbours")
GUIDANCE = 2.0
STEPS = 50
SHOWN = 12
SEED = 0
SPACING: TimestepSpacing = "trailing"  # the default of a run; recorded in the JSON and the card


@dataclass(frozen=True)
class Counts:
    """How many pictures to draw: of the headline, of the other distances, with --quick, with guidance.

    to_learn: pictures that a missing feature network learns from. shard: samples drawn at once.
    """

    headline: int = 10_000
    small: int = 2_048
    quick: int = 1_000
    guided: int = 1_000
    to_learn: int = IMAGES
    shard: int = SHARD


FULL = Counts()


def protocols(total_steps: int, quick: bool, counts: Counts = FULL) -> list[tuple[str, int, int]]:
    """Return (sampler, steps, N) of each distance to measure, the cheapest first."""
    if quick:
        return [("ddim", min(STEPS, total_steps), counts.quick)]
    return [
        ("ddim", min(STEPS, total_steps), counts.small),
        ("ddim", min(STEPS, total_steps), counts.headline),
        ("ddpm", total_steps, counts.small),
    ]


class Evaluation:
    """Measurements of one checkpoint: each part yields its evaluation.json entry, again whenever it knows more."""

    def __init__(
        self,
        checkpoint: Path,
        cache: Path = CACHE,
        quick: bool = False,
        seed: int = SEED,
        counts: Counts = FULL,
        data: str | None = None,
    ):
        self.checkpoint, self.cache, self.quick, self.seed, self.counts = checkpoint, cache, quick, seed, counts
        self.data = data
        self.pipeline = DDPMLabPipeline.from_checkpoint(checkpoint)

    @property
    def steps(self) -> int:
        """The steps of most samples: 50, or all of a shorter schedule."""
        return min(STEPS, self.pipeline.num_train_timesteps)

    @cached_property
    def space(self) -> FeatureSpace:
        """The checkpoint's feature space, fitted first if it is missing. Raises DataError without its data."""
        return feature_space(self.checkpoint, self.counts.to_learn, self.data)

    def settings(self, sampler: str, steps: int, count: int, guidance_scale: float = 1.0) -> SamplingSettings:
        """Return the settings of a protocol's samples."""
        return SamplingSettings(
            sampler=sampler,
            num_inference_steps=steps,
            timestep_spacing=SPACING,
            seed=self.seed,
            num_images=count,
            class_label=0 if self.pipeline.classes else None,
            guidance_scale=guidance_scale,
        )

    def samples(self, sampler: str, steps: int, count: int, guidance_scale: float = 1.0) -> np.ndarray:
        """Return (N, H, W, C) uint8 samples of this checkpoint, each of a random class if it has classes."""
        settings = self.settings(sampler, steps, count, guidance_scale)
        classes_seed = self.seed if self.pipeline.classes else None
        return draw_samples(self.checkpoint, settings, self.cache, classes_seed, shard=self.counts.shard)

    def fid(self) -> Iterator[list[dict]]:
        """Yield the rows of FID and KID so far, after each protocol, because the last one can take hours."""
        rows = []
        for sampler, steps, count in protocols(self.pipeline.num_train_timesteps, self.quick, self.counts):
            features = self.space.features(self.samples(sampler, steps, count))
            run = {"sampler": sampler, "steps": steps, "timestep_spacing": SPACING}
            rows.append(run | asdict(distance(self.space, features)))
            yield rows

    def texture(self) -> Iterator[dict]:
        """Yield the texture of DDIM-50 samples and of as many test pictures, and FID in the space of textures."""
        count, steps = self._count(), self.steps
        samples = self.samples("ddim", steps, count)
        reference = self.checkpoint / "reference"
        real, held_out = (Pictures.read(reference / f"{name}.npz").take(count).images for name in ("train", "test"))
        among = min(len(real), len(held_out))
        features = texture_features(real)
        yield {
            "sampler": "ddim",
            "steps": steps,
            "timestep_spacing": SPACING,
            "n": count,
            "samples": asdict(texture(samples)),
            "real": asdict(texture(held_out)),
            "fid": fid(features, texture_features(samples)) if len(real) >= LEAST_FOR_FID else None,
            "floor_n": among,
            "floor_fid": fid(features[:among], texture_features(held_out[:among])) if among >= LEAST_FOR_FID else None,
        }

    def bits(self) -> Iterator[dict]:
        """Yield bits per dimension and the error of the predicted noise."""
        yield asdict(measure_bits(self.checkpoint, pictures=64 if self.quick else 256, seed=self.seed))

    def accuracy(self) -> Iterator[dict | None]:
        """Yield the share of samples in which the classifier sees the class asked for; None without classes."""
        classes = self.pipeline.classes
        if not classes or self.space.network.to_class is None:
            yield None
            return
        count = self._count()
        rows = []
        for guidance, n in ((1.0, count), (GUIDANCE, self.counts.guided)):
            seen = self.space.classes(self.samples("ddim", self.steps, n, guidance))
            asked = torch.tensor(drawn_classes(classes, n, self.seed))
            right = (seen == asked).double()
            each = [right[asked == c].mean().item() for c in range(classes) if (asked == c).any()]
            rows.append({"guidance_scale": guidance, "n": n, "all": right.mean().item(), "each": each})
        run = {"sampler": "ddim", "steps": self.steps, "timestep_spacing": SPACING}
        yield run | {"real": self.space.record["accuracy"], "samples": rows}

    def neighbours(self) -> Iterator[dict]:
        """Yield feature-space distances to the nearest training picture, of samples and of as many test pictures.

        Saves some samples above their nearest training pictures as neighbours.png.
        """
        count = self._count()
        images = self.samples("ddim", self.steps, count)
        pool = training_pictures(self.checkpoint, self.data)
        features = self.space.features(pool.images)
        of_samples, index = nearest(self.space.features(images), features)
        of_held_out, _ = nearest(held_out := self.space.held_out[:count], features)
        if processes().is_main_process:
            pairs = np.concatenate([images[:SHOWN], pool.images[index[:SHOWN].numpy()]])
            sheet = contact_sheet(pairs, columns=SHOWN, scale=max(1, 64 // images.shape[1]))
            sheet.save(self.checkpoint / "neighbours.png", optimize=True)
        quantiles = torch.tensor([0.01, 0.1, 0.5], dtype=torch.float64)
        yield {
            "n": count,
            "held_out_pictures": len(held_out),
            "training_pictures": len(pool),
            "quantiles": quantiles.tolist(),
            "samples": of_samples.quantile(quantiles).tolist(),
            "held_out": of_held_out.quantile(quantiles).tolist(),
            "identical": int(sum(bool((images[i] == pool.images[k]).all()) for i, k in enumerate(index.tolist()))),
        }

    def _count(self) -> int:
        return self.counts.quick if self.quick else self.counts.small


def what_cannot_be_measured(real: int, held_out: int) -> dict[str, str]:
    """Return a sentence for each part that so few pictures cannot give at all, or only without some numbers.

    real, held_out: training and held-out pictures in the checkpoint's reference/. Parts that are not named can be done.
    """
    found = {}
    if real < LEAST_FOR_FID:
        found["fid"] = f"FID and KID are left out: {real} training picture, and they need at least {LEAST_FOR_FID}"
    elif min(real, held_out) < LEAST_FOR_KID:
        found["fid"] = (
            f"KID and its floor need {LEAST_FOR_KID} training and held-out pictures, FID's floor {LEAST_FOR_FID}; "
            f"there are {real} and {held_out}: what is missing is shown as a dash, and so few give a rough FID"
        )
    if held_out < 2:
        found["bits"] = f"bits per dimension are left out: a standard error needs 2 held-out pictures, got {held_out}"
    return found


def feature_space(checkpoint: Path, to_learn: int = IMAGES, data: str | None = None) -> FeatureSpace:
    """Load the checkpoint's feature space; fit it first if it is missing, which needs the data set."""
    state = processes()
    if not has_feature_space(checkpoint) and state.is_main_process:
        print(f"{checkpoint.name}: fitting a feature network to its data, once ...")
        reference = Pictures.read(checkpoint / "reference" / "train.npz")
        save_feature_space(fit_features(data_of(checkpoint, data), reference, to_learn), checkpoint / "reference")
    state.wait_for_everyone()
    return load_feature_space(checkpoint)


def training_pictures(checkpoint: Path, data: str | None = None) -> Pictures:
    """Return all training pictures, or those of reference/ if the data set is unavailable or has changed."""
    try:
        return data_of(checkpoint, data).train
    except (DataError, OSError):
        return Pictures.read(checkpoint / "reference" / "train.npz")


def main(arguments: list[str] | None = None, counts: Counts = FULL) -> int:
    """Evaluate a checkpoint, write the results into its folder and print them. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (default: all)")
    parser.add_argument("--quick", action="store_true", help="small numbers of pictures, in minutes")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of the samples (default {CACHE})")
    parser.add_argument("--threads", type=int, help="CPU threads of each process")
    parser.add_argument("--data", help="where the pictures lie now, if not where they lay during the training")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        if options.threads < 1:
            parser.error(f"--threads: must be at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    state = processes()
    try:
        evaluation = Evaluation(options.checkpoint, options.cache, options.quick, counts=counts, data=options.data)
        reference = options.checkpoint / "reference"
        real, held_out = (len(Pictures.read(reference / f"{name}.npz")) for name in ("train", "test"))
        cannot = what_cannot_be_measured(real, held_out)
        for part in options.only:
            if part in cannot and state.is_main_process:
                print(f"{part}: {cannot[part]}")
    except (DataError, ValueError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    failed = False
    for part in options.only:
        if "left out" in cannot.get(part, ""):
            continue
        try:
            for found in getattr(evaluation, part)():
                if state.is_main_process:
                    report(options.checkpoint, merge(options.checkpoint, {part: found}))
                state.wait_for_everyone()
        except (DataError, ValueError, OSError) as error:  # the other parts can still be measured
            print(f"evaluate: {part}: {error}", file=sys.stderr)
            failed = True
    if state.is_main_process and (options.checkpoint / FILE).exists():
        print(as_markdown(json.loads((options.checkpoint / FILE).read_text(encoding="utf-8"))))
    return int(failed)


if __name__ == "__main__":
    accept_any_encoding()
    sys.exit(main())
