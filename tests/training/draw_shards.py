"""Run as one process of test_evaluate: draws its share of some samples and saves all. Arguments: checkpoint, folder."""

import sys
from pathlib import Path

import numpy as np

from diffusion.settings import SamplingSettings
from training import samples

if __name__ == "__main__":
    samples.SHARD = 8
    checkpoint, folder = map(Path, sys.argv[1:])
    settings = SamplingSettings(num_inference_steps=2, num_images=32)
    pictures = samples.draw_samples(checkpoint, settings, folder, classes_seed=0)
    np.save(folder / f"all-{samples.processes().process_index}.npy", pictures)
