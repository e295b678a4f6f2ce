"""Tiny networks with random weights, and checkpoints made of them by diffusers itself."""

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from diffusion.pipeline import DDPMLabPipeline


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads cost more than they save on networks of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_unet(classes: int = 0, channels: int = 1, size: int = 8) -> UNet2DModel:
    """A U-Net of some thousand weights that answers differently at every t and for every class."""
    torch.manual_seed(7)
    unet = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=8,
        num_class_embeds=classes + 1 if classes else None,
    )
    if classes:
        torch.nn.init.normal_(unet.class_embedding.weight, std=3.0)
    return unet.eval()


def make_pipeline(unet: UNet2DModel, **scheduler) -> DDPMLabPipeline:
    """The pipeline under test, without a progress bar."""
    pipeline = DDPMLabPipeline(unet, DDPMScheduler(**scheduler))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def unet() -> UNet2DModel:
    return make_unet()


@pytest.fixture(scope="session")
def class_unet() -> UNet2DModel:
    return make_unet(classes=3)


@pytest.fixture
def checkpoint(tmp_path, unet):
    """A good checkpoint folder, as diffusers writes it."""
    folder = tmp_path / "tiny"
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return folder
