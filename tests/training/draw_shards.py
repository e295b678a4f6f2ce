"""Run as one process of test_evaluate: draws its share of some samples and saves all. Arguments: checkpoint, folder."""

import sys
from pathlib import Path

import numpy as np

from diffusion.settings import SamplingSettings
from training.samples import draw_samples, processes

if __name__ == "__main__":
    checkpoint, folder = map(Path, sys.argv[1:])
    settings = SamplingSettings(num_inference_steps=2, num_images=32)
    pictures = draw_samples(checkpoint, settings, folder, classes_seed=0, shard=8)
    np.save(folder / f"all-{processes().process_index}.npy", pictures)
