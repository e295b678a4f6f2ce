"""The languages say the same things, and a browser gets the one it asks for."""

import re
import string

import pytest

from app.controls import CHOICES, SCHEDULES, control_props
from app.messages import Refusal, explain
from app.options import Options
from app.texts import DEFAULT, LANGUAGES, in_each, known_language, language_of, say, say_name, texts
from diffusion.settings import SamplingSettings
from tests.app.server import REPOSITORY


def test_every_language_has_the_same_keys():
    keys = {language: set(texts(language)) for language in LANGUAGES}
    assert keys["en"] == keys["zh"]


def test_texts_are_filled_and_have_the_same_places():
    def places(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    for key in texts(DEFAULT):
        assert all(say_text.strip() for say_text in in_each(lambda language, key=key: texts(language)[key]).values())
        assert places(texts("en")[key]) == places(texts("zh")[key]), key


def test_every_text_that_the_program_names_is_there():
    named = set()
    for path in (REPOSITORY / "app").rglob("*.py"):
        named |= set(re.findall(r'(?:say|status)\(\s*\w+, "([a-z_0-9.]+)"', path.read_text(encoding="utf-8")))
    assert len(named) > 15
    assert named <= set(texts(DEFAULT))


def test_chinese_texts_are_chinese():
    own = {key for key, text in texts("zh").items() if re.search(r"[\u4e00-\u9fff]", text)}
    same = {"page.language", "controls.reverse_variance.beta"} | {
        f"controls.sampler.{name}" for name in ("ddim", "ddpm", "dpmpp_2m", "unipc")
    }
    assert set(texts("zh")) - own <= same | {"errors.field"}


@pytest.mark.parametrize(
    "header, language",
    [
        ("zh", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-TW", "zh"),
        ("zh-HK", "zh"),
        ("zh-Hans", "zh"),
        ("zh-SG,en", "zh"),
        ("fr-FR,fr;q=0.9,zh;q=0.5,en;q=0.4", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("zh;q=0.2,en;q=0.8", "en"),
        ("zh;q=0,en;q=0.1", "en"),
        ("ZH-hk", "zh"),
        ("de", "en"),
        ("", "en"),
        (None, "en"),
        ("zh;q=much", "en"),
        (",,;;q=,", "en"),
    ],
)
def test_language_of_a_browser(header, language):
    assert language_of(header) == language


@pytest.mark.parametrize("value", [None, 3, [], {}, "xx", float("nan")])
def test_any_other_language_is_the_default(value):
    assert known_language(value) == DEFAULT


def test_a_name_that_the_texts_do_not_know_is_shown_as_it_is():
    assert say_name("zh", "classes", "Trouser") == "裤子"
    assert say_name("zh", "classes", "no such class") == "no such class"


def test_every_control_has_words():
    for language in LANGUAGES:
        for name, props in control_props(language, None, Options()).items():
            assert props["label"] and props["info"], name
    for name, values in {**CHOICES, "beta_schedule": SCHEDULES}.items():
        assert all(say(DEFAULT, f"controls.{name}.{value}") for value in values)


@pytest.mark.parametrize(
    "fields, field, expected",
    [
        ({"num_inference_steps": 0}, "步数", "1"),
        ({"num_inference_steps": "x"}, "步数", "整数"),
        ({"num_inference_steps": None}, "步数", "不能空着"),
        ({"num_images": 1.5}, "张数", "整数"),
        ({"beta_start": 0.0}, "最初的 β", "0"),
        ({"beta_end": 2.0}, "最后的 β", "1"),
        ({"beta_start": float("nan")}, "最初的 β", "数字"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "最后的 β", "[0.5, 1)"),
        ({"sampler": "euler"}, "采样方法", "ddim"),
        ({"eta": 3.0}, "η", "1"),
        ({"eta": 0.5, "sampler": "unipc"}, "η", "DPM-Solver++ 和 UniPC 不加新噪点"),
        ({"clip_sample": "yes"}, "截断", "是"),
        ({"seed": 2**32 - 1, "num_images": 5}, "种子", "4294967296"),
        ({"guidance_scale": float("inf"), "class_label": 0}, "引导强度", "数字"),
    ],
)
def test_errors_are_said_in_chinese(fields, field, expected):
    with pytest.raises(ValueError) as caught:
        SamplingSettings(**fields)
    sentence = explain(caught.value, "zh")
    assert sentence.startswith(field)
    assert expected in sentence
    assert "must" not in sentence and "Input" not in sentence


def test_an_error_that_the_texts_do_not_know_is_kept():
    assert "something new happened" in explain(ValueError("something new happened"), "zh")
    assert "strange, got 3" in explain(ValueError("eta: strange, got 3"), "zh")


def test_a_refusal_is_said_in_both_languages():
    refusal = Refusal("images", most=64, got=65)
    assert explain(refusal, "en") == str(refusal)
    assert explain(refusal, "zh") != str(refusal)
    assert "64" in explain(refusal, "zh")
