"""FID and KID against independent formulas, and feature spaces against tampering."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from diffusion.metrics.distances import distance, fid, kid, nearest, shuffled
from diffusion.metrics.features import (
    FeatureConfig,
    FeatureError,
    FeatureNetwork,
    FeatureSpace,
    has_feature_space,
    load_feature_space,
    save_feature_space,
)


def features(count: int, size: int = 6, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    """Correlated Gaussian features, so that the covariances do not commute."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((size, size))
    return torch.from_numpy(rng.standard_normal((count, size)) @ mixing + shift)


def test_fid_is_the_frechet_distance_of_two_gaussians():
    a, b = features(400), features(300, seed=1, shift=0.3)
    x, y = a.numpy(), b.numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    mean_part = ((x.mean(0) - y.mean(0)) ** 2).sum()
    expected = mean_part + np.trace(cov_x + cov_y - 2 * sqrtm(cov_x @ cov_y).real)
    assert fid(a, b) == pytest.approx(expected, rel=1e-9)
    assert fid(a, a) == pytest.approx(0, abs=1e-9)


def test_fid_of_a_shift_is_its_square():
    a = features(500)
    assert fid(a, a + torch.tensor([0.5, 0, 0, 0, 0, 2.0])) == pytest.approx(0.25 + 4, rel=1e-9)


def test_kid_is_the_unbiased_mmd_of_the_cubic_kernel():
    a, b = features(40, seed=2), features(40, seed=3, shift=0.2)
    x, y = a.numpy(), b.numpy()

    def kernel(u, v):
        return (u @ v.T / 6 + 1) ** 3

    def block_value(u, v):
        n = len(u)
        within = (kernel(u, u).sum() - np.trace(kernel(u, u)) + kernel(v, v).sum() - np.trace(kernel(v, v))) / (
            n * (n - 1)
        )
        return within - 2 * kernel(u, v).mean()

    values = [block_value(x[k : k + 4], y[k : k + 4]) for k in range(0, 40, 4)]
    value, error = kid(a, b)
    assert value == pytest.approx(np.mean(values), rel=1e-9)
    assert error == pytest.approx(np.std(values, ddof=1) / math.sqrt(10), rel=1e-9)


def test_kid_of_one_distribution_is_zero_within_its_error():
    """64 pairs of sets: their mean is 0 within three standard errors, and the errors told are the scatter."""
    generator = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, 200, 6, generator=generator, dtype=torch.float64) for _ in range(64)]
    values, errors = np.array([kid(*pair) for pair in pairs]).T
    assert abs(values.mean()) < 3 * values.std(ddof=1) / 8
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.35)


def test_sorted_data_are_shuffled_before_they_are_cut():
    """Two halves of one data set whose classes come in turn: unshuffled blocks would be too even, and KID below 0."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((8, 6))
    real, held_out = (torch.from_numpy(centres[np.arange(2000) % 8] + rng.standard_normal((2000, 6))) for _ in "ab")
    value, error = kid(shuffled(real, seed=0)[:400], shuffled(held_out, seed=1)[:400])
    assert abs(value) < 3 * error
    value, error = kid(real[:400], held_out[:400])
    assert value < -3 * error


def test_nearest_is_the_smallest_distance():
    a, b = features(37), features(53, seed=1)
    distances = cdist(a.numpy(), b.numpy())
    found, index = nearest(a, b, chunk=10)
    assert index.tolist() == distances.argmin(1).tolist()
    assert np.allclose(found.numpy(), distances.min(1))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (features(30), features(30)[:, :5], r"features: need \(N, D\) and \(M, D\)"),
        (features(30), features(1), "samples: needs at least"),
        (features(30), features(30) / 0, "samples: hold a feature that is not finite"),
    ],
)
@pytest.mark.parametrize("measure", [fid, kid])
def test_sets_that_cannot_be_compared(measure, a, b, message):
    with pytest.raises(ValueError, match=message):
        measure(a, b)


@pytest.fixture
def space(tmp_path):
    torch.manual_seed(0)
    network = FeatureNetwork(FeatureConfig(channels=3, image_size=16, classes=4, width=8, features=10))
    network(torch.randn(64, 3, 16, 16))  # gives the batch norm its statistics
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    bare = FeatureSpace(network.eval(), {"data": "noise"}, torch.empty(0), torch.empty(0))
    made = FeatureSpace(network, bare.record, bare.features(images[:40]), bare.features(images[40:]))
    (tmp_path / "reference").mkdir()
    save_feature_space(made, tmp_path / "reference")
    return tmp_path, made, images


def test_a_feature_space_comes_back_as_it_was_written(space):
    folder, made, images = space
    found = load_feature_space(folder)
    assert torch.equal(found.features(images), made.features(images))
    assert torch.allclose(found.real, made.real, rtol=2e-3, atol=1e-3) and len(found.held_out) == 20
    assert found.record["data"] == "noise"


def test_features_do_not_depend_on_the_batch(space):
    _, made, images = space
    assert torch.allclose(made.features(images, batch=7), made.features(images), atol=1e-5)


def test_the_distance_of_real_pictures_is_the_floor(space):
    _, made, _ = space
    found = distance(made, shuffled(made.held_out, seed=1))
    assert found.fid == pytest.approx(found.floor_fid) and found.n == found.floor_n == 20


def test_large_pictures_are_made_smaller():
    torch.manual_seed(0)
    network = FeatureNetwork(FeatureConfig(channels=1, image_size=64, classes=0, width=8, features=10)).eval()
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 10) and network.to_class is None


@pytest.mark.parametrize("name", ["features.safetensors", "features.npz"])
def test_a_feature_space_that_was_changed_is_refused(space, name):
    file = space[0] / "reference" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(FeatureError, match=f"reference/{name} is not what features.json describes"):
        load_feature_space(space[0])


def test_a_missing_feature_space_says_how_to_make_one(tmp_path):
    assert not has_feature_space(tmp_path)
    with pytest.raises(FeatureError, match=r"has no feature space .* python -m training.features"):
        load_feature_space(tmp_path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"config": {"channels": 3}}, "features_unreadable"),
        ({"config": None}, "features_unreadable"),
        ({"sha256": None}, "features_differ"),
    ],
)
def test_a_broken_record_is_one_sentence(space, change, key):
    file = space[0] / "reference" / "features.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(FeatureError) as caught:
        load_feature_space(space[0])
    assert caught.value.key == key and "\n" not in str(caught.value)


def test_without_classes_there_is_no_classifier(space):
    _, made, images = space
    network = FeatureNetwork(FeatureConfig(channels=3, image_size=16, classes=0, width=8, features=10)).eval()
    with pytest.raises(FeatureError, match="without classes"):
        FeatureSpace(network, {}, made.real, made.held_out).classes(images)
