"""The mathematics tab's stored results: measured on a tiny trained checkpoint, checked against the stock network."""

import json

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from diffusion.derivation.c10_how_good import Recorded, without_class
from diffusion.derivation.c11_identity_table import ROWS, Subject, run_identities
from diffusion.derivation.data_facts import DataFacts
from diffusion.pixels import to_unit_range
from diffusion.schedule import NoiseSchedule
from tests.training.tiny import tiny_config
from training.data import Pictures
from training.export import export_run
from training.lessons import Size, main, measure_lessons
from training.start import prepare

SIZE = Size(levels=5, draws=8, curve_steps=4, curve_pictures=6, samples=6, sampling_steps=3)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lessons")
    training, run = prepare(tiny_config(folder, image_size=8, steps=30, learning_rate=5e-3, ema_max_decay=0.9))
    for _ in training.steps():
        pass
    checkpoint = export_run(training, run)
    for name, count in (("train", 60), ("test", 30)):
        path = checkpoint / "reference" / f"{name}.npz"
        Pictures.read(path).take(count).save(path)
    return checkpoint, measure_lessons(checkpoint, SIZE, folder / "cache"), folder / "cache"


def test_the_record_says_what_the_numbers_are_of(found):
    checkpoint, record, _ = found
    assert record == json.loads((checkpoint / "reference" / "lessons.json").read_text())
    assert (record["training_pictures"], record["held_out_pictures"], record["seed"]) == (60, 30, 0)
    assert len(record["checkpoint_sha256"]) == 64 and record["size"]["draws"] == 8
    assert not any("date" in key or "time" in key for key in record)


def test_the_facts_are_those_of_the_pictures(found):
    checkpoint, _, _ = found
    facts = DataFacts.load(checkpoint / "reference" / "facts.npz")
    assert facts.t[:21].tolist() == list(range(21)) and facts.t[-1] == 999
    assert facts.pictures == 60 and facts.network_mse.shape == (len(facts.t), 8)
    assert facts.entropy_nats[-1].mean() == pytest.approx(np.log(60), rel=0.02)  # nothing is left of the picture


def test_the_curves_are_the_stock_networks(found):
    """The error on held-out pictures, with other noise, by diffusers alone, at the largest t but one."""
    checkpoint, _, _ = found
    unet = UNet2DModel.from_pretrained(checkpoint, subfolder="unet")
    x_0 = to_unit_range(Pictures.read(checkpoint / "reference" / "test.npz").images)
    with np.load(checkpoint / "reference" / "lessons.npz") as stored:
        arrays = dict(stored)
    t = int(arrays["curve_t"][1])
    ab = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[t]
    eps = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(9))
    labels = torch.full((30,), unet.config.num_class_embeds - 1)
    with torch.no_grad():
        answer = unet(ab.sqrt() * x_0 + (1 - ab).sqrt() * eps, t, class_labels=labels).sample
    own = (answer - eps).square().mean((1, 2, 3))
    error = np.hypot(own.std().item() / 30**0.5, arrays["held_out_network_se"][1])
    assert abs(own.mean().item() - arrays["held_out_network"][1]) < 4.5 * error
    ratio = arrays["training_network"] / arrays["training_x_0_network"]
    betas = np.linspace(1e-4, 0.02, 1000)
    alpha_bars = np.cumprod(1 - betas)[arrays["curve_t"]]
    np.testing.assert_allclose(ratio, alpha_bars / (1 - alpha_bars), rtol=1e-6)
    assert (np.abs(arrays["training_pythagoras_z"]) < 4.5).all()


def test_analytic_variances_and_neighbours(found):
    checkpoint, record, _ = found
    facts = DataFacts.load(checkpoint / "reference" / "facts.npz")
    with np.load(checkpoint / "reference" / "lessons.npz") as stored:
        arrays = dict(stored)
    betas = np.linspace(1e-4, 0.02, 1000)
    ab = np.cumprod(1 - betas)
    m = facts.network_mse.mean(1).numpy()
    for k in (1, 7, len(facts.t) - 1):
        t = int(facts.t[k])
        tilde = betas[t] * (1 - ab[t - 1]) / (1 - ab[t])
        c_0 = np.sqrt(ab[t - 1]) * betas[t] / (1 - ab[t])
        assert arrays["fitted_var"][t] == pytest.approx(tilde + c_0**2 * m[k], rel=1e-9)
    assert arrays["fitted_var"].shape == (1000,) and arrays["fitted_var"][0] == pytest.approx(m[0], rel=1e-9)
    assert arrays["samples_share"].sum() == pytest.approx(1) and arrays["held_out_share"].sum() == pytest.approx(1)
    assert arrays["samples_distance"].shape == (6,) and arrays["held_out_distance"].shape == (30,)
    assert record["copies"] == pytest.approx((arrays["samples_distance"] < arrays["held_out_distance"].min()).mean())


def test_row_17_passes_on_what_was_recorded(found):
    checkpoint, record, _ = found
    unet = UNet2DModel.from_pretrained(checkpoint, subfolder="unet").eval()
    pictures = [to_unit_range(Pictures.read(checkpoint / "reference" / f"{n}.npz").images) for n in ("train", "test")]
    recorded = {name: Recorded(*pair) for name, pair in record["quality"].items()}
    subject = Subject(without_class(unet, NoiseSchedule.named()), *pictures, recorded)
    (result,) = run_identities(subject, [row for row in ROWS if row.kind == "D"])
    assert result.passed
    other = {name: Recorded(value + 10 * error, error) for name, (value, error) in recorded.items()}
    subject = Subject(subject.denoiser, *pictures, other)
    assert not next(run_identities(subject, [row for row in ROWS if row.kind == "D"])).passed


def test_the_same_again_and_the_command(found, capsys, tmp_path):
    checkpoint, _, cache = found
    before = (checkpoint / "reference" / "lessons.npz").read_bytes()
    assert main([str(checkpoint), "--quick", "--cache", str(cache)], quick=SIZE) == 0
    assert "eps_mse_q0" in capsys.readouterr().out
    assert (checkpoint / "reference" / "lessons.npz").read_bytes() == before
    assert main([str(tmp_path)]) == 1
    assert "lessons: " in capsys.readouterr().err
