"""The grid of samples that shows a training's progress."""

import numpy as np
import torch
from diffusers import UNet2DModel

from diffusion.schedule import NoiseSchedule
from training.snapshots import GRID_COLUMNS, sample_grid


def test_a_grid_is_the_same_however_many_are_drawn_at_once():
    torch.manual_seed(0)
    sizes = dict(block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8, layers_per_block=1)
    blocks = dict(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, num_class_embeds=4, **sizes, **blocks).eval()
    schedule = NoiseSchedule.named("linear", 1e-3, 0.2, num_train_timesteps=20)
    grids = []
    for pixels in (1, 3 * GRID_COLUMNS * 8**2, 10**9):  # a row, three rows, all at once
        grids.append(sample_grid(unet, schedule, "epsilon", classes=3, pixels_at_once=pixels).astype(int))
    assert grids[0].shape == (64, 8, 8, 1)
    assert all(np.abs(grid - grids[0]).max() <= 1 for grid in grids[1:])
    assert len(np.unique(grids[0].reshape(64, -1), axis=0)) == 64
