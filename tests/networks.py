"""Tiny networks with random weights, for every test that needs a network but no training."""

import torch
from diffusers import UNet2DModel


def make_unet(
    classes: int = 0, channels: int = 1, size: int = 8, widths: tuple[int, int] = (8, 16), blocks: int = 1
) -> UNet2DModel:
    """A U-Net, by default of some thousand weights, that answers differently at every t and for every class."""
    torch.manual_seed(7)
    unet = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=blocks,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=8,
        num_class_embeds=classes + 1 if classes else None,
    )
    if classes:
        torch.nn.init.normal_(unet.class_embedding.weight, std=3.0)
    return unet.eval()
