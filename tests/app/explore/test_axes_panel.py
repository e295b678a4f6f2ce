"""Explore's own controls: when a preset's words stand, names of other programs, and links to a grid."""

import gradio as gr
import pytest

from app.explore.axes_panel import ExploreControls
from app.explore.value_names import value_names
from app.server.options import Options
from app.server.services import Services
from diffusion.experiments.axes import Axis


@pytest.fixture
def axes(catalogue):
    with gr.Blocks():
        made = ExploreControls(Services(Options(), catalogue))
        made.lay_out_preset()
        return made


@pytest.mark.parametrize(
    ("changes", "preset", "shared"),
    [
        ({}, "steps", None),
        ({"seed": 7, "num_images": 2, "class_choice": "1"}, "steps", None),
        ({"num_inference_steps": 9, "sampler": "unipc"}, "steps", None),  # both are on an axis
        ({"eta": 1.0}, "own", "In all cells: η (eta): 1."),
        ({"eta": 0.5, "class_choice": "1"}, "own", "In all cells: Trousers · η (eta): 0.5."),
        ({"clip_sample": False}, "own", "In all cells: "),
        ({"guidance_scale": 3}, "own", "In all cells: "),
        ({"num_images": 0}, "steps", None),  # what is wrong is said elsewhere
        ({"num_images": 0, "eta": 1.0}, "own", None),
    ],
)
def test_a_presets_words_stand_only_at_its_own_settings(axes, changes, preset, shared):
    own, values = axes.of_preset("steps", "clothes")
    shown = axes.preset_told("en", own, values | changes)
    assert shown[axes.own["preset"]]["value"] == preset
    assert (shared is None and "In all cells" not in shown[axes.hint]) or shared in shown[axes.hint]


@pytest.mark.parametrize(
    ("typed", "samplers"),
    [("Euler a, Euler", ["ddpm", "ddim"]), ("euler_ancestral", ["ddpm"]), ("DPM++ 2M，uni_pc", ["dpmpp_2m", "unipc"])],
)
def test_samplers_have_the_names_of_other_programs(catalogue, typed, samplers):
    names = value_names("sampler", catalogue.checkpoint("clothes"), catalogue)
    assert list(Axis.of("axis_1", "sampler", typed, names).values) == samplers


@pytest.mark.parametrize("query", ["tab=explore", "tab=explore&utm_source=a", ""])
def test_an_address_without_a_grid_describes_none(axes, query):
    assert axes.linked(query) is None


def test_an_address_of_axes_alone_is_a_grid_of_the_first_checkpoint(axes):
    own, values = axes.linked("tab=explore&axis_1=banana&axis_1_values=1")
    assert (own["axis_1"], own["axis_2"]) == ("banana", "")
    assert values["checkpoint"] == axes.services.catalogue.default()
