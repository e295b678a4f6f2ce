"""Which timesteps should a run of few steps visit? KID of samples by spacing and step count; lower is better.

python -m benchmarks.spacing checkpoints/pixel-faces [...] [--samples 1000] [--steps 10 20 50] [--sampler ddpm]

DDIM, or another sampler, without guidance, on spacings that start at T-1, against the real pictures of the checkpoint
in its own feature space. All spacings share x_T, noise and real pictures, so their differences to the first are known
far better than the values themselves. Errors are over the samples, with the real pictures fixed. Samples are kept in
the cache of training.evaluate: a stopped run resumes, and a larger one extends it.
"""

import argparse
from pathlib import Path

import torch

from diffusion.console import accept_any_encoding
from diffusion.metrics.distances import kid_difference, kid_of_few, shuffled
from diffusion.metrics.features import load_feature_space
from diffusion.pipeline import DDPMLabPipeline
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplingSettings
from training.samples import CACHE, draw_samples

SPACINGS = ("even", "trailing", "quadratic")
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--sampler", choices=SAMPLERS, default="ddim")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    first, *others = SPACINGS
    columns = ["data", "steps", first, *(f"{name} - {first}" for name in others), "floor"]
    print(f"KID x 1000 of {options.sampler} at N = {options.samples}\n")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for checkpoint in options.checkpoints:
        space = load_feature_space(checkpoint)
        classes = DDPMLabPipeline.from_checkpoint(checkpoint).classes
        real = shuffled(space.real, seed=0)
        floor = kid_of_few(real, shuffled(space.held_out, seed=1)[: options.samples])
        for steps in options.steps:
            found = []
            for spacing in SPACINGS:
                settings = SamplingSettings(
                    sampler=options.sampler,
                    num_inference_steps=steps,
                    timestep_spacing=spacing,
                    seed=SEED,
                    num_images=options.samples,
                    class_label=0 if classes else None,
                )
                images = draw_samples(checkpoint, settings, options.cache, SEED if classes else None)
                found.append(space.features(images))
            differences = [kid_difference(real, found[0], other) for other in found[1:]]
            values = [kid_of_few(real, found[0]), *differences, floor]
            cells = " | ".join(f"{1000 * value:.2f} ± {1000 * error:.2f}" for value, error in values)
            print(f"| {checkpoint.name} | {steps} | {cells} |", flush=True)


if __name__ == "__main__":
    accept_any_encoding()
    main()
