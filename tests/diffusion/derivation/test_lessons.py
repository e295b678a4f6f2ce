"""Stored measurements are read back as they were written, and any other content is refused."""

import json

import numpy as np
import pytest
import torch

from diffusion.derivation.c10_how_good import four_curves, neighbours, perturbed
from diffusion.derivation.lessons import ARRAYS, RECORD, Lessons
from diffusion.exact import DataDenoiser, GaussianDenoiser
from diffusion.sampling import image_generators
from diffusion.schedule import NoiseSchedule
from tests.networks import make_unet
from training.lessons import curve_arrays, neighbour_arrays

LINEAR = NoiseSchedule.named()
PICTURES = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
RECORDED = {"copies": 0.25, "training_pictures": 12, "quality": {"bpd": [3.5, 0.1]}, "checkpoint_sha256": "a1"}


@pytest.fixture(scope="module")
def measured():
    linear, exact = GaussianDenoiser(torch.zeros(1, 4, 4), 0.5, LINEAR), DataDenoiser(PICTURES, LINEAR)
    points = list(four_curves(linear, exact, PICTURES, PICTURES[:3] + 0.1, [10, 500], image_generators(0, 12)))
    return points, neighbours(PICTURES[:5] + 0.01, PICTURES[5:] * 0.5, PICTURES, bins=6)


@pytest.fixture
def folder(measured, tmp_path):
    points, distances = measured
    arrays = {"fitted_var": torch.ones(3)} | curve_arrays(points) | neighbour_arrays(distances)
    np.savez_compressed(tmp_path / ARRAYS, **{name: np.asarray(values) for name, values in arrays.items()})
    (tmp_path / RECORD).write_text(json.dumps(RECORDED))
    return tmp_path


def test_what_is_written_is_read(measured, folder):
    points, distances = measured
    found = Lessons.load(folder)
    assert found.t.tolist() == [10, 500] and found.pictures == 12 and found.samples == 5 and found.copies == 0.25
    for name, sides in (("training", found.training), ("held_out", found.held_out)):
        for quantity in ("network", "exact", "between"):
            means = [getattr(getattr(point, name), quantity).mean().item() for point in points]
            assert sides[quantity].tolist() == pytest.approx(means)
    assert found.pythagoras_z.tolist() == pytest.approx([point.training.pythagoras_z for point in points])
    assert torch.equal(found.edges, distances.edges) and torch.equal(found.held_out_share, distances.held_out_share)
    assert torch.equal(found.samples_share, distances.samples_share)
    assert found.quality["bpd"].value == 3.5 and found.quality["bpd"].standard_error == 0.1


def test_nothing_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Lessons.load(tmp_path)


@pytest.mark.parametrize("record", [{}, [], None, RECORDED | {"quality": {"bpd": [1]}}, RECORDED | {"copies": "many"}])
def test_another_record_is_refused(folder, record):
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"^folder: holds no lessons"):
        Lessons.load(folder)


@pytest.mark.parametrize("left_out", ["curve_t", "held_out_between", "samples_share", "samples_distance"])
def test_arrays_that_are_not_all_there_are_refused(folder, left_out):
    with np.load(folder / ARRAYS) as stored:
        arrays = {name: stored[name] for name in stored.files if name != left_out}
    np.savez_compressed(folder / ARRAYS, **arrays)
    with pytest.raises(ValueError, match=r"^folder: holds no lessons"):
        Lessons.load(folder)


def test_a_spoiled_network_is_another_and_the_first_stays_as_it_was():
    unet = make_unet()
    before = [weight.clone() for weight in unet.parameters()]
    worse, again = perturbed(unet), perturbed(unet)
    assert all(torch.equal(a, b) for a, b in zip(before, unet.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(worse.parameters(), again.parameters(), strict=True))
    pairs = zip(before, worse.parameters(), strict=True)
    large = [(a, b) for a, b in pairs if a.std(correction=0) > 0 and a.numel() > 1000]
    assert len(large) > 5
    for weight, noisy in large:
        share = ((noisy - weight).std() / weight.std(correction=0)).item()
        assert share == pytest.approx(0.5, abs=4.5 * 0.5 / (2 * weight.numel()) ** 0.5)
