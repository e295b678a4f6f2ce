"""A new sampler, registered here, appears everywhere in the program without another line of code."""

import dataclasses
import io
import json

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from app.api.runs import make_generate
from app.controls.panel import RunControls
from app.controls.sentences import plan_sentence
from app.controls.spec import control_meanings, control_props
from app.controls.values import controls_of, defaults, settings_of
from app.explore import render as explore_views
from app.explore.frontier_plot import frontier_csv, frontier_plots
from app.explore.grids import FRONTIER, example, frontier_of, grid_of
from app.explore.value_names import pickable
from app.generate.render import before
from app.server.latency import Latency
from app.server.options import Options
from app.server.services import Services
from app.texts import LANGUAGES
from app.texts.messages import explain
from diffusion.experiments.grid import run_jobs
from diffusion.pixels import to_uint8
from diffusion.samplers.base import Sampler
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import Recipe, from_query, png_text, read_png, to_query
from diffusion.sharing.script import python_script

OPTIONS = Options()
STEPS = 4


class Toy(Sampler):
    """Asks twice, and goes to the mean of both guesses with three quarters of the noise."""

    def rule(self, timesteps, schedule):
        def step(move):
            again = move.ask(0.5 * move.x_t, move.t, move.c.level_t)
            x_0 = 0.5 * (move.hat.x_0_hat + again.x_0_hat)
            return move.c.signal_s.float() * x_0 + 0.75 * move.c.noise_s.float() * move.hat.eps_hat

        return step

    def script_step(self):
        return [
            "    again, _ = predict(0.5 * x, t)",
            "    signal, noise = amplitudes(log_alpha_bar[s] if s >= 0 else torch.zeros((), dtype=torch.float64))",
            "    x = signal * (0.5 * (x_0 + again)) + 0.75 * noise * eps",
        ]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    sampler = Toy(name="toy", title="Toy 2", source="this test", calls=2, calls_to_picture=2, spacing="quadratic")
    monkeypatch.setitem(SAMPLERS, "toy", sampler)
    return sampler


@pytest.fixture
def services(catalogue):
    return Services(OPTIONS, catalogue)


@pytest.fixture
def clothes(catalogue):
    return catalogue.checkpoint("clothes")


def values_of(checkpoint, **changes) -> dict:
    """What a run's controls hold."""
    steps = {"num_inference_steps": STEPS, "num_images": 2}
    return {"checkpoint": checkpoint.name} | defaults(checkpoint, OPTIONS) | steps | {"sampler": "toy"} | changes


def test_the_page_offers_it(services, clothes):
    for language in LANGUAGES:
        assert ("Toy 2", "toy") in control_props(language, clothes, OPTIONS)["sampler"]["choices"]
    with gr.Blocks() as page:
        form = RunControls(services)
        form.lay_out_basics()
        form.lay_out_sampler()
        assert ("Toy 2", "toy") in form.own["sampler"].choices
    assert any(
        '"toy": "quadratic"' in str(event["js"]) for event in page.config["dependencies"]
    )  # the timesteps follow
    meanings = control_meanings(values_of(clothes), clothes)
    assert not meanings["eta"]["visible"] and not meanings["reverse_variance"]["visible"]


def test_controls_links_and_recipes_keep_it(services, clothes):
    settings = settings_of(values_of(clothes, eta=0.7, reverse_variance="beta"), clothes, OPTIONS)
    assert (settings.sampler, settings.eta, settings.reverse_variance) == ("toy", None, "posterior")
    assert controls_of(settings, clothes)["sampler"] == "toy"
    query = to_query(settings)
    assert "sampler=toy&" in query
    fields = dict(pair.split("=") for pair in query.replace("%2C", ",").split("&"))
    assert from_query(fields) == settings == SamplingSettings.from_json(settings.to_json())

    pipeline = services.catalogue.pipeline("clothes")
    images = to_uint8(list(pipeline.steps(settings))[-1].x_s)
    recipe = Recipe.of(settings, images, 1, pipeline.denoiser(pipeline.plan(settings)).description)
    file = io.BytesIO()
    Image.fromarray(images[0, :, :, 0]).save(file, "PNG", pnginfo=png_text(recipe))
    assert read_png(file.getvalue())[0].settings == settings
    assert dict(json.loads(recipe.to_json()))["settings"]["sampler"] == "toy"


def test_it_costs_what_it_says(services, clothes):
    settings = settings_of(values_of(clothes), clothes, OPTIONS)
    plan = services.catalogue.pipeline("clothes").plan(settings)
    assert (plan.calls, plan.evaluations, plan.is_guided) == (2 * STEPS, 4 * STEPS, False)
    latency = Latency()
    latency._seconds["clothes"] = (1.0, 0.25)
    assert latency.expected_seconds("clothes", plan) == 2 * STEPS + 0.25 * 4 * STEPS
    for language in LANGUAGES:
        assert str(2 * STEPS) in plan_sentence(plan, language) and "guidance" not in plan_sentence(plan, language)
        assert before(plan, language)


def test_programs_may_ask_for_it(services):
    with gr.Blocks() as page:
        gr.api(make_generate(services), api_name="generate")
    described = page.get_api_info()["named_endpoints"]["/generate"]["parameters"]
    listed = next(one for one in described if one["parameter_name"] == "sampler")["python_type"]["type"]
    assert all(repr(name) in listed for name in SAMPLERS), listed
    *_, (images, run) = make_generate(services)("clothes", sampler="toy", num_inference_steps=STEPS, num_images=2)
    assert len(images) == 2 and run["settings"]["sampler"] == "toy" and run["evaluations"] == 4 * STEPS


def test_explore_and_the_frontier_have_it(catalogue, clothes):
    assert "toy" in example("sampler", clothes, catalogue).split(", ")
    values = values_of(clothes, sampler="ddim", class_choice="none")
    own = {"axis_1": "sampler", "axis_1_values": "ddim, Toy", "axis_2": "", "axis_3": "", "axis_2_values": "",
           "axis_3_values": ""}  # fmt: skip
    grid = grid_of(own, values, catalogue, OPTIONS)
    assert [cell.plan.settings.sampler for cell in grid.cells] == ["ddim", "toy"]
    assert [job.calls for job in grid.jobs] == [STEPS, 2 * STEPS]
    for language in LANGUAGES:
        assert explore_views.value_words(grid.axes[0], "toy", clothes, language) == "Toy 2"
        assert ("Toy 2", "toy") in pickable("sampler", clothes, catalogue, language)

    frontier = frontier_of(
        FRONTIER | {"frontier_steps": "2, 3", "frontier_etas": "0, unipc, toy", "frontier_samples": 60},
        values, catalogue, OPTIONS,
    )  # fmt: skip
    assert [one.settings.sampler for one in frontier.measurements] == [
        name for name in ("ddim", "unipc", "toy") for _ in (2, 3)
    ]
    own_runs = [dataclasses.replace(one, reference=one.job) for one in frontier.measurements]  # no thousand steps here
    found = {step.job.key: step.result for one in own_runs for step in run_jobs([one.job]) if step.is_last}
    points = [dataclasses.replace(one.point(found), value=0.5) for one in own_runs]
    assert [point.calls for point in points] == [2, 3, 2, 3, 4, 6]
    for language in LANGUAGES:
        chart, _ = frontier_plots(points, language)
        colors = chart.spec["layer"][0]["encoding"]["color"]["scale"]
        assert "Toy 2" in colors["domain"] and len(set(colors["range"])) == 3
        assert "Toy 2" in explore_views.frontier_html(points)
    assert "toy" in frontier_csv(points)


def test_its_script_makes_its_pictures(services, checkpoints, tmp_path, monkeypatch):
    pipeline = services.catalogue.pipeline("clothes").with_engine(None)
    settings = SamplingSettings(checkpoint="clothes", sampler="toy", num_inference_steps=STEPS, num_images=2)
    source = python_script(pipeline.plan(settings), pipeline.scheduler.config, "clothes")
    assert source.startswith('"""clothes: Toy 2 in 4 steps, seeds 0 to 1."""')
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        exec(source.replace("checkpoints/clothes", str(checkpoints / "clothes")), {})
    made = np.stack([np.atleast_3d(np.asarray(Image.open(tmp_path / f"clothes-{seed}.png"))) for seed in (0, 1)])
    assert (made == to_uint8(list(pipeline.steps(settings))[-1].x_s)).all()


def test_a_stranger_is_refused_with_the_names(clothes):
    with pytest.raises(ValueError, match=r"^sampler: Input should be 'ddim', .* or 'toy', got 'euler'") as caught:
        settings_of(values_of(clothes, sampler="euler"), clothes, OPTIONS)
    assert "、toy 之一" in explain(caught.value, "zh")
