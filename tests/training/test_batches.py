import numpy as np
import pytest
import torch
from scipy.stats import kstest

from diffusion.pixels import to_unit_range
from training.batches import BatchSource, batches_from, epoch_order, process_share
from training.data import Pictures


def source(count=40, classes=4, **fields) -> BatchSource:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    settings = dict(seed=5, batch_size=16, num_train_timesteps=1000, timestep_draw="stratified", label_dropout=0.25)
    return BatchSource(Pictures(images, np.arange(count) % classes), classes=classes, **settings | fields)


def test_a_batch_is_a_function_of_seed_and_step_alone():
    whole = source().part(3, np.arange(16))
    parts = [source().part(3, index) for index in process_share(16, 1, 2, 2)]
    for part, index in zip(parts, process_share(16, 1, 2, 2), strict=True):
        for field in ("x_0", "eps", "t", "class_labels"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[index])
    assert not torch.equal(whole.eps, source(seed=6).part(3, np.arange(16)).eps)
    assert not torch.equal(whole.eps, source().part(4, np.arange(16)).eps)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_made_ahead_are_those_of_their_steps(workers):
    shares = process_share(16, 0, 1, 2)
    batches = batches_from(source(), shares, 5, workers)
    for step in range(5, 15):
        for part, index in zip(next(batches), shares, strict=True):
            expected = source().part(step, index)
            for field in ("x_0", "eps", "t", "class_labels"):
                assert torch.equal(getattr(part, field), getattr(expected, field))


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 4)])
def test_the_shares_of_all_processes_are_the_batch(processes, accumulation):
    shares = [np.concatenate(process_share(16, rank, processes, accumulation)) for rank in range(processes)]
    assert sorted(np.concatenate(shares)) == list(range(16))
    assert len({len(share) for share in shares}) == 1


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    with pytest.raises(ValueError, match="batch_size: 16 cannot be shared equally by 3 processes"):
        process_share(16, 0, 3, 1)


def test_every_epoch_shows_every_picture_once_in_a_new_order():
    orders = [epoch_order(0, epoch, 40) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    data = source(batch_size=40, label_dropout=0.0)
    seen = data.part(1, np.arange(40)).x_0
    assert torch.equal(seen, to_unit_range(data.pictures.images[orders[0] * 0 + epoch_order(5, 1, 40)]))


def test_stratified_t_covers_every_slice_and_is_uniform_over_many_batches():
    data = source(batch_size=20)
    draws = torch.stack([data.part(step, np.arange(20)).t for step in range(200)])
    assert bool((draws // 50 == torch.arange(20)).all())
    assert kstest((draws.flatten() + 0.5) / 1000, "uniform").pvalue > 1e-4


def test_uniform_t_is_uniform_but_does_not_cover():
    data = source(batch_size=20, timestep_draw="uniform")
    draws = torch.stack([data.part(step, np.arange(20)).t for step in range(200)])
    assert not bool((draws // 50 == torch.arange(20)).all())
    assert kstest((draws.flatten() + 0.5) / 1000, "uniform").pvalue > 1e-4


def test_noise_is_standard_normal_and_labels_drop_at_their_rate():
    batches = [source(batch_size=40).part(step, np.arange(40)) for step in range(50)]
    assert kstest(torch.cat([batch.eps for batch in batches]).flatten()[:20_000], "norm").pvalue > 1e-4
    dropped = torch.cat([batch.class_labels == 4 for batch in batches]).float().mean().item()
    assert abs(dropped - 0.25) < 4.5 * (0.25 * 0.75 / 2000) ** 0.5


def test_labels_stay_with_their_pictures_and_flips_mirror_half():
    data = source(batch_size=40, label_dropout=0.0, flip=True)
    batch, straight = data.part(0, np.arange(40)), source(batch_size=40, label_dropout=0.0).part(0, np.arange(40))
    order = epoch_order(5, 0, 40)
    assert torch.equal(batch.class_labels, torch.from_numpy(data.pictures.labels[order]))
    mirrored = (batch.x_0 == straight.x_0.flip(-1)).all(dim=(1, 2, 3))
    kept = (batch.x_0 == straight.x_0).all(dim=(1, 2, 3))
    assert bool((mirrored ^ kept).all()) and 8 <= int(mirrored.sum()) <= 32


def test_pixels_stay_on_the_8_bit_grid():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = to_unit_range(images)
    assert x.min() == -1 and x.max() == 1
    assert torch.equal(((x + 1) * 127.5).round().to(torch.uint8), torch.from_numpy(images).permute(0, 3, 1, 2))
