"""Checks where the toy language and chapter of test_toy_book.py appear; it runs this file in a copy with both."""

from types import SimpleNamespace

import gradio as gr
import pytest

import app
from app.controls.values import defaults
from app.generate.tab import GenerateTab
from app.maths.book import BY_NAME, CHAPTERS
from app.maths.scene import Scene
from app.maths.tab import MathsTab
from app.maths.words import NAMES, chapter_words
from app.page import build_demo
from app.server.options import Options
from app.server.services import Services
from app.texts import LANGUAGES, language_of, say
from app.texts.messages import explain
from app.ui.theme import css
from diffusion.errors import FieldError
from tests.app.running import REPOSITORY

REQUEST = SimpleNamespace(session_hash="x", headers={"referer": "http://localhost/"})


@pytest.fixture(autouse=True)
def is_the_copy():
    assert app.__path__[0] == str(REPOSITORY / "app")


@pytest.fixture(scope="module")
def services(catalogue):
    return Services(Options(), catalogue)


@pytest.fixture(scope="module")
def demo(checkpoints):
    return build_demo(Options(checkpoints=checkpoints))


def drawn(services, **query):
    """The maths tab as a link opens it: the tab, and what its components get."""
    with gr.Blocks():
        language = gr.Radio([*LANGUAGES])
        generate = GenerateTab(services, language, gr.BrowserState([]))
        tab = MathsTab(services, language, generate.form)
    opened = tab.open("&".join(f"{key}={value}" for key, value in {"tab": "maths", **query}.items()))
    return tab, language, opened


def test_the_page_offers_the_language(demo):
    (choice,) = [one for one in demo.blocks.values() if getattr(one, "elem_id", None) == "language"]
    assert ("Français", "fr") in choice.choices
    scripts = [one.js for one in demo.fns.values() if isinstance(one.js, str)]
    assert any('"fr": "fr-FR"' in script for script in scripts)  # the document's language
    assert ":lang(fr-FR)" in css()


def test_a_browser_that_asks_for_the_language_gets_it():
    assert language_of("fr-CA,fr;q=0.9,en;q=0.8") == "fr"
    assert say("fr", "page.title") == "Laboratoire DDPM"


def test_controls_and_errors_speak_it(services, catalogue):
    with gr.Blocks():
        tab = GenerateTab(services, gr.Radio([*LANGUAGES]), gr.BrowserState([]))
    values = {"checkpoint": "clothes"} | defaults(catalogue.checkpoint("clothes"), services.options)
    shown = tab.rewrite("fr", values, "http://localhost/")
    assert shown[tab.form.own["seed"]]["label"] == "Graine"
    assert explain(FieldError("seed", "missing"), "fr").startswith("Graine")


def test_the_chapter_is_in_the_contents_of_every_language(services):
    assert NAMES[-1] == "12-toy" == CHAPTERS[-1].name and BY_NAME["12-toy"].number == 12
    tab, language, _ = drawn(services)
    for code in LANGUAGES:
        sent = dict.fromkeys(tab.inputs) | {language: code, tab.chapter: "12-toy", tab.control_values: {}}
        shown = tab.turn(REQUEST, sent)
        assert ("12. A toy", "12-toy") in shown[tab.chapter]["choices"]


def test_a_link_opens_the_chapter_with_the_value_in_it(services):
    tab, _, opened = drawn(services, chapter=12, **{"doubled.x": 4.5})
    assert opened[tab.chapter]["value"] == "12-toy" and opened[tab.control_values] == {"doubled.x": 4.5}


def test_its_experiment_shows_its_result(services, catalogue):
    values = {"checkpoint": "clothes"} | defaults(catalogue.checkpoint("clothes"), services.options)
    scene = Scene.of(services, values)
    (experiment,) = BY_NAME["12-toy"].experiments
    for code in LANGUAGES:
        assert experiment.show(scene, {"x": 4.5}, chapter_words("12-toy", code).say) == ("It is 9.",)
