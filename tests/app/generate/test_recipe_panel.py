"""The list of runs that a browser remembers, for any content of its storage."""

import gradio as gr
import pytest

from app.generate.recipe_panel import RecipePanel
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import to_query

GOOD = to_query(SamplingSettings(sampler="ddim", num_inference_steps=7, seed=3, checkpoint="clothes"))


@pytest.fixture
def panel():
    with gr.Blocks():
        made = RecipePanel(None, gr.BrowserState([]))
        made.lay_out_history()
        return made


@pytest.mark.parametrize("other", ["clothes", "", "a=b", "eta=nan", "=&" * 300, None, 5, ["seed=1"]])
def test_what_is_no_run_is_passed_over(panel, other):
    (name, query), *rest = panel.recall("en", [other, GOOD])[panel.history]["choices"]
    assert (query, rest) == (GOOD, [])
    assert "7 steps" in name and "seed 3" in name


@pytest.mark.parametrize("known", [None, "clothes", {"seed": 1}, 7, []])
def test_what_is_no_list_has_no_runs(panel, known):
    assert panel.recall("zh", known)[panel.history]["choices"] == []
