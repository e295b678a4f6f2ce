"""The feature network learns, has not seen the pictures it judges, and gives meaningful distances."""

import itertools
import json

import numpy as np
import pytest
import torch

from benchmarks.feature_space import damaged
from diffusion.metrics.distances import fid, kid, shuffled
from diffusion.metrics.features import load_feature_space, save_feature_space
from tests.training.tiny import REPOSITORY, tiny_config
from training.data import DataConfig, DataError, DataSet, Pictures, load_data
from training.export import export_run
from training.features import (
    carry_over,
    class_accuracy,
    data_of,
    fit_features,
    made_worse,
    main,
    turn_accuracy,
    turned,
    without,
)
from training.start import prepare


def test_a_quarter_turn_is_numpys():
    x = torch.arange(4 * 1 * 3 * 3.0).reshape(4, 1, 3, 3)
    found = turned(x, torch.tensor([0, 1, 2, 3])).numpy()
    assert all((found[k, 0] == np.rot90(x[k, 0].numpy(), k)).all() for k in range(4))


def test_it_never_learns_from_the_pictures_that_distances_are_measured_to():
    data = load_data(DataConfig(data="fashion-mnist"))
    reference = data.train.take(200)
    pool = without(data.train, reference)
    known = {image.tobytes() for image in reference.images}
    assert len(pool) == len(data.train) - 200 and not any(image.tobytes() in known for image in pool.images)
    assert len(without(data.train, data.train)) == len(data.train)  # too few left: all are used


def test_damage_is_as_strong_as_it_says_and_stays_on_the_grid():
    x = torch.zeros(4000, 3, 8, 8) + 1 / 255  # level 128
    worse, amounts = made_worse(x, np.random.default_rng(0))
    levels = (worse + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-3) and worse.abs().max() <= 1
    means, noise = levels.mean((2, 3)) - 128, (levels - levels.mean((2, 3), keepdim=True)).flatten(1).std(1)
    for share in (amounts[:, 0] > 0, amounts[:, 1] != 0):
        assert share.float().mean() == pytest.approx(0.5, abs=0.05)
    clean = amounts[:, 0] == 0
    assert (noise[clean] == 0).all() and torch.allclose(means[clean], amounts[clean, 1:] * 64, atol=0.51)
    plain = (amounts[:, 1] == 0) & (amounts[:, 0] > 0) & (amounts[:, 0] < 0.8)  # few of their levels hit the ends
    std = 16 * (amounts[plain, 0] / (1 - amounts[plain, 0])).sqrt()  # the amount is s^2 / (s^2 + 16^2)
    assert (noise[plain] / std).median() == pytest.approx(1, abs=0.03)
    assert (noise[plain] - std).abs().quantile(0.95) < 4


@pytest.fixture(scope="module")
def fitted():
    data = load_data(DataConfig(data="fashion-mnist"))
    return data, fit_features(data, data.train.take(128), images=6000)


def test_it_learns_classes_and_turns_of_pictures_it_never_saw(fitted):
    data, space = fitted
    assert class_accuracy(space, data.test) > 0.6 and turn_accuracy(space, data.test) > 0.7  # chance: 0.1 and 0.25
    assert space.record["accuracy"] == class_accuracy(space, data.test.take(10_000))


def test_the_same_data_and_seed_give_the_same_network(fitted):
    data, _ = fitted
    a, b = (fit_features(data, data.train.take(128), images=256) for _ in range(2))
    assert torch.equal(a.real, b.real)


def test_pictures_without_classes_get_a_feature_space_too(tmp_path):
    training, run = prepare(tiny_config(tmp_path, data="pixel-faces", class_conditional=False))
    next(training.steps())
    folder = export_run(training, run)
    data = data_of(folder)
    bare = DataSet(data.name, Pictures(data.train.images[:600]), Pictures(data.test.images[:100]))
    space = fit_features(bare, bare.train.take(100), images=3000)
    assert space.record["accuracy"] is None and space.record["turn_accuracy"] > 0.6


def test_an_export_of_the_same_data_keeps_its_feature_space_and_another_does_not(tmp_path, fitted):
    training, run = prepare(tiny_config(tmp_path))
    next(training.steps())
    folder = export_run(training, run)
    save_feature_space(fitted[1], folder / "reference")
    record = folder / "reference" / "features.json"
    known = json.loads(record.read_text()) | {"data_sha256": training.data.sha256()}
    record.write_text(json.dumps(known))
    assert torch.equal(load_feature_space(export_run(training, run)).real, load_feature_space(folder).real)
    assert not carry_over(folder, folder, "another data set")


def test_data_that_are_not_those_of_the_training_are_refused(tmp_path):
    training, run = prepare(tiny_config(tmp_path))
    next(training.steps())
    folder = export_run(training, run)
    assert data_of(folder).sha256() == training.data.sha256()
    record = json.loads((folder / "training.json").read_text())
    record["data"]["sha256"] = "0" * 64
    (folder / "training.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="are not those it was trained on"):
        data_of(folder)


def test_the_command_names_what_is_no_checkpoint(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "train.npz: could not be read" in capsys.readouterr().err


@pytest.mark.slow  # FID of 1,000 pictures for each kind and amount of damage, on each shipped checkpoint
@pytest.mark.parametrize("name", ["pixel-faces", "fashion-mnist", "mnist"])
def test_distances_in_the_shipped_spaces_grow_with_the_damage(name):
    """Blur, noise, tint, shift and classes left out, by growing amounts: FID and KID must rise."""
    space = load_feature_space(REPOSITORY / "checkpoints" / name)
    test = Pictures.read(REPOSITORY / "checkpoints" / name / "reference" / "test.npz").take(1000)
    for kind, series in damaged(test):
        found = [shuffled(space.features(images), seed=1) for _, images in series]
        for measure in (lambda x: fid(space.real, x), lambda x: kid(shuffled(space.real, seed=0), x)[0]):
            values = [measure(x) for x in found]
            assert all(a < b for a, b in itertools.pairwise(values)), (kind, values)
