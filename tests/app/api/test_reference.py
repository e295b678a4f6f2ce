"""The page's own description of the endpoints: the same parameters as Gradio's, and examples that run."""

import json
import re
import subprocess
import urllib.request
from html import unescape

import pytest
from playwright.sync_api import expect

from app.api.endpoints import ENDPOINTS
from app.api.reference import curl_call, english, python_call, reference
from app.server.options import Options
from app.server.services import Services
from app.texts import LANGUAGES, texts
from diffusion.experiments.axes import FIELDS
from diffusion.settings import SETTINGS

BY_NAME = {one.name: one for one in ENDPOINTS}


@pytest.fixture(scope="module")
def described(catalogue):
    """What the page says, in English, of each parameter: {endpoint: {parameter: (kind, meaning)}}."""
    html = reference(Services(Options(max_images=12), catalogue), "http://here/")
    english_only = re.sub(r'<span lang="(?!en")[^>]*>.*?</span>', "", html)
    found = {}
    for name, part in re.findall(r'<details id="api-(\w+)">(.*?)</details>', english_only, re.DOTALL):
        items = re.findall(r"<dt><code>(\w+)</code> (.*?)</dt><dd>(.*?)</dd>", part)
        found[name] = {key: tuple(unescape(re.sub("<[^>]+>", "", one)) for one in said) for key, *said in items}
    return found


def test_the_parameters_are_those_that_gradio_knows(described, home_app):
    with urllib.request.urlopen(f"{home_app}/gradio_api/info", timeout=60) as answer:
        known = json.load(answer)["named_endpoints"]
    assert {f"/{name}" for name in described} == set(known)
    for name, parameters in described.items():
        gradios = {one["parameter_name"]: one for one in known[f"/{name}"]["parameters"]}
        assert list(parameters) == list(gradios)
        for key, (kind, _) in parameters.items():
            assert ("required" in kind) == (not gradios[key]["parameter_has_default"]), (name, key)
            if (default := gradios[key].get("parameter_default")) is not None:
                assert f"default {json.dumps(default)}" in kind, (name, key)


@pytest.mark.parametrize(
    "endpoint, parameter, kind",
    [
        ("generate", "beta_start", "number · > 0 · < 1 · may be left out"),
        ("generate", "num_images", "whole number · ≥ 1 · ≤ 12 · default 1"),
        ("generate", "seed", "whole number · ≥ 0 · < 4,294,967,296 · or -1 for a random one · default 0"),
        ("bound", "seed", "whole number · ≥ 0 · < 4,294,967,296 · default 0"),
        ("generate", "conditioning", 'matched, naive · default "matched"'),
        ("generate", "clip_sample", "true or false · default true"),
        ("generate", "class_label", "whole number or list · may be left out"),
        ("compare", "a", "object · required"),
        ("frontier", "num_inference_steps", 'text or list · default "2,5,10,20"'),
        ("bound", "evaluations", "whole number · default 64"),
    ],
)
def test_a_parameter_is_said_with_its_bounds_and_default(described, endpoint, parameter, kind):
    assert described[endpoint][parameter][0] == kind


def test_the_english_sentences_are_those_of_the_program():
    said = texts("en")
    for name, endpoint in BY_NAME.items():
        own = english(endpoint.make(None))
        keys = {key.split(".")[-1] for key in said if key.startswith(f"api.{name}.")}
        assert {"what", "returns"} <= keys
        for key in keys:
            assert said[f"api.{name}.{key}"].replace("{fields}", ", ".join(FIELDS)) == own[key], (name, key)
    for name, setting in SETTINGS.items():
        assert said[f"api.settings.{name}"] == setting.description or name == "sampler", name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same_numbers(language):
    def numbers(text):
        return sorted(re.findall(r"(?<![\w.-])\d+(?!\w|\.\d)", text))

    for key, text in texts("en").items():
        if re.fullmatch(r"api\.(frontier\.samples|bound\.evaluations|settings\..*)", key):
            assert numbers(texts(language)[key]) == numbers(text), key


@pytest.mark.parametrize("name", BY_NAME)
def test_the_examples_run(name, home_app, catalogue, capsys):
    checkpoint = catalogue.default()
    program = python_call(BY_NAME[name], f"{home_app}/", checkpoint)
    exec(compile(program, "example.py", "exec"), {})
    printed = capsys.readouterr().out
    assert "{" in printed.splitlines()[-1]
    commands = curl_call(BY_NAME[name], f"{home_app}/", checkpoint)
    done = subprocess.run(["bash", "-euc", commands], capture_output=True, text=True, timeout=120)
    assert "event: complete" in done.stdout and "event: error" not in done.stdout, done.stdout[-500:] + done.stderr


@pytest.mark.parametrize("locale, word", [("zh-CN", "用一个模型"), ("zh-TW", "用一個模型"), ("en-US", "Draw pictures")])
def test_a_phone_reads_it_in_its_language(open_page, home_app, locale, word):
    page = open_page(locale, width=390, touch=True)
    page.locator("#footer a[data-opens]").tap()
    summary = page.locator("#api-generate summary")
    expect(summary).to_contain_text(word)
    expect(page.locator("#api")).to_be_in_viewport()
    page.evaluate("document.querySelectorAll('.reference details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = "[...document.querySelectorAll('.reference *')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    assert page.evaluate(f"{wide}.filter((one) => getComputedStyle(one).display === 'block').length") == 0
    page = open_page(locale, width=390, touch=True, address=f"{home_app}/?tab=api")
    expect(page.locator("#api-bound summary")).to_be_visible()
    expect(page.locator("#api")).to_be_in_viewport()
    if locale == "zh-CN":
        from tests.app.test_browser_words import english as english_words

        page.evaluate("document.querySelectorAll('.reference details').forEach((one) => { one.open = true; })")
        assert not (found := english_words(page)), found
        page.get_by_text("English", exact=True).tap()
        expect(page.locator("#api-generate summary")).to_contain_text("Draw pictures")
        expect(page.get_by_role("button", name="API: call the page")).to_be_visible()
