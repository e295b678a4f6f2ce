"""The page and the endpoints follow the settings' fields, in the places that old links, clients and users expect."""

import dataclasses
import inspect
import re

import gradio as gr
import pytest

from app.api.fields import fields_of
from app.api.runs import make_generate, make_schedule
from app.controls.codecs import CODECS, CONTROLS
from app.controls.panel import ADAPTED, OF_BOTH, RunControls
from app.controls.spec import control_props
from app.controls.values import DEFAULTS
from app.server.options import Options
from app.server.services import Services

PARAMETERS = {
    "checkpoint": inspect.Parameter.empty, "sampler": "ddim", "num_inference_steps": 50, "timestep_spacing": "trailing",
    "start_step": 0, "eta": None, "reverse_variance": "posterior", "clip_sample": True, "beta_schedule": None,
    "beta_start": None, "beta_end": None, "conditioning": "matched", "seed": 0, "num_images": 1, "class_label": None,
    "guidance_scale": 1.0, "start": "noise",
}  # fmt: skip
GROUPS = {
    "basics": ["checkpoint", "class_choice", "sampler", "num_inference_steps"],
    "schedule": ["beta_schedule", "beta_start", "beta_end", "conditioning", "start"],
    "sampler": ["eta", "reverse_variance", "timestep_spacing", "clip_sample"],
}


@pytest.fixture
def services(catalogue):
    return Services(Options(), catalogue)


def test_old_clients_find_the_parameters_in_their_places(services):
    """They may send them by place: new ones come behind."""
    parameters = inspect.signature(make_generate(services)).parameters.values()
    assert {one.name: one.default for one in parameters} == PARAMETERS
    assert [one.name for one in parameters] == list(PARAMETERS)
    schedule = inspect.signature(make_schedule(services)).parameters
    assert list(schedule) == [
        "checkpoint", "num_inference_steps", "timestep_spacing", "start_step", "beta_schedule", "beta_start",
        "beta_end", "conditioning",
    ]  # fmt: skip
    assert fields_of(make_schedule(services), ["clothes", 3], {"start_step": 1})["num_inference_steps"] == 3


def test_every_parameter_is_described(services):
    for endpoint in (make_generate(services), make_schedule(services)):
        _, described, returned = gr.utils.get_function_description(endpoint)
        assert all(described.values()) and returned
        assert list(described) == list(inspect.signature(endpoint).parameters)


@pytest.mark.parametrize("group", GROUPS)
def test_controls_stand_in_their_places(services, group):
    with gr.Blocks():
        form = RunControls(services)
        form.lay_out_basics()
        known = set(form.own)
        if group == "basics":
            assert list(form.own) == GROUPS[group]
            return
        getattr(form, f"lay_out_{group}")()
    assert [name for name in form.own if name not in known] == GROUPS[group]


def test_each_setting_has_one_codec_and_each_control_a_value():
    assert {codec.setting.name for codec in CODECS.values()} == set(CODECS)
    assert set(DEFAULTS) == set(CONTROLS) - {"checkpoint"}
    assert set(ADAPTED) == {
        "beta_schedule", "beta_start", "beta_end", "conditioning", "class_choice", "guidance_scale", "eta",
        "reverse_variance",
    }  # fmt: skip
    assert OF_BOTH == ("seed", "num_images")


def test_a_logarithmic_track_hits_the_trained_values(catalogue):
    checkpoint = dataclasses.replace(catalogue.checkpoint("clothes"), beta_end=0.0123)
    props = control_props("en", checkpoint, Options())
    assert props["beta_start"]["elem_classes"] == ["control-beta_start", "log-scale", "hits-0.0001"]
    assert props["beta_end"]["elem_classes"] == ["control-beta_end", "log-scale", "hits-0.0123"]
    assert props["num_inference_steps"]["elem_classes"] == ["control-num_inference_steps"]


def test_chips_follow_the_checkpoint_and_the_language(services):
    with gr.Blocks():
        form = RunControls(services)
        form.lay_out_basics()
        form.lay_out_schedule()
    for name, last, values in (("clothes", 1000, "10 20 50 100 1000"), ("faces", 100, "10 20 50 100")):
        chips = form.rewrite("zh", {"checkpoint": name} | DEFAULTS)[form.chips["num_inference_steps"]]
        assert re.findall(r'data-value="(\d+)"', chips) == values.split()
        assert f"全部 {last}" in chips and f"all {last}" in chips and 'aria-label="步数（迭代步数）"' in chips
