"""Fine texture: measured pair by pair, and a distance that grows with grain that no classifier sees."""

import numpy as np
import pytest

from diffusion.metrics.distances import fid
from diffusion.metrics.texture import EDGES, OFFSETS, differences, texture, texture_features
from tests.app.running import REPOSITORY


def pictures(name: str, split: str = "test") -> np.ndarray:
    with np.load(REPOSITORY / "checkpoints" / name / "reference" / f"{split}.npz") as file:
        return file["images"]


def grained(images: np.ndarray, std: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, std, images.shape)
    return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)


def test_every_pair_is_counted_once_by_its_largest_channel():
    images = np.random.default_rng(1).integers(0, 30, (2, 5, 4, 3), dtype=np.uint8)
    pairs = []
    for image in images.astype(int):
        for r in range(5):
            for c in range(4):
                pairs += [max(abs(image[r, c] - image[r + 1, c]))] if r < 4 else []
                pairs += [max(abs(image[r, c] - image[r, c + 1]))] if c < 3 else []
    found = texture(images)
    assert found.flat == pytest.approx(np.mean(np.array(pairs) <= 2))
    assert found.grain == pytest.approx(np.mean([2 < pair <= 16 for pair in pairs]))
    assert found.black == pytest.approx((images == 0).mean()) and found.white == 0


@pytest.mark.parametrize(("rows", "columns"), OFFSETS)
def test_a_neighbour_is_where_its_offset_says(rows, columns):
    images = np.zeros((1, 7, 7, 1), dtype=np.uint8)
    images[0, 3, 3] = 200
    found = differences(images, rows, columns)
    assert found.shape == (1, 7 - rows, 7 - abs(columns)) and (found == 200).sum() == 2 and found.sum() == 400


def test_features_are_the_distribution_of_differences_to_each_neighbour():
    images = pictures("fashion-mnist")[:20]
    features = texture_features(images)
    assert features.shape == (20, len(OFFSETS) * len(EDGES))
    of_each = features.reshape(20, len(OFFSETS), len(EDGES))
    assert (of_each.diff(dim=2) >= 0).all() and of_each.max() <= 1
    below = differences(images, 1, -1)[7] <= 8
    assert of_each[7, OFFSETS.index((1, -1)), EDGES.index(8)] == pytest.approx(below.mean())


def test_real_faces_are_flat_and_grain_is_what_noise_adds():
    real = texture(pictures("pixel-faces"))
    assert 0.6 < real.flat < 0.7 and real.grain < 0.01
    noisy = texture(grained(pictures("pixel-faces"), 4))
    assert noisy.flat < 0.4 and noisy.grain > 0.4


@pytest.mark.parametrize("name", ["pixel-faces", "mnist", "fashion-mnist"])
def test_the_distance_grows_with_grain_from_the_least_on(name):
    images = pictures(name)[:1000]
    real, held_out = texture_features(images[::2]), images[1::2]
    found = [fid(real, texture_features(grained(held_out, std))) for std in (0, 0.7, 1.5, 3)]
    assert found == sorted(found) and found[1] > 3 * found[0]
