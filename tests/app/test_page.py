"""The page as Gradio knows it: every event takes and returns values by component, never by position."""

from types import SimpleNamespace

import gradio as gr
import pytest

from app.compare.tab import CompareTab
from app.explore.tab import ExploreTab
from app.generate.tab import GenerateTab
from app.page import build_demo
from app.server.options import Options
from app.server.services import Services


@pytest.fixture(scope="module")
def tabs(checkpoints, catalogue):
    services = Services(Options(checkpoints=checkpoints), catalogue)
    with gr.Blocks():
        language = gr.Radio(["en", "zh"])
        return (
            GenerateTab(services, language, gr.BrowserState([])),
            CompareTab(services, language),
            ExploreTab(services, language),
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
    assert "This link cannot be used here" in shown[generate.run.stage]
    told = [place for place, value in shown.items() if "This link cannot be used here" in str(value)]
    assert told == [generate.run.stage]


def test_a_link_of_the_other_tabs_that_cannot_be_used_is_told_in_one_place(tabs):
    _, compare, explore = tabs
    for tab, query, place in (
        (compare, "tab=compare&preset=nothing", compare.outcome.strips),
        (explore, "base.seed=abc", explore.progress),
    ):
        shown = tab.open("en", query)
        assert set(shown) == tab.whole - {compare.link}  # of an address that nobody asked for yet
        told = [one for one, value in shown.items() if "This link cannot be used here" in str(value)]
        assert told == [place]


def test_a_grid_that_may_not_run_leaves_the_one_on_the_page(checkpoints, catalogue):
    shown = {}
    for cost in (100_000, 1):
        with gr.Blocks():
            tab = ExploreTab(
                Services(Options(checkpoints=checkpoints, max_cost=cost), catalogue), gr.Radio(["en", "zh"])
            )
        own, values = tab.axes.of_preset("steps", "clothes")
        places = {"plan": tab.plan, "cells": tab.grid.cells, "files": tab.grid.files, "link": tab.link}
        told = tab.tell("en", own, values)
        shown[cost] = {name for name, place in places.items() if place in told}
    assert shown == {100_000: set(places), 1: {"plan", "link"}}


def test_every_place_of_a_tab_is_answered_in_both_languages(tabs):
    _, compare, _ = tabs
    for tab in tabs:
        shown = {language: tab.open(language) for language in ("en", "zh")}
        assert set(shown["en"]) == set(shown["zh"]) == tab.whole - {compare.link}


class Counting:
    """A catalogue whose pipelines count what they plan."""

    def __init__(self, catalogue):
        self._catalogue, self.planned = catalogue, 0

    def __getattr__(self, name):
        return getattr(self._catalogue, name)

    def pipeline(self, name):
        return CountingPipeline(self, self._catalogue.pipeline(name))

    quick_pipeline = pipeline


class CountingPipeline:
    """Plans what its pipeline plans."""

    def __init__(self, counting: Counting, pipeline):
        self._counting, self._pipeline = counting, pipeline

    def __getattr__(self, name):
        return getattr(self._pipeline, name)

    def plan(self, settings):
        self._counting.planned += 1
        return self._pipeline.plan(settings)


def test_a_run_is_planned_once_a_click_and_once_a_move(checkpoints, catalogue):
    counting = Counting(catalogue)
    services = Services(Options(checkpoints=checkpoints), counting)
    request = SimpleNamespace(session_hash="x", headers={"referer": "http://localhost/"})
    with gr.Blocks() as blocks:
        language = gr.Radio(["en", "zh"])
        tabs = {
            "generate": GenerateTab(services, language, gr.BrowserState([])),
            "compare": CompareTab(services, language),
        }
    runs = {"generate": 1, "compare": 2}
    lines = {"generate": tabs["generate"].run.progress, "compare": tabs["compare"].outcome.progress}
    for name, tab in tabs.items():
        shown = tab.open("en")
        values = {
            part: update["value"] for part, update in shown.items() if isinstance(update, dict) and "value" in update
        }
        sent = {part: values.get(part) for part in tab.inputs} | {language: "en"}
        move = next(fn.fn for fn in blocks.fns.values() if fn.name == "adapt" and tab.inputs <= set(fn.inputs))
        before = counting.planned
        assert move(request, sent)
        assert counting.planned == before + runs[name]
        (click,) = [fn for fn in blocks.fns.values() if fn.name == "begin" and tab.inputs <= set(fn.inputs)]
        before = counting.planned
        begun = click.fn(request, dict.fromkeys(click.inputs) | sent)
        assert counting.planned == before + runs[name]
        (run,) = [fn for fn in blocks.fns.values() if fn.name == "run" and lines[name] in fn.outputs][:1]
        *_, last = run.fn(request, {part: begun[part] for part in run.inputs})
        assert lines[name] in last and counting.planned == before + runs[name]
