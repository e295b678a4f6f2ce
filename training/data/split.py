"""Holds out test pictures from data that come without any."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from training.data.pictures import DataError, Pictures


def train_and_test(
    pictures: Pictures, origin: np.ndarray, training: int, test_fraction: float, seed: int
) -> tuple[Pictures, Pictures]:
    """Return training and test pictures: those that came apart, else as split_off_test splits them.

    origin: (N,) positions of their files, of which the first `training` are to train on. Raises DataError.
    """
    is_test = origin >= training
    if is_test.all():
        raise DataError(f"data: none of the {training} training pictures could be read")
    if is_test.any():
        return pictures.at(np.flatnonzero(~is_test)), pictures.at(np.flatnonzero(is_test))
    return split_off_test(pictures, test_fraction, seed, origin)


def split_off_test(
    pictures: Pictures, test_fraction: float, seed: int, origin: np.ndarray | None = None
) -> tuple[Pictures, Pictures]:
    """Split pictures into training and test pictures by seed, class by class; identical pictures stay together.

    test_fraction in (0, 1); the test set gets at least one picture. origin: (N,) numbers of the files they come from;
    frames of one file stay together too. Raises DataError for fewer than two different pictures.
    """
    flat = pictures.images.reshape(len(pictures), -1)
    _, twin_group = np.unique(flat, axis=0, return_inverse=True)
    twin_group = _joined(twin_group.reshape(-1), origin)
    groups = int(twin_group.max()) + 1
    if groups < 2:
        raise DataError("data: at least two different pictures are needed, one to train on and one to test with")
    label_of_group = np.zeros(groups, dtype=np.int64)
    if pictures.labels is not None:
        label_of_group[twin_group] = pictures.labels
    rng = np.random.default_rng(seed)
    is_test = np.zeros(groups, dtype=bool)
    for label in np.unique(label_of_group):
        members = rng.permutation(np.flatnonzero(label_of_group == label))
        is_test[members[: round(test_fraction * len(members))]] = True
    if not is_test.any():
        is_test[rng.integers(groups)] = True
    if is_test.all():
        is_test[rng.integers(groups)] = False
    held_out = is_test[twin_group]
    return pictures.at(np.flatnonzero(~held_out)), pictures.at(np.flatnonzero(held_out))


def _joined(group: np.ndarray, origin: np.ndarray | None) -> np.ndarray:
    """Join groups that share an origin. group, origin: (N,). Returns the number of each one's joined group, (N,)."""
    if origin is None or len(np.unique(origin)) == len(origin):
        return group
    edges = coo_array(
        (np.ones(len(group)), (group, group.max() + 1 + origin)), shape=(n := group.max() + origin.max() + 2, n)
    )
    part = connected_components(edges, directed=False)[1][group]
    return np.unique(part, return_inverse=True)[1].reshape(-1)
