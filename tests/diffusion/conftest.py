"""Tiny networks with random weights, and checkpoints made of them by diffusers itself."""

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from diffusion.pipeline import DDPMLabPipeline
from tests.networks import make_unet


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads cost more than they save on networks of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
