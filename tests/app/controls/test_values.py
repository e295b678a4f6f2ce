"""From the controls to a run's settings: which values count, which are dropped, and which are refused."""

import math

import gradio as gr
import pytest

from app.compare.tab import CompareTab
from app.controls.codecs import NO_CLASS, class_label, trained_betas
from app.controls.sentences import plan_sentence
from app.controls.spec import control_meanings, control_props
from app.controls.values import DEFAULTS, controls_of, defaults, kept_values, plan_run, settings_of
from app.server.options import Options, parse
from app.server.services import Services
from app.texts.messages import Refusal
from app.texts.numbers import percent
from diffusion.settings import SamplingSettings

OPTIONS = Options()


@pytest.fixture(scope="module")
def clothes(catalogue):
    return catalogue.checkpoint("clothes")


@pytest.fixture(scope="module")
def faces(catalogue):
    return catalogue.checkpoint("faces")


def values_of(checkpoint, **changes):
    return {"checkpoint": checkpoint.name} | defaults(checkpoint, OPTIONS) | changes


def test_defaults_are_the_settings_own(clothes):
    count = DEFAULTS["num_images"]
    expected = SamplingSettings(
        checkpoint="clothes", eta=0.0, num_images=count, class_label=tuple(number % 3 for number in range(count))
    )
    assert settings_of(values_of(clothes), clothes, OPTIONS) == expected


def test_trained_betas_are_no_betas_of_ones_own(clothes, faces):
    for checkpoint in (clothes, faces):
        assert not settings_of(values_of(checkpoint), checkpoint, OPTIONS).has_own_betas
    nearly = values_of(clothes, beta_end=0.020000000000000004)
    assert not settings_of(nearly, clothes, OPTIONS).has_own_betas


def test_other_betas_are_stated_whole(clothes, faces):
    settings = settings_of(values_of(clothes, beta_end=0.05), clothes, OPTIONS)
    assert (settings.beta_schedule, settings.beta_start, settings.beta_end) == ("linear", 0.0001, 0.05)
    settings = settings_of(values_of(clothes, beta_schedule="squaredcos_cap_v2"), clothes, OPTIONS)
    assert (settings.beta_schedule, settings.beta_start, settings.beta_end) == ("squaredcos_cap_v2", None, None)
    settings = settings_of(values_of(faces, beta_schedule="linear"), faces, OPTIONS)
    assert (settings.beta_schedule, settings.beta_start, settings.beta_end) == ("linear", 0.0001, 0.02)


def test_what_means_nothing_is_not_looked_at(clothes, faces):
    ddim = settings_of(values_of(clothes, reverse_variance="beta", eta=0.5), clothes, OPTIONS)
    assert (ddim.reverse_variance, ddim.eta) == ("posterior", 0.5)
    ddpm = settings_of(values_of(clothes, sampler="ddpm", reverse_variance="beta", eta=0.5), clothes, OPTIONS)
    assert (ddpm.reverse_variance, ddpm.eta) == ("beta", None)
    unipc = settings_of(values_of(clothes, sampler="unipc", reverse_variance="beta", eta=0.5), clothes, OPTIONS)
    assert (unipc.reverse_variance, unipc.eta) == ("posterior", None)
    meanings = control_meanings(values_of(clothes, sampler="unipc"), clothes)
    assert not meanings["eta"]["visible"] and not meanings["reverse_variance"]["visible"]
    assert settings_of(values_of(faces, guidance_scale=3.0), faces, OPTIONS).guidance_scale == 1
    assert settings_of(values_of(clothes, class_choice="none", guidance_scale=3), clothes, OPTIONS).guidance_scale == 1


def test_whole_numbers_come_from_javascript_as_floats(clothes):
    settings = settings_of(values_of(clothes, num_inference_steps=20.0, seed=7.0, num_images=2.0), clothes, OPTIONS)
    assert (settings.num_inference_steps, settings.seed, settings.num_images) == (20, 7, 2)


@pytest.mark.parametrize("choice, label", [("mixed", (0, 1, 2, 0)), ("none", None), ("0", 0), ("2", 2)])
def test_classes(choice, label):
    assert class_label(choice, 4, 3) == label
    assert class_label(choice, 4, 0) is None


BAD = [None, "", "x", "1", [], {}, True, math.nan, math.inf, -math.inf, -1, 1e30]


@pytest.mark.parametrize(
    "field", ["num_inference_steps", "num_images", "seed", "guidance_scale", "eta", "beta_start", "beta_end"]
)
@pytest.mark.parametrize("value", BAD, ids=repr)
def test_bad_values_are_refused_by_name(clothes, field, value):
    with pytest.raises(ValueError, match=rf"(?m)^{field}: "):
        settings_of(values_of(clothes, **{field: value}), clothes, OPTIONS)


@pytest.mark.parametrize("field", ["num_inference_steps", "num_images", "seed"])
def test_halves_are_no_whole_numbers(clothes, field):
    with pytest.raises(ValueError, match=rf"{field}: .*integer"):
        settings_of(values_of(clothes, **{field: 1.5}), clothes, OPTIONS)


@pytest.mark.parametrize("field", ["sampler", "reverse_variance", "timestep_spacing", "conditioning", "beta_schedule"])
@pytest.mark.parametrize("value", [None, "", "x", [], {}, True, math.nan, 3], ids=repr)
def test_bad_choices_are_refused_by_name(clothes, field, value):
    values = values_of(clothes, sampler="ddpm") | {field: value}
    with pytest.raises(ValueError, match=field):
        settings_of(values, clothes, OPTIONS)


@pytest.mark.parametrize(
    "value", [None, "x", "-1", "3", 0, [], {}, True, math.nan, "0" * 1000], ids=lambda v: repr(v)[:9]
)
def test_bad_classes_are_refused(clothes, value):
    with pytest.raises(ValueError, match="What to draw"):
        settings_of(values_of(clothes, class_choice=value), clothes, OPTIONS)


@pytest.mark.parametrize("value", [None, 1, "yes", [], math.nan], ids=repr)
def test_bad_clipping_is_refused(clothes, value):
    with pytest.raises(ValueError, match="clip_sample"):
        settings_of(values_of(clothes, clip_sample=value), clothes, OPTIONS)


def test_a_request_has_a_size(catalogue, clothes):
    services = Services(Options(max_cost=100, max_images=8), catalogue)
    values = values_of(clothes, num_inference_steps=25, num_images=4)
    assert plan_run(services, values)[1].evaluations == 100
    for change in ({"num_inference_steps": 26}, {"num_images": 5}, {"guidance_scale": 2.0}):
        with pytest.raises(ValueError, match=r"Steps × pictures: .* 100 "):
            plan_run(services, values | change)
    with pytest.raises(ValueError, match=r"Number of pictures: .* 1 to 8"):
        plan_run(services, values | {"num_images": 9})


def test_the_plan_says_what_a_run_does(catalogue, clothes):
    values = values_of(clothes, num_inference_steps=20, num_images=3)
    plan = plan_run(Services(OPTIONS, catalogue), values)[1]
    english, chinese = plan_sentence(plan, "en"), plan_sentence(plan, "zh")
    for sentence in (english, chinese):
        for number in ("20", "999", "60", percent(plan.signal_left)):
            assert number in sentence
    assert "twice" not in english
    guided = plan_run(Services(OPTIONS, catalogue), values | {"guidance_scale": 2.0, "beta_end": 0.1})[1]
    assert "twice" in plan_sentence(guided, "en") and "120" in plan_sentence(guided, "en")
    assert "not those of the training" in plan_sentence(guided, "en")


@pytest.mark.parametrize("share, said", [(0.00635, "0.635%"), (1.0, "100%"), (0.9999, "99.99%"), (0.28, "28%")])
def test_percent(share, said):
    assert percent(share) == said


def test_controls_that_mean_nothing_are_hidden(clothes, faces):
    def shown(checkpoint, **changes):
        return control_meanings(values_of(checkpoint, **changes), checkpoint)

    assert shown(clothes)["eta"]["visible"] and not shown(clothes)["reverse_variance"]["visible"]
    assert not shown(clothes, sampler="ddpm")["eta"]["visible"]
    assert shown(clothes, sampler="ddpm")["reverse_variance"]["visible"]
    assert shown(clothes)["guidance_scale"]["visible"]
    assert not shown(clothes, class_choice="none")["guidance_scale"]["visible"]
    assert not shown(faces)["class_choice"]["visible"]
    assert not shown(faces)["beta_start"]["visible"]
    assert shown(faces, beta_schedule="linear")["beta_start"]["visible"]
    assert not shown(clothes)["conditioning"]["interactive"]
    assert shown(clothes, beta_end=0.1)["conditioning"]["interactive"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_trained_values_are_marked(clothes, language):
    props = control_props(language, clothes, OPTIONS)
    assert "0.0001" in props["beta_start"]["info"]
    assert "0.02" in props["beta_end"]["info"]
    marked = next(shown for shown, value in props["beta_schedule"]["choices"] if value == "linear")
    others = [shown for shown, value in props["beta_schedule"]["choices"] if value != "linear"]
    word = {"en": "trained", "zh": "训练"}[language]
    assert word in marked and others and not any(word in shown for shown in others)
    for name, value in trained_betas(clothes).items():
        if name != "beta_schedule":
            assert props[name]["minimum"] <= value <= props[name]["maximum"]


def test_flags():
    assert parse([]) == Options()
    assert parse(["--max-cost", "7", "--port", "80"]) == Options(max_cost=7, port=80)


@pytest.mark.parametrize(
    "arguments",
    [["--max-cost", "0"], ["--max-cost", "many"], ["--port", "99999"], ["--checkpoints", "/no/such/folder"]],
)
def test_bad_flags_end_in_a_sentence(arguments, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"class_choice": "2", "guidance_scale": 3.5, "num_images": 4},
        {"class_choice": "none"},
        {"sampler": "ddpm", "reverse_variance": "beta", "num_inference_steps": 1000},
        {"eta": 0.4, "timestep_spacing": "trailing", "clip_sample": False, "seed": 77},
        {"beta_start": 0.001, "beta_end": 0.05, "conditioning": "naive"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "sigmoid", "num_images": 1},
    ],
)
@pytest.mark.parametrize("name", ["clothes", "faces"])
def test_controls_and_settings_are_each_others_inverse(catalogue, name, changes):
    checkpoint = catalogue.checkpoint(name)
    if changes.get("num_inference_steps", 0) > checkpoint.num_train_timesteps:
        changes = changes | {"num_inference_steps": checkpoint.num_train_timesteps}
    settings = settings_of(values_of(checkpoint, **changes), checkpoint, OPTIONS)
    again = settings_of(controls_of(settings, checkpoint), checkpoint, OPTIONS)
    assert again.replace(class_label=None, guidance_scale=1.0) == settings.replace(class_label=None, guidance_scale=1.0)
    plans = [Services(OPTIONS, catalogue).catalogue.pipeline(name).plan(run) for run in (settings, again)]
    assert plans[0].class_labels == plans[1].class_labels and again.guidance_scale == settings.guidance_scale


def test_one_picture_of_a_mixed_run_is_one_class(clothes):
    settings = settings_of(values_of(clothes), clothes, OPTIONS).part(5, 6)
    assert controls_of(settings, clothes)["class_choice"] == "2"


@pytest.mark.parametrize("fields", [{"start_step": 3}, {"num_images": 3, "class_label": (0, 2, 2)}])
def test_what_has_no_control_is_said(clothes, fields):
    with pytest.raises(Refusal, match="has no control on this page"):
        controls_of(SamplingSettings(checkpoint="clothes", **fields), clothes)


def test_another_checkpoint_in_compare_sets_what_it_changes_and_nothing_else(catalogue, clothes, faces):
    """What it leaves alone may have been changed by the visitor before its answer comes."""
    with gr.Blocks() as demo:
        tab = CompareTab(Services(OPTIONS, catalogue), gr.Radio(["en", "zh"]))
    of_a, of_b = values_of(clothes, num_inference_steps=40, seed=7) | {"checkpoint": "faces"}, values_of(clothes)
    a, b = tab.forms
    sent = {tab.language: "en", tab.presets.chosen: "ddpm-ddim"}
    for form, of_run in ((a, of_a), (b, of_b)):
        sent |= {control: of_run[name] for name, control in form.own.items()}
    sent |= {a.own["seed"]: 7, a.own["num_images"]: 4}
    asked = [event for event in demo.fns.values() if event.fn]  # the others are the page's own
    (chosen,) = [event for event in asked if (a.controls["checkpoint"]._id, "input") in event.targets]
    found = chosen.fn(sent)
    assert set(found) == a.worded
    own = {name: found[control] for name, control in a.own.items()}
    assert "value" not in own["num_inference_steps"] and "value" not in own["sampler"]
    assert own["beta_schedule"]["value"] == defaults(faces, OPTIONS)["beta_schedule"]
    assert not {id(output) for output in chosen.outputs} & {id(control) for control in b.own.values()}


def kept(catalogue, values, name, **changes):
    """What is left of values on another checkpoint, and the settings of its run."""
    services, checkpoint = Services(OPTIONS, catalogue), catalogue.checkpoint(name)
    found = kept_values(services, values | changes, checkpoint)
    return found, services.plan(settings_of(found, checkpoint, OPTIONS))[1].settings


def test_another_checkpoint_keeps_what_fits(catalogue, clothes, faces):
    values = values_of(clothes, seed=77, num_images=3, num_inference_steps=9, sampler="unipc", clip_sample=False)
    found, settings = kept(catalogue, values, "faces", beta_end=0.5)
    for name in ("seed", "num_images", "num_inference_steps", "sampler", "clip_sample"):
        assert found[name] == values[name] == getattr(settings, name)
    assert found["checkpoint"] == "faces" and not settings.has_own_betas


def test_what_does_not_fit_becomes_the_checkpoints_own(catalogue, clothes, faces):
    own = defaults(faces, OPTIONS)
    for name, value in (("num_inference_steps", 100_000), ("seed", "x"), ("num_images", 10**6), ("eta", None)):
        found, _ = kept(catalogue, values_of(clothes, seed=5, sampler="ddim"), "faces", **{name: value})
        assert found[name] == own[name]
        assert name == "seed" or found["seed"] == 5
    assert kept(catalogue, values_of(clothes), "clothes", class_choice="2")[0]["class_choice"] == own["class_choice"]
    assert kept(catalogue, values_of(clothes), "clothes", class_choice=NO_CLASS)[0]["class_choice"] == NO_CLASS
