"""The evaluation against independent mathematics, and against networks that are worse by construction."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from tests.training.tiny import tiny_config
from training.bits import measure_bits
from training.data import Pictures
from training.export import export_run
from training.start import prepare


@pytest.fixture
def checkpoint(tmp_path):
    training, run = prepare(tiny_config(tmp_path, image_size=8, steps=200, learning_rate=5e-3, ema_max_decay=0.9))
    for _ in training.steps():
        pass
    return export_run(training, run)


def test_bits_of_a_network_and_its_floor(checkpoint):
    found = measure_bits(checkpoint, pictures=16)
    assert found.conditional and found.pictures == 16 and found.evaluations <= 64
    posterior, beta = found.bits["posterior"], found.bits["beta"]
    x_0 = Pictures.read(checkpoint / "reference" / "test.npz").take(16).images
    edge = np.isin(x_0, (0, 255)).mean()
    # golden numbers of a network that knows the picture: bits in L_0 of an edge and of an inner grey level, and the
    # sum of the offsets of sigma^2 = beta over all other terms; a subset of the terms estimates the latter
    assert posterior.floor_bpd == pytest.approx(edge * 0.50983 + (1 - edge) * 1.30538, abs=2e-4)
    assert beta.floor_bpd - posterior.floor_bpd == pytest.approx(0.48642, rel=0.02)
    assert posterior.bpd > posterior.floor_bpd and beta.bpd > beta.floor_bpd
    assert all(bits.standard_error_bpd > 0 for bits in found.bits.values())
    assert found.eps_mse[0] > found.eps_mse[3]  # low noise is hard to see


def test_the_noise_error_is_that_of_the_stock_network(checkpoint):
    """Its mean over all t, with other noise and many more draws, within the scatter."""
    found = measure_bits(checkpoint, pictures=64)
    unet = UNet2DModel.from_pretrained(checkpoint, subfolder="unet")
    test = Pictures.read(checkpoint / "reference" / "test.npz").take(64)
    x_0 = torch.from_numpy(test.images).permute(0, 3, 1, 2) / 127.5 - 1
    ab = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    means = []
    for t in range(5, 1000, 30):
        eps = torch.randn_like(x_0)
        with torch.no_grad():
            answer = unet(ab[t].sqrt() * x_0 + (1 - ab[t]).sqrt() * eps, t, class_labels=torch.from_numpy(test.labels))
        means.append((answer.sample - eps).square().mean().item())
    assert np.mean(found.eps_mse) == pytest.approx(np.mean(means), rel=0.15)


def test_a_worse_network_has_more_bits(checkpoint):
    before = measure_bits(checkpoint, pictures=8)
    unet = UNet2DModel.from_pretrained(checkpoint, subfolder="unet")
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.3 * parameter.std(correction=0) * torch.randn_like(parameter)
    unet.save_pretrained(checkpoint / "unet")
    after = measure_bits(checkpoint, pictures=8)
    assert after.bits["posterior"].bpd > before.bits["posterior"].bpd
    assert after.bits["posterior"].floor_bpd == pytest.approx(before.bits["posterior"].floor_bpd)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(dict(pictures=1), "pictures: must be at least 2"), (dict(evaluations=5), "evaluations: must be at least")],
)
def test_bad_arguments_are_refused_by_name(checkpoint, arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_bits(checkpoint, **arguments)
