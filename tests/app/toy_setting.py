"""Checks where the toy setting of test_toy_setting.py appears; that test runs this file in a copy with the setting."""

import io
import json
import re
from urllib.parse import parse_qsl

import gradio as gr
import pytest
from PIL import Image

import diffusion
from app.api.runs import make_generate
from app.compare.tab import CompareTab
from app.controls.spec import control_meanings, control_props
from app.controls.values import DEFAULTS, controls_of, defaults, settings_of
from app.explore.grids import example, grid_of, values_hint
from app.explore.render import value_words
from app.explore.tab import ExploreTab
from app.generate.explanations import explanations
from app.generate.tab import GenerateTab
from app.server.options import Options
from app.server.services import Services
from app.texts import LANGUAGES, texts
from app.texts.messages import explain
from diffusion.errors import AxisError, FieldError
from diffusion.experiments.axes import FIELDS, Axis
from diffusion.experiments.grid import same_pictures, varied
from diffusion.pixels import to_uint8
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import Recipe, from_query, png_text, read_png, to_query
from tests.app.running import REPOSITORY

OPTIONS = Options()
STEPS = 4
LABEL = "noise_scale (sd)"
INFO = "How much of the fresh noise is added."
REFUSED = "noise_scale: Input should be less than or equal to 2, got 2.5"


@pytest.fixture(autouse=True)
def is_the_copy():
    assert diffusion.__path__[0] == str(REPOSITORY / "diffusion")


@pytest.fixture(scope="module")
def services(catalogue):
    return Services(OPTIONS, catalogue)


@pytest.fixture(scope="module")
def clothes(catalogue):
    return catalogue.checkpoint("clothes")


def values_of(checkpoint, **changes) -> dict:
    """What a run's controls hold."""
    short = {"sampler": "ddpm", "num_inference_steps": STEPS, "num_images": 2}
    return {"checkpoint": checkpoint.name} | defaults(checkpoint, OPTIONS) | short | changes


def run(**changes) -> SamplingSettings:
    return SamplingSettings(checkpoint="clothes", sampler="ddpm", num_inference_steps=STEPS, num_images=2, **changes)


def test_every_tab_has_its_control(services):
    with gr.Blocks():
        language = gr.Radio([*LANGUAGES])
        generate = GenerateTab(services, language, gr.BrowserState([]))
        compare, explore = CompareTab(services, language), ExploreTab(services, language)
    forms = {"generate": generate.form, "a": compare.forms[0], "b": compare.forms[1], "explore": explore.form}
    for name, form in forms.items():
        control = form.own["noise_scale"]
        assert isinstance(control, gr.Slider), name
        assert (control.minimum, control.maximum, control.step, control.value) == (0, 2, 0.1, 1.0)
        assert (control.label, control.info, control.visible) == (LABEL, INFO, False)
        chips = form.rewrite("en", {"checkpoint": "clothes"} | DEFAULTS)[form.chips["noise_scale"]]
        assert re.findall(r'data-value="([^"]*)"', chips) == ["0.5", "1"]
        assert control in form.inputs and control in form.worded and control in form.adapted
    assert len({form.own["noise_scale"] for form in forms.values()}) == len(forms)
    for axis in ("axis_1", "axis_2", "axis_3"):
        assert "noise_scale" in [value for _, value in explore.axes.own[axis].choices]


def test_it_shows_where_it_applies_and_is_not_looked_at_elsewhere(services, clothes):
    assert defaults(clothes, OPTIONS)["noise_scale"] == 1.0
    for sampler, shows in (("ddpm", True), ("ddim", False), ("unipc", False)):
        values = values_of(clothes, sampler=sampler, noise_scale=0.5)
        assert control_meanings(values, clothes)["noise_scale"] == {"visible": shows}
        settings = settings_of(values, clothes, OPTIONS)
        assert settings.noise_scale == (0.5 if shows else 1.0)
        assert controls_of(settings, clothes)["noise_scale"] == settings.noise_scale
    with gr.Blocks():
        tab = GenerateTab(services, gr.Radio([*LANGUAGES]), gr.BrowserState([]))
    shown = tab.form.adapt(values_of(clothes, sampler="ddim"))
    assert shown[tab.form.own["noise_scale"]]["visible"] is False


@pytest.mark.parametrize("value", [2.5, -0.1, None, "1", True, float("nan")])
def test_its_range_is_kept_and_its_error_names_it(clothes, value):
    with pytest.raises(FieldError, match=r"^noise_scale: ") as caught:
        settings_of(values_of(clothes, noise_scale=value), clothes, OPTIONS)
    for language in LANGUAGES:
        assert explain(caught.value, language).startswith("noise_scale")


def test_where_it_has_no_meaning_a_run_may_not_set_it(clothes):
    with pytest.raises(FieldError, match=r"^noise_scale: has no meaning with this sampler, got 0.5") as caught:
        run(noise_scale=0.5).replace(sampler="ddim")
    assert explain(caught.value, "en") == "noise_scale: has no meaning with this choice of “Sampler”, got 0.5."
    assert "采样方法" in explain(caught.value, "zh")
    assert varied(run(noise_scale=0.5), {"sampler": "ddim"}).noise_scale == 1.0


def test_programs_may_ask_for_it(services):
    endpoint = make_generate(services)
    with gr.Blocks() as page:
        gr.api(endpoint, api_name="generate")
    described = page.get_api_info()["named_endpoints"]["/generate"]["parameters"]
    assert described[-1]["parameter_name"] == "noise_scale" and described[-1]["parameter_default"] == 1.0
    assert described[-1]["type"] == {"type": "number"}
    assert f"noise_scale: {INFO}" in endpoint.__doc__
    given = {"sampler": "ddpm", "num_inference_steps": STEPS}
    *_, (images, made) = endpoint("clothes", noise_scale=0.5, **given)
    assert len(images) == 1 and made["settings"]["noise_scale"] == 0.5
    with pytest.raises(gr.Error) as caught:
        list(endpoint("clothes", noise_scale=2.5, **given))
    assert caught.value.message == REFUSED


def test_explore_has_its_axis(catalogue, clothes):
    assert FIELDS[-1] == "noise_scale"
    assert example("noise_scale", clothes, catalogue) == "0-2[5]"
    assert Axis.of("axis_1", "noise_scale", "0-2[5], 0.2").values == (0, 0.5, 1, 1.5, 2, 0.2)
    own = {"axis_1": "noise_scale", "axis_1_values": "0, 1, 2", "axis_2": "", "axis_2_values": "", "axis_3": "",
           "axis_3_values": ""}  # fmt: skip
    grid = grid_of(own, values_of(clothes), catalogue, OPTIONS)
    assert [cell.plan.settings.noise_scale for cell in grid.cells] == [0, 1, 2]
    assert len({job.key for job in grid.jobs}) == 3
    for language in LANGUAGES:
        assert value_words(grid.axes[0], 0.5, clothes, language) == "0.5 sd"
        assert "0-2[5]" in values_hint("noise_scale", clothes, language)
    with pytest.raises(AxisError, match="axis_1, value 2: noise_scale: Input should be less than or equal to 2"):
        grid_of(own | {"axis_1_values": "1, 3"}, values_of(clothes), catalogue, OPTIONS)


def test_links_and_recipes_keep_it(services):
    settings = run(noise_scale=0.5)
    query = to_query(settings)
    assert "noise_scale=0.5" in query
    assert from_query(dict(parse_qsl(query))) == settings == SamplingSettings.from_json(settings.to_json())
    with pytest.raises(FieldError, match=f"^{REFUSED}$"):
        from_query(dict(parse_qsl(query)) | {"noise_scale": "2.5"})

    pipeline = services.catalogue.pipeline("clothes")
    images = to_uint8(list(pipeline.steps(settings))[-1].x_s)
    recipe = Recipe.of(settings, images, 1, pipeline.denoiser(pipeline.plan(settings)).description)
    file = io.BytesIO()
    Image.fromarray(images[0, :, :, 0]).save(file, "PNG", pnginfo=png_text(recipe))
    assert read_png(file.getvalue())[0].settings == settings
    old = json.loads(settings.to_json())
    del old["noise_scale"]
    assert SamplingSettings.from_json(json.dumps(old)).noise_scale == 1.0


def test_results_of_other_values_are_other_results(services):
    pipeline = services.catalogue.pipeline("clothes")
    keys = [same_pictures(pipeline.plan(run(noise_scale=scale))) for scale in (0.5, 1.0, 1.0)]
    assert keys[0] != keys[1] == keys[2]


def test_a_run_has_a_sentence_about_it(services):
    pipeline = services.catalogue.pipeline("clothes")
    for language in LANGUAGES:
        said = dict(explanations(pipeline.plan(run(noise_scale=0.5)), language))
        assert "0.5 sd" in said[LABEL] and INFO in said[LABEL]
        assert LABEL not in dict(explanations(pipeline.plan(run().replace(sampler="ddim")), language))


def test_its_texts_go_first(services, clothes, monkeypatch):
    words = {"controls.noise_scale.label": "Grain", "controls.noise_scale.info": "From {least} to {most}.",
             "explanations.noise_scale": "Grain of {value}.", "grids.values.noise_scale": "A number."}  # fmt: skip
    for key, text in words.items():
        monkeypatch.setitem(texts("en"), key, text)
    props = control_props("en", clothes, OPTIONS)["noise_scale"]
    assert (props["label"], props["info"]) == ("Grain (sd)", "From 0 to 2.")
    assert ("Grain (sd)", "Grain of 0.5 sd.") in explanations(
        services.catalogue.pipeline("clothes").plan(run(noise_scale=0.5)), "en"
    )
    assert values_hint("noise_scale", clothes, "en") == "A number."
    assert explain(FieldError("noise_scale", "missing"), "en") == "Grain: needs a value."
