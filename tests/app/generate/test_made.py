"""The line below the pictures, and the key that says whether the controls still hold its settings."""

import pytest

from app.controls.sentences import made_line, pictures_key
from diffusion.settings import SamplingSettings


@pytest.fixture
def clothes(catalogue):
    return catalogue.checkpoint("clothes")


@pytest.fixture
def plan(catalogue):
    pipeline = catalogue.pipeline("clothes")
    return lambda **fields: pipeline.plan(SamplingSettings(checkpoint="clothes", **fields))


def test_the_line_names_what_every_run_has_and_what_is_unusual(plan, clothes):
    assert made_line(plan(num_images=4, seed=3), clothes, "en") == "clothes · DDIM · 50 steps · seed 3–6"
    usual = plan(sampler="ddpm", num_inference_steps=1, eta=None, beta_start=1e-4, beta_schedule="linear")
    assert made_line(usual, clothes, "en") == "clothes · DDPM · 1 step · seed 0"
    other = plan(eta=0.3, beta_end=0.00005, beta_start=0.00001, class_label=1, guidance_scale=2.0, start="gaussian")
    line = made_line(other, clothes, "en")
    for said in (
        "Trousers",
        "η (eta): 0.3",
        "β last (β_end): 0.00005",
        "Guidance: 2",
        "mean and covariance of the data",
    ):
        assert said in line
    assert "e-05" not in line and "种子 0" in made_line(other, clothes, "zh")


@pytest.mark.parametrize(
    ("first", "second", "are_same"),
    [
        ({}, {"eta": 0.0}, True),  # in other words
        ({}, {"beta_start": 1e-4, "beta_end": 0.02}, True),
        ({"class_label": 1}, {"class_label": (1,)}, True),
        ({"num_inference_steps": 1000}, {"num_inference_steps": 1000, "timestep_spacing": "even"}, True),
        ({}, {"seed": 1}, False),
        ({}, {"num_images": 2}, False),
        ({}, {"class_label": 1}, False),
        ({"class_label": 1}, {"class_label": 1, "guidance_scale": 2.0}, False),
        ({}, {"beta_end": 0.01}, False),
        ({"beta_end": 0.0005}, {"beta_end": 0.0005, "start": "gaussian"}, False),
    ],
)
def test_the_key_is_that_of_the_pictures(plan, first, second, are_same):
    assert (pictures_key(plan(**first)) == pictures_key(plan(**second))) == are_same
