"""The start of a run: when pure noise is not q(x_t), and a start that has its mean and covariance."""

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from diffusion.errors import FieldError
from diffusion.pipeline import DDPMLabPipeline
from diffusion.settings import SamplingSettings
from diffusion.start import gaussian_start
from tests.networks import make_unet

SIDE = 8
SMALL = dict(beta_end=0.0005, num_inference_steps=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with 40 pictures of two of its three classes."""
    folder = tmp_path_factory.mktemp("start") / "tiny"
    DDPMPipeline(make_unet(3, 1, SIDE), DDPMScheduler()).save_pretrained(folder)
    (folder / "reference").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 1), dtype=np.uint8)
    images[20:] //= 4
    np.savez(folder / "reference" / "test.npz", images=images, labels=np.repeat([0, 1], 20).astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def pipeline(folder):
    return DDPMLabPipeline.from_checkpoint(folder)


def pictures(folder, label=None) -> torch.Tensor:
    with np.load(folder / "reference" / "test.npz") as arrays:
        images = arrays["images"] if label is None else arrays["images"][arrays["labels"] == label]
    return torch.from_numpy(images).double().reshape(len(images), -1) / 127.5 - 1


def first_states(pipeline, **fields) -> torch.Tensor:
    return next(pipeline.steps(**SMALL | fields)).x_t


def test_the_start_has_the_mean_and_covariance_of_q():
    data = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    alpha_bar, count = torch.tensor(0.74, dtype=torch.float64), 20_000
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    noise = torch.stack([torch.randn(1, 2, 2, generator=one) for one in generators])
    states = gaussian_start(noise, alpha_bar.log(), [data] * count, generators).reshape(count, 4).double()
    covariance = alpha_bar * torch.cov(data.double().T, correction=0) + (1 - alpha_bar) * torch.eye(4)
    errors = (covariance.diag() / count).sqrt()
    assert ((states.mean(0) - alpha_bar.sqrt() * data.double().mean(0)).abs() < 5 * errors).all()
    assert torch.allclose(torch.cov(states.T), covariance, atol=0.05)


def test_a_class_starts_from_its_own_pictures(pipeline, folder):
    count = 200
    dark = first_states(pipeline, start="gaussian", num_images=count, class_label=1).mean()
    every = first_states(pipeline, start="gaussian", num_images=count).mean()
    unguided = first_states(pipeline, start="gaussian", num_images=count, class_label=1, guidance_scale=0.0).mean()
    signal = pipeline.plan(SamplingSettings(**SMALL)).signal_left
    assert dark.item() == pytest.approx(signal * pictures(folder, 1).mean().item(), abs=0.03)
    assert every.item() == unguided.item() == pytest.approx(signal * pictures(folder).mean().item(), abs=0.03)


def test_an_image_is_the_same_in_every_batch_and_pure_noise_is_the_default(pipeline):
    whole = pipeline(**SMALL, start="gaussian", seed=5, num_images=3, output_type="pt").images
    for i in range(3):
        alone = pipeline(**SMALL, start="gaussian", seed=5 + i, output_type="pt").images
        assert torch.allclose(whole[i], alone[0], atol=1e-5)
    noise = torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    assert first_states(pipeline, seed=5)[0].equal(noise)
    assert not first_states(pipeline, seed=5, start="gaussian")[0].equal(noise)


def test_without_pictures_that_fit_it_is_refused(pipeline, folder, tmp_path):
    settings = SamplingSettings(**SMALL, start="gaussian")
    with pytest.raises(FieldError, match=r"^start: gaussian needs pictures of each class.* none of class 2"):
        pipeline.plan(settings.replace(class_label=2))
    with pytest.raises(FieldError, match=r"^start: gaussian needs pictures of the data.* no reference/test\.npz"):
        DDPMLabPipeline(pipeline.unet, pipeline.scheduler).plan(settings)
    other = tmp_path / "other"
    DDPMPipeline(make_unet(0, 3, SIDE), DDPMScheduler()).save_pretrained(other)
    (other / "reference").mkdir()
    for content in (b"", (folder / "reference" / "test.npz").read_bytes()):  # no archive; pictures without colour
        (other / "reference" / "test.npz").write_bytes(content)
        with pytest.raises(FieldError, match=r"^start: "):
            DDPMLabPipeline.from_checkpoint(other).plan(settings)


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({}, False),
        (dict(beta_schedule="squaredcos_cap_v2"), False),
        (dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012), True),  # Stable Diffusion's: 0.068
        (dict(beta_end=0.0005), True),
        (dict(beta_end=0.0005, start="gaussian"), False),
        (dict(start_step=20), True),
        (dict(num_inference_steps=501, timestep_spacing="leading"), True),
    ],
)
def test_what_pure_noise_lacks_is_noticed(pipeline, fields, lacks):
    assert pipeline.plan(SamplingSettings(**fields)).lacks_signal is lacks
