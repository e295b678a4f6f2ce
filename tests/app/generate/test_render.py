"""The page before a run: plots with the right numbers in valid Vega-Lite, CSV, sentences, expected time."""

import csv
import io
import json
import re
from urllib.parse import unquote

import altair
import numpy as np
import pytest

from app.controls.sentences import duration, mismatch, plan_sentence
from app.generate import plots
from app.generate import render as views
from app.generate.explanations import explanations
from app.server.latency import Latency
from diffusion.plan import plan_run
from diffusion.settings import SamplingSettings

CONFIG = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "num_train_timesteps": 1000}
ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def planned(**fields):
    return plan_run(SamplingSettings(**fields), CONFIG, classes=10)


def layers(chart, kind: str) -> list[dict]:
    """What a chart draws of one kind of mark."""
    return [layer for layer in chart.spec["layer"] if layer["mark"]["type"] == kind]


def rows(chart, kind: str = "line") -> list[dict]:
    return [row for layer in layers(chart, kind) for row in layer["data"]["values"]]


@pytest.mark.parametrize(
    "fields", [{}, {"beta_end": 0.05}, {"num_inference_steps": 1000, "beta_start": 1e-3, "conditioning": "naive"}]
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_plots_are_valid_vega_lite(fields, language):
    for chart in plots.schedule_plots(planned(**fields), language):
        spec = json.loads(chart.plot.plot)
        altair.Chart.from_dict(spec, validate=True)
        assert (spec["description"] and re.search("[一-鿿]", json.dumps(spec, ensure_ascii=False)) is not None) or (
            language == "en"
        )


def test_signal_and_noise_are_those_of_the_paper():
    chart = plots.amplitudes(planned(), "en")
    names = chart.spec["layer"][0]["encoding"]["color"]["scale"]["domain"]
    for row in rows(chart):
        alpha_bar = ABAR[int(row["x"])]
        truth = alpha_bar if row["name"] == names[0] else 1 - alpha_bar
        assert row["y"] == pytest.approx(np.sqrt(truth), rel=1e-4)
    assert {row["x"] for row in rows(chart)} >= {0, 999} and "strokeDash" not in json.dumps(chart.spec["layer"])


@pytest.mark.parametrize(
    ("spacing", "timesteps"),
    [("even", [999, 833, 666, 500, 333, 167, 0]), ("trailing", [999, 856, 713, 570, 428, 285, 142])],
)
def test_the_steps_of_the_run_are_marked(spacing, timesteps):
    plan = planned(num_inference_steps=7, timestep_spacing=spacing)
    chart = plots.amplitudes(plan, "en")
    assert [row["x"] for row in rows(chart, "tick")] == timesteps
    assert [row["y"] for row in rows(chart, "point")] == pytest.approx(np.sqrt(ABAR[timesteps]), rel=1e-4)


def test_the_trained_schedule_is_dashed_beside_another():
    trained, own = layers(plots.betas(planned(beta_end=0.04), "en"), "line")
    assert trained["mark"]["strokeDash"] and "strokeDash" not in json.dumps(own)
    last = [row["y"] for layer in (trained, own) for row in layer["data"]["values"] if row["x"] == 999]
    assert last == [pytest.approx(0.02), pytest.approx(0.04)]
    (alone,) = layers(plots.betas(planned(), "en"), "line")
    assert "strokeDash" not in json.dumps(alone)


def test_naive_betas_show_what_the_network_is_fed_and_told():
    """Reference: beta_end = 0.01, told sigma' / sigma = .73, .66, .47, .24, .08 at t = 100, 250, 500, 750, 999."""
    plan = planned(beta_end=0.01, conditioning="naive", num_inference_steps=1000)
    levels = plan.noise_levels
    fed_over_told = dict(zip(levels.t.int().tolist(), (1 / levels.mismatch).tolist(), strict=True))
    for t, ratio in ((100, 0.73), (250, 0.66), (500, 0.47), (750, 0.24), (999, 0.08)):
        assert fed_over_told[t] == pytest.approx(ratio, abs=0.006)
    assert mismatch(plan)[0] == "differs"
    by_name = {}
    for row in rows(plots.log_snrs(plan, "en")):
        by_name.setdefault(row["name"], {})[row["x"]] = row["y"]
    fed, told = by_name.values()
    other = np.cumprod(1 - np.linspace(1e-4, 0.01, 1000))
    assert fed[999] == pytest.approx(np.log(other[999] / (1 - other[999])), rel=1e-3)
    assert told[999] == pytest.approx(np.log(ABAR[999] / (1 - ABAR[999])), rel=1e-3)


def test_matched_betas_agree_within_the_trained_range_and_say_what_lies_beyond():
    assert mismatch(planned()) is None
    assert mismatch(planned(beta_end=0.01)) == ("agrees", {})
    key, places = mismatch(planned(beta_end=0.04, num_inference_steps=1000))
    assert key == "beyond" and 280 < places["count"] < 300  # from t = 706 on, the reference says


def test_the_csv_holds_every_timestep():
    plan = planned(num_inference_steps=3, timestep_spacing="even", beta_end=0.05)
    text = unquote(plots.schedule_csv(plan).partition(",")[2])
    table = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["t"]) for row in table] == list(range(1000))
    assert float(table[999]["trained_alpha_bar"]) == pytest.approx(ABAR[999], rel=1e-5)
    assert float(table[999]["beta"]) == pytest.approx(0.05)
    assert [row["t"] for row in table if row["log_snr_told_where_visited"]] == ["0", "500", "999"]


def test_each_sentence_has_the_numbers_of_the_run():
    fields = dict(sampler="ddpm", num_inference_steps=10, timestep_spacing="even", class_label=3, guidance_scale=2.5)
    said = dict(explanations(planned(**fields), "en"))
    assert "2.5 · (ε̂(class)" in said["Guidance"] and "999, 888, 777, …, 222, 111, 0" in said["Which timesteps"]
    assert "10 times" in said["Steps"]
    a, b = ABAR[555], ABAR[444]  # the step in the middle; Ho et al. 2020, eq. (7)
    std = np.sqrt((1 - b) / (1 - a) * (1 - a / b))
    assert "from t = 555 to 444" in said["Sampler"] and f"deviation {std:.3g}" in said["Sampler"]
    assert f"{100 * std**2 / (1 - b):.3g}%" in said["Sampler"]
    assert "ᾱ = 0.00004 " in said["Shape of the schedule"]


@pytest.mark.parametrize(
    ("fields", "lacks", "strokes"),
    [
        ({}, "", 0),
        ({"beta_end": 0.0005}, "86.1% of a picture's strength should already be there", 1),
        ({"beta_end": 0.0005, "start": "gaussian"}, "mean and covariance that the data has", 0),
    ],
)
def test_a_start_that_is_not_all_noise_is_said_and_marked(fields, lacks, strokes):
    plan = planned(num_inference_steps=20, **fields)
    assert lacks in plan_sentence(plan, "en")
    assert ("Start from" in dict(explanations(plan, "en"))) == bool(lacks)
    assert ("starts from pure noise" in plan_sentence(plan, "en")) == ("纯噪点开始" in plan_sentence(plan, "zh"))
    assert ("starts from pure noise" in plan_sentence(plan, "en")) == bool(strokes)
    marked = rows(plots.amplitudes(plan, "en"), "rule")
    alpha_bar = np.prod(1 - np.linspace(1e-4, 5e-4, 1000))
    assert [(row["x"], row["y"]) for row in marked] == [(999, pytest.approx(np.sqrt(alpha_bar), rel=1e-4))] * strokes


@pytest.mark.parametrize(
    ("fields", "is_fresh"),
    [
        ({"eta": 0.0}, False), ({"sampler": "unipc"}, False), ({"sampler": "heun"}, False), ({"eta": 0.3}, True),
        ({"sampler": "ddpm"}, True), ({"sampler": "ddpm", "num_inference_steps": 1}, False),
    ],
)  # fmt: skip
def test_fresh_noise_is_said_only_where_there_is_some(fields, is_fresh):
    for count in (1, 4):
        said = dict(explanations(planned(num_images=count, **fields), "en"))["Seed"]
        assert ("fresh noise" in said) == is_fresh


@pytest.mark.parametrize(
    "fields", [{}, {"beta_end": 0.0005},
               {"beta_end": 0.0005, "start": "gaussian"},
               {"eta": 0.3}, {"num_inference_steps": 1}, {"num_inference_steps": 2, "eta": 1.0}, {"num_images": 4},
               {"sampler": "ddpm", "reverse_variance": "beta"}, {"beta_end": 0.5}, {"clip_sample": False},
               {"sampler": "dpmpp_2m"}, {"sampler": "unipc", "num_inference_steps": 1}]
)  # fmt: skip
def test_every_run_can_be_told_in_both_languages(fields):
    for language in ("en", "zh"):
        said = explanations(planned(**fields), language)
        assert len(said) >= 6 and all(name and sentence and "{" not in sentence for name, sentence in said)
        plots_, html = views.before(planned(**fields), language)
        assert len(plots_) == 3 and html.count("<dt>") == len(said)


def test_expected_time_is_that_of_the_run(catalogue):
    """On a clock that goes on by 1 + n / 4 seconds in a network call of n pictures."""
    pipeline, seconds = catalogue.pipeline("clothes"), [0.0]

    def take_time(network, inputs):
        seconds[0] += 1 + len(inputs[0]) / 4

    latency = Latency(clock=lambda: seconds[0])
    plan = pipeline.plan(SamplingSettings(num_inference_steps=4, num_images=6))
    assert latency.expected_seconds("clothes", plan) is None
    latency.learn("clothes", plan, 3.0)  # nothing to learn against yet
    watched = pipeline.unet.register_forward_pre_hook(take_time)
    latency.measure("clothes", pipeline)
    start = seconds[0]
    for _ in pipeline.steps(plan.settings):
        pass
    watched.remove()
    assert latency.expected_seconds("clothes", plan) == seconds[0] - start == 4 * (1 + 6 / 4)
    for _ in range(20):
        latency.learn("clothes", plan, 7.0)
    assert latency.expected_seconds("clothes", plan) == pytest.approx(7.0, rel=1e-3)
    twice = pipeline.plan(SamplingSettings(num_inference_steps=8, num_images=6))
    assert latency.expected_seconds("clothes", twice) == pytest.approx(14.0, rel=1e-3)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.234, "0.2 s"), (8.6, "9 s"), (9.7, "10 s"), (42.3, "42 s"), (600, "10 min"), (7200, "120 min")],
)
def test_a_guess_is_said_as_exactly_as_it_deserves(seconds, said):
    assert duration(seconds, "en").endswith(said)
