"""The page as Gradio knows it: every event brings and answers values by component, never by position."""

import gradio as gr
import pytest

from app.demo import build_demo
from app.options import Options
from app.shop import Shop
from app.tabs.compare import CompareTab
from app.tabs.explore import ExploreTab
from app.tabs.generate import GenerateTab


@pytest.fixture(scope="module")
def tabs(checkpoints, catalogue):
    shop = Shop(Options(checkpoints=checkpoints), catalogue)
    with gr.Blocks():
        language = gr.Radio(["en", "zh"])
        return (
            GenerateTab(shop, language, gr.BrowserState([])),
            CompareTab(shop, language),
            ExploreTab(shop, language),
        )


def test_no_event_sends_values_by_position(checkpoints):
    """But those of the public endpoints, whose parameters have names, and what draws a chapter."""
    demo = build_demo(Options(checkpoints=checkpoints))
    asked = [one for one in demo.fns.values() if one.fn and one.api_visibility != "public" and one.inputs]
    by_position = {one.name for one in asked if not one.inputs_as_dict}
    assert len(asked) > 20 and by_position == {"apply"}  # of gr.render


@pytest.mark.parametrize("query", ["checkpoint=nobody", "seed=abc", "checkpoint=broken", "eta=7"])
def test_a_link_that_cannot_be_used_is_told_in_the_pictures_place(tabs, query):
    generate, _, _ = tabs
    shown = generate.open("en", query=query)
    assert set(shown) == generate.whole
    assert "This link cannot be used here" in shown[generate.stage]
    told = [place for place, value in shown.items() if "This link cannot be used here" in str(value)]
    assert told == [generate.stage]


def test_a_link_of_the_other_tabs_that_cannot_be_used_is_told_in_one_place(tabs):
    _, compare, explore = tabs
    for tab, query, place in (
        (compare, "tab=compare&preset=nothing", "strips"),
        (explore, "base.seed=abc", "progress"),
    ):
        shown = tab.open("en", query)
        assert set(shown) == tab.whole - {compare.link}  # of an address that nobody asked for yet
        told = [one for one, value in shown.items() if "This link cannot be used here" in str(value)]
        assert told == [getattr(tab, place)]


def test_a_grid_that_may_not_run_leaves_the_one_on_the_page(checkpoints, catalogue):
    shown = {}
    for cost in (100_000, 1):
        with gr.Blocks():
            tab = ExploreTab(Shop(Options(checkpoints=checkpoints, max_cost=cost), catalogue), gr.Radio(["en", "zh"]))
        own, values = tab.axes.of_preset("steps", "clothes")
        shown[cost] = {name for name in ("plan", "grid", "outcome", "link")
                       if getattr(tab, name) in tab.tell("en", own, values)}  # fmt: skip
    assert shown == {100_000: {"plan", "grid", "outcome", "link"}, 1: {"plan", "link"}}


def test_every_place_of_a_tab_is_answered_in_both_languages(tabs):
    _, compare, _ = tabs
    for tab in tabs:
        shown = {language: tab.open(language) for language in ("en", "zh")}
        assert set(shown["en"]) == set(shown["zh"]) == tab.whole - {compare.link}
