"""Snapshots of a network in training: a grid of samples from a fixed x_T, and its error on held-out pictures."""

import numpy as np
import torch
from PIL import Image

from diffusion.denoisers import NetworkDenoiser
from diffusion.objective import training_loss
from diffusion.pixels import to_uint8
from diffusion.samplers.ancestral import DDIM
from diffusion.samplers.base import walk
from diffusion.sampling import image_generators, noise_like
from diffusion.schedule import NoiseSchedule
from diffusion.trajectory import pairs, visited_timesteps
from training.batches import BatchSource
from training.data import Pictures

GRID_COLUMNS = 8
GRID_ROWS, MOST_ROWS = 8, 16
GRID_STEPS = 50
PIXELS_AT_ONCE = GRID_COLUMNS * 64**2
GRID_SEED = 20_200_619  # the day the DDPM paper appeared; any fixed number would do
HELD_OUT_PICTURES = 256


@torch.no_grad()
def sample_grid(
    unet, schedule: NoiseSchedule, prediction_type: str, classes: int, pixels_at_once: int = PIXELS_AT_ONCE
) -> np.ndarray:
    """Draw DDIM samples in 50 even steps, always from the same x_T: (N, H, W, C) uint8, eight per row.

    Eight rows; with more classes, one row per class up to sixteen. With classes, row r shows class r modulo their
    number.
    """
    count = GRID_COLUMNS * min(max(GRID_ROWS, classes), MOST_ROWS)
    size, channels = unet.config.sample_size, unet.config.in_channels
    x_T = noise_like(torch.empty(count, channels, size, size), image_generators(GRID_SEED, count)).to(unet.device)
    labels = (torch.arange(count) // GRID_COLUMNS % classes).to(unet.device) if classes else None
    steps = pairs(visited_timesteps(min(GRID_STEPS, len(schedule)), len(schedule), "even"))
    rows = max(1, pixels_at_once // (GRID_COLUMNS * size**2))  # large pictures would not fit into memory together
    parts = []
    for start in range(0, count, rows * GRID_COLUMNS):
        part = slice(start, start + rows * GRID_COLUMNS)
        denoiser = NetworkDenoiser(unet, schedule, prediction_type, None if labels is None else labels[part])
        for step in walk(DDIM, denoiser, x_T[part], steps):
            last = step
        parts.append(to_uint8(last.x_s))
    return np.concatenate(parts)


@torch.no_grad()
def held_out_eps_mse(unet, pictures: Pictures, schedule: NoiseSchedule, prediction_type: str, classes: int) -> float:
    """Mean squared error of the predicted noise on test pictures, at fixed stratified t and with fixed noise."""
    chosen = pictures.take(HELD_OUT_PICTURES)
    source = BatchSource(chosen, GRID_SEED, len(chosen), len(schedule), "stratified", classes)
    batch = source.part(0, np.arange(len(chosen))).to(unet.device)
    terms = training_loss(
        unet, batch.x_0, batch.t, batch.eps, schedule, prediction_type, class_labels=batch.class_labels
    )
    return terms.eps_mse.mean().item()


def contact_sheet(images: np.ndarray, columns: int = GRID_COLUMNS, scale: int = 1, gap: int = 2) -> Image.Image:
    """Arrange (N, H, W, C) uint8 images row by row on white, enlarged by `scale` without smoothing."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
