"""Comparisons: the moments of two runs, the presets, and the sentences and files of the tab."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.compare import render as render
from app.compare.presets import PRESETS, counterpart, matching_preset, preset_settings, presets_of
from app.compare.received import received
from app.compare.run import COLUMNS, check_comparison, strip_columns, watch_comparison
from app.controls.values import controls_of, settings_of
from app.server.options import Options
from app.server.services import Services
from app.texts import texts
from diffusion.pixels import to_uint8
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import read_png


@pytest.fixture(scope="module")
def pipeline(catalogue):
    return catalogue.pipeline("clothes")


def planned(pipeline, **fields):
    return pipeline.plan(SamplingSettings(checkpoint="clothes", num_images=3, class_label=1, **fields))


def test_the_last_moment_is_what_both_runs_make_alone(pipeline):
    plans = planned(pipeline, num_inference_steps=5), planned(pipeline, num_inference_steps=30, sampler="ddpm")
    *_, ended = watch_comparison(pipeline, plans[0], pipeline, plans[1])
    last = ended.content
    assert (ended.state, last.numbers, last.steps) == ("done", (5, 30), (5, 30))
    assert last.seconds[1] > last.seconds[0] > 0 and len(last.divergences) == 5 and ended.seconds_left == 0
    for side, plan in enumerate(plans):
        steps = list(pipeline.steps(plan.settings))
        assert np.array_equal(last.x_t[side], to_uint8(steps[-1].x_s))
        for (numbers, _), cell in zip(last.columns, last.cells[side], strict=True):
            step = steps[numbers[side]]
            assert cell.t == step.t and np.array_equal(cell.x_0_hat, to_uint8(step.x_0_hat))
            assert np.array_equal(cell.x_t, to_uint8(step.x_t))
    a, b = (list(pipeline.steps(plan.settings))[-1].x_0_hat.double().numpy() for plan in plans)
    assert last.apart == pytest.approx(np.sqrt(((a - b) ** 2).mean()), rel=1e-6)


@pytest.mark.parametrize(("S", "columns"), [(1, 1), (3, 3), (8, 8), (9, 8), (1000, 8)])
@pytest.mark.parametrize("spacing", ["even", "trailing"])
def test_columns_hold_both_ends(pipeline, S, columns, spacing):
    """Of the shorter run: `even` ends where the longer one does, `trailing` where that has 1000 / S steps to go."""
    few = planned(pipeline, num_inference_steps=S, timestep_spacing=spacing)
    found = strip_columns(few, planned(pipeline, num_inference_steps=1000))
    last = 999 if spacing == "even" else 1000 - round(1000 / S)
    assert len(found) == columns <= COLUMNS
    assert found[0][0] == (0, 0) and (S == 1 or found[-1][0] == (S - 1, last))
    levels = [log_snr for _, log_snr in found]
    assert levels == sorted(levels)  # from noise to pictures
    assert levels[0] == pytest.approx(np.log(4.0358e-5 / (1 - 4.0358e-5)), abs=1e-3)  # alpha-bar at T - 1, Ho et al.


def test_stop_keeps_what_both_have(pipeline):
    plans = [planned(pipeline, num_inference_steps=1000)] * 2
    seen = []
    is_stopped = lambda: len(seen) > 20 or seen.append(0) or False  # noqa: E731
    *_, ended = watch_comparison(pipeline, plans[0], pipeline, plans[1], is_stopped)
    last = ended.content
    assert ended.state == "stopped" and sum(last.numbers) == 22 and last.x_t[0] is not None
    assert last.cells[0][0] is not None and last.cells[0][-1] is None


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("checkpoint", ["clothes", "faces"])
def test_every_preset_runs_on_every_checkpoint_and_has_its_controls(catalogue, name, checkpoint):
    known = catalogue.checkpoint(checkpoint)
    first, second = preset_settings(name, known, seed=5)
    assert (first.seed, second.seed, first.num_images) == (5, 5, 4)
    for settings in (first, second):
        catalogue.pipeline(checkpoint).plan(settings)
        assert controls_of(settings, known)["sampler"] == settings.sampler
    if checkpoint == "clothes":
        assert first != second
    for language in ("en", "zh"):
        see = texts(language)[f"presets.{name}.see"]
        assert len(re.findall(r"[.?!。？！](?:\s|$|(?<=[。？！]))", see)) >= 2, see  # two sentences of what to see


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_known_by_its_settings_and_by_nothing_else(catalogue, name):
    known, faces = catalogue.checkpoint("clothes"), catalogue.checkpoint("faces")
    a, b = preset_settings(name, known, seed=7, num_images=3)
    assert matching_preset((a, b), known) == name
    assert matching_preset((a.replace(eta=a.effective_eta) if a.sampler == "ddim" else a, b), known) == name
    assert matching_preset((b, a), known) is None
    for changed in (
        a.replace(num_inference_steps=a.num_inference_steps - 1),
        a.replace(seed=8),
        a.replace(class_label=1),
    ):
        assert matching_preset((changed, b), known) is None
    assert matching_preset((a, b), faces) is None  # of another checkpoint
    pair = preset_settings(name, faces, seed=7)
    fits = name in ("ddpm-ddim", "eta", "few-steps", "solver", "clipping")  # T = 100, and no range of β
    assert (matching_preset(pair, faces) == name) == fits == (name in presets_of(faces))


def test_each_run_is_named_by_what_sets_it_apart(catalogue, pipeline):
    known = catalogue.checkpoint("clothes")

    def titles(language, first, second):
        plans = planned(pipeline, **first), planned(pipeline, **second)
        return [one[language] for one in render.run_titles(plans, (known, known))]

    ddpm = dict(sampler="ddpm", num_inference_steps=50)
    assert titles("en", ddpm, dict(num_inference_steps=1)) == ["A: DDPM, 50 steps", "B: DDIM, 1 step"]
    assert titles("en", ddpm, dict(eta=0.0)) == ["A: DDPM, 50 steps", "B: DDIM, 50 steps"]  # DDPM reads no η
    assert titles("zh", ddpm, dict(num_inference_steps=1)) == ["A：DDPM，50 步", "B：DDIM，1 步"]
    assert titles("en", {}, dict(clip_sample=False)) == ["A: DDIM, 50 steps, Clip: yes", "B: DDIM, 50 steps, Clip: no"]
    eta = titles("zh", dict(eta=0.0), dict(eta=1.0))
    assert "设为“0”" in eta[0] and "设为“1”" in eta[1]


def test_an_unknown_preset_is_named(catalogue):
    with pytest.raises(ValueError, match=r"preset: must be one of ddpm-ddim, .*, got 'x'"):
        preset_settings("x", catalogue.checkpoint("clothes"))


def test_both_results_are_saved_with_their_recipes(catalogue, pipeline):
    plans = planned(pipeline, num_inference_steps=2), planned(pipeline, num_inference_steps=3, sampler="ddpm")
    *_, ended = watch_comparison(pipeline, plans[0], pipeline, plans[1])
    last = ended.content
    known, made_by = catalogue.checkpoint("clothes"), pipeline.denoiser(plans[0]).description
    html = render.outcome(last, plans, (known, known), (made_by, made_by))
    links = re.findall(r'<a href="data:image/png;base64,([^"]+)"', html)
    for link, plan in zip(links, plans, strict=True):
        recipe, image = read_png(base64.b64decode(link))
        assert recipe.settings == plan.settings and image.width > 300
    assert "A: 2 network calls" in html and "B: 3 network calls" in html
    strips = render.strips_of(last)
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', strips)
    assert len(images) == 4 * len(last.columns)
    assert Image.open(BytesIO(base64.b64decode(images[0]))).width >= 8


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"sampler": "ddpm"}, {"eta": 1.0}, "at each step the same fresh noise"),
        ({"sampler": "ddpm"}, {"sampler": "ddpm", "num_inference_steps": 20}, "step counts differ"),
        ({"sampler": "ddpm"}, {}, "only one of them"),
        ({}, {"num_inference_steps": 10}, "none after it"),
    ],
)
def test_the_screen_says_what_both_runs_share(pipeline, first, second, said):
    plans = planned(pipeline, **first), planned(pipeline, **second)
    details = render.plan_details(plans, "en")
    assert details.count('<p class="note">') == 3 and "A: " in details and said in details
    lines = render.plan_summaries(plans, (None, 3.0), "en").splitlines()
    assert lines[0].startswith("A: ") and lines[1].startswith("B: ") and "about 3 s" in lines[1]
    assert render.plan_summaries(plans, (None, 3.0), "zh").startswith("A：")


def test_what_will_go_wrong_stands_in_the_short_lines(pipeline):
    plans = planned(pipeline, beta_end=0.05, beta_start=0.0001, beta_schedule="linear"), planned(pipeline)
    lines = render.plan_summaries(plans, (None, None), "en").splitlines()
    assert "lie beyond the noise levels" in lines[1] and lines[2].startswith("B: ")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("fields", [{}, {"sampler": "ddpm"}, {"sampler": "unipc", "timestep_spacing": "power"}])
def test_the_counterpart_of_a_run_differs_in_what_sets_the_presets_runs_apart(catalogue, preset, side, fields):
    checkpoint = catalogue.checkpoint("clothes")
    sent = SamplingSettings(checkpoint="clothes", num_inference_steps=7, seed=3, num_images=2, class_label=1, **fields)
    values = controls_of(sent, checkpoint)
    beside = counterpart(preset, side, values)
    changed = {name for name, value in beside.items() if value != values[name]}
    named = {name for fields in PRESETS[preset].runs for name in fields}
    assert changed and changed <= named | {"timestep_spacing"}
    assert settings_of(beside, checkpoint, Options()).seed == 3


def test_a_run_that_is_sent_gets_the_counterpart_or_the_run_that_stands_there(catalogue):
    services = Services(Options(), catalogue)
    checkpoint = catalogue.checkpoint("clothes")
    shown = [controls_of(one, checkpoint) for one in preset_settings("ddpm-ddim", checkpoint)]
    sent = SamplingSettings(checkpoint="clothes", num_inference_steps=7, seed=3, num_images=2, class_label=1)
    a, b = received(services, shown, 1, sent, "ddpm-ddim")
    assert (a["sampler"], b["sampler"]) == ("ddpm", "ddim")
    assert {name for name in a if a[name] != b[name]} == {"sampler"}
    a, b = received(services, shown, 1, sent, None)
    assert (a["num_inference_steps"], a["seed"], a["num_images"], a["class_choice"]) == (50, 3, 2, "mixed")
    faces = SamplingSettings(checkpoint="faces", num_inference_steps=5, num_images=2)
    a, b = received(services, shown, 0, faces, None)
    assert a["checkpoint"] == b["checkpoint"] == "faces"  # pictures of one size
    a, b = received(services, shown, 0, SamplingSettings(checkpoint="faces", num_inference_steps=5), "thousand")
    assert b["num_inference_steps"] in (50, 1000)


def test_a_run_is_named_by_its_class_without_the_name_of_the_control(pipeline, catalogue):
    checkpoint = catalogue.checkpoint("clothes")
    plans = tuple(
        pipeline.plan(SamplingSettings(checkpoint="clothes", num_images=3, num_inference_steps=5, class_label=label))
        for label in (1, (0, 1, 2))
    )
    a, b = (title["en"] for title in render.run_titles(plans, (checkpoint, checkpoint)))
    assert a == "A: DDIM, 5 steps, Trousers" and b == "B: DDIM, 5 steps, Some of each"


def test_a_comparison_that_costs_too_much_is_refused(catalogue, pipeline):
    services = Services(Options(max_cost=100), catalogue)
    plans = [planned(pipeline, num_inference_steps=20)] * 2
    with pytest.raises(ValueError, match=r"120.*100"):
        check_comparison(services, pipeline, plans[0], pipeline, plans[1])
    with pytest.raises(ValueError, match="checkpoint: both must make pictures of one size"):
        faces = catalogue.pipeline("faces")
        check_comparison(
            services, pipeline, plans[0], faces, faces.plan(SamplingSettings(num_images=3, num_inference_steps=20))
        )
