"""Thousands of samples of a checkpoint, drawn once: kept in shards on the disk, so that a stopped run goes on.

Sample i depends on the checkpoint, the settings and seed + i alone: not on shards, batches or processes.
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
) -> np.ndarray:
    """The settings.num_images pictures of a run: (N, H, W, C) uint8. Processes of Accelerate share the shards.

    unrounded: the last states themselves instead, (N, C, H, W) float32, neither rounded nor cut off at -1 and 1.

    classes_seed: draw a class for each picture, as `drawn_classes` does, in place of settings.class_label. Shards that
    are there are read, and more pictures of a run that was drawn before only add to it. Raises ValueError naming the
    field of the settings that the checkpoint does not allow.
    """
    pipeline = DDPMLabPipeline.from_checkpoint(checkpoint)
    key = _run_key(checkpoint, same_pictures(pipeline.plan(settings)), classes_seed)
    folder = cache / f"{Path(checkpoint).resolve().name}-{key}"
    if unrounded:
        folder = folder.with_name(f"{folder.name}-unrounded")
    if classes_seed is not None:
        settings = settings.replace(class_label=drawn_classes(pipeline.classes, settings.num_images, classes_seed))
    pipeline.plan(settings)
    folder.mkdir(parents=True, exist_ok=True)
    state = processes()
    pipeline.to(state.device)
    starts = range(0, settings.num_images, SHARD)
    files = [folder / f"{start:06d}-{min(start + SHARD, settings.num_images):06d}.npy" for start in starts]
    own = list(zip(starts, files, strict=True))[state.process_index :: state.num_processes]
    missing = [(start, file) for start, file in own if not file.exists()]
    if missing:
        pipeline = pipeline.fast()
    name = f"{settings.sampler}-{settings.num_inference_steps}, {SHARD} a time"
    for start, file in tqdm(missing, desc=name, disable=not state.is_main_process, leave=False):
        for step in pipeline.steps(settings.part(start, min(start + SHARD, settings.num_images))):
            x = step.x_s
        partial = file.with_name(f".{file.name}")
        with partial.open("wb") as handle:
            np.save(handle, x.cpu().numpy() if unrounded else to_uint8(x))
        os.replace(partial, file)
    state.wait_for_everyone()
    return np.concatenate([np.load(file, allow_pickle=False) for file in files])


def processes() -> PartialState:
    """The processes that `accelerate launch` started. Without a GPU it must be told that they compute on the CPU."""
    return PartialState(cpu=not torch.cuda.is_available())


def drawn_classes(classes: int, count: int, seed: int) -> tuple[int, ...] | None:
    """A class for each of `count` samples, uniform and independent; more samples begin with the same classes.

    None for a network without classes.
    """
    return tuple(np.random.default_rng(seed).integers(classes, size=count).tolist()) if classes else None


def _run_key(checkpoint: Path, settings: SamplingSettings, classes_seed: int | None) -> str:
    """What the pictures of a run depend on, but for their number: the checkpoint's hash and the settings, hashed."""
    fields = settings.model_dump(mode="json", exclude={"num_images", "checkpoint"})
    text = f"{checkpoint_sha256(checkpoint)} {sorted(fields.items())} {classes_seed}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
