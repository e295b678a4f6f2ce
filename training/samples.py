"""Draws thousands of samples of a checkpoint once and keeps them in shards on disk, so that a stopped run resumes.

Sample i depends only on the checkpoint, the settings and seed + i, not on shards, batches or processes.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm

from diffusion.checkpoint import checkpoint_sha256
from diffusion.experiments.grid import same_pictures
from diffusion.pipeline import DDPMLabPipeline
from diffusion.pixels import to_uint8
from diffusion.settings import SamplingSettings

SHARD = 128
CACHE = Path("runs") / "samples"


def draw_samples(
    checkpoint: Path,
    settings: SamplingSettings,
    cache: Path = CACHE,
    classes_seed: int | None = None,
    unrounded: bool = False,
    shard: int = SHARD,
) -> np.ndarray:
    """Draw the settings.num_images pictures of a run: (N, H, W, C) uint8. Accelerate's processes share the shards.

    unrounded: return the final states themselves, (N, C, H, W) float32, neither rounded nor clipped to [-1, 1].
    classes_seed: draw a class for each picture by `drawn_classes`, instead of using settings.class_label.
    shard: samples drawn at once, and kept in one file.

    Shards on disk are read instead of drawn, so a larger run extends a smaller one. Raises ValueError, naming the
    settings' field that the checkpoint does not allow.
    """
    pipeline = DDPMLabPipeline.from_checkpoint(checkpoint)
    folder = samples_folder(checkpoint, pipeline, settings, cache, classes_seed, unrounded)
    if classes_seed is not None:
        settings = settings.replace(class_label=drawn_classes(pipeline.classes, settings.num_images, classes_seed))
    pipeline.plan(settings)
    folder.mkdir(parents=True, exist_ok=True)
    state = processes()
    pipeline.to(state.device)
    starts = range(0, settings.num_images, shard)
    files = [folder / f"{start:06d}-{min(start + shard, settings.num_images):06d}.npy" for start in starts]
    own = list(zip(starts, files, strict=True))[state.process_index :: state.num_processes]
    missing = [(start, file) for start, file in own if not file.exists()]
    if missing:
        pipeline = pipeline.fast()
    name = f"{settings.sampler}-{settings.num_inference_steps}, {shard} a time"
    for start, file in tqdm(missing, desc=name, disable=not state.is_main_process, leave=False):
        for step in pipeline.steps(settings.part(start, min(start + shard, settings.num_images))):
            x = step.x_s
        partial = file.with_name(f".{file.name}")
        with partial.open("wb") as handle:
            np.save(handle, x.cpu().numpy() if unrounded else to_uint8(x))
        os.replace(partial, file)
    state.wait_for_everyone()
    return np.concatenate([np.load(file, allow_pickle=False) for file in files])


def samples_folder(
    checkpoint: Path,
    pipeline: DDPMLabPipeline,
    settings: SamplingSettings,
    cache: Path,
    classes_seed: int | None = None,
    unrounded: bool = False,
) -> Path:
    """Return the folder of the shards that `draw_samples` writes for these settings. pipeline: the checkpoint's."""
    key = _run_key(checkpoint, same_pictures(pipeline.plan(settings)), classes_seed)
    return cache / f"{Path(checkpoint).resolve().name}-{key}{'-unrounded' if unrounded else ''}"


def processes() -> PartialState:
    """Return the processes that `accelerate launch` started; without a GPU, Accelerate must be told to use the CPU."""
    return PartialState(cpu=not torch.cuda.is_available())


def drawn_classes(classes: int, count: int, seed: int) -> tuple[int, ...] | None:
    """Draw a class for each of `count` samples, uniform and independent; a larger count begins with the same classes.

    Returns None for a network without classes.
    """
    return tuple(np.random.default_rng(seed).integers(classes, size=count).tolist()) if classes else None


def _run_key(checkpoint: Path, settings: SamplingSettings, classes_seed: int | None) -> str:
    """Hash everything but their number that a run's pictures depend on: checkpoint, settings and classes_seed."""
    fields = settings.model_dump(mode="json", exclude={"num_images", "checkpoint"})
    text = f"{checkpoint_sha256(checkpoint)} {sorted(fields.items())} {classes_seed}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
