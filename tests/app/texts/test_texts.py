"""The languages say the same things, and a browser gets the language it asks for."""

import re
import string

import pytest

from app.controls.codecs import CONTROLS
from app.controls.spec import control_props
from app.server.options import Options
from app.texts import DEFAULT, LANGUAGES, in_each, known_language, language_of, say_name, texts
from app.texts.messages import PageError, Refusal, explain
from diffusion.errors import SENTENCES, CheckpointError, FieldError, PartError
from diffusion.experiments.axes import AXES
from diffusion.samplers.registry import SAMPLERS
from diffusion.settings import SamplingSettings
from diffusion.sharing.recipe import Recipe
from diffusion.sharing.script import COMMENTS
from tests.app.running import REPOSITORY


def test_every_language_has_the_same_keys():
    keys = {language: set(texts(language)) for language in LANGUAGES}
    assert all(own == keys[DEFAULT] for own in keys.values())


def test_the_comments_of_a_script_are_said_in_every_language():
    said = {key.removeprefix("script."): text for key, text in texts("en").items() if key.startswith("script.")}
    assert said == COMMENTS


def test_texts_are_filled_and_have_the_same_places():
    def places(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    for key in texts(DEFAULT):
        assert all(say_text.strip() for say_text in in_each(lambda language, key=key: texts(language)[key]).values())
        assert all(places(texts(language)[key]) == places(texts(DEFAULT)[key]) for language in LANGUAGES), key


def test_every_text_that_the_program_names_is_there():
    named = set()
    for path in (REPOSITORY / "app").rglob("*.py"):
        named |= set(re.findall(r'(?:say|status)\(\s*\w+, "([a-z_0-9.]+)"', path.read_text(encoding="utf-8")))
    assert len(named) > 15
    assert named <= set(texts(DEFAULT))


def test_chinese_texts_are_chinese():
    own = {key for key, text in texts("zh").items() if re.search(r"[\u4e00-\u9fff]", text)}
    same = {"page.language", "page.tag", "controls.reverse_variance.beta"} | {
        f"controls.sampler.{name}" for name in SAMPLERS
    }
    marks = {"errors.field", "errors.part", "errors.separator", "recipe.fields.betas", "stage.made_with"}
    marks |= {"compare.own", "compare.line", "compare.title_class"}
    names = re.compile("(`[^`]+`、?)+|ComfyUI|–")  # of other programs
    elsewhere = {key for key, text in texts("zh").items() if names.fullmatch(text)}
    assert set(texts("zh")) - own <= same | marks | elsewhere


@pytest.mark.parametrize(
    "header, language",
    [
        ("zh", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-TW", "zh-Hant"),
        ("zh-HK", "zh-Hant"),
        ("zh-MO", "zh-Hant"),
        ("zh-Hant", "zh-Hant"),
        ("zh-Hant-HK,zh;q=0.9", "zh-Hant"),
        ("zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7", "zh-Hant"),
        ("zh-Hans", "zh"),
        ("zh-Hans-HK", "zh"),
        ("zh-SG,en", "zh"),
        ("en;q=0.5,zh-TW;q=0.2,zh;q=0.9", "zh"),
        ("fr-FR,fr;q=0.9,zh;q=0.5,en;q=0.4", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("zh;q=0.2,en;q=0.8", "en"),
        ("zh;q=0,en;q=0.1", "en"),
        ("ZH-hk", "zh-Hant"),
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
    for codec in CONTROLS.values():
        parts = ["label", "info", *codec.setting.choices]
        assert all(f"controls.{codec.name}.{part}" in texts(DEFAULT) for part in parts), codec.name
    assert all(f"grids.values.{field}" in texts(DEFAULT) for field in AXES)


@pytest.mark.parametrize(
    "fields, field, expected",
    [
        ({"num_inference_steps": 0}, "步数", "1"),
        ({"num_inference_steps": "x"}, "步数", "整数"),
        ({"num_inference_steps": None}, "步数", "不能空着"),
        ({"num_images": 1.5}, "张数", "整数"),
        ({"beta_start": 0.0}, "第一步加多少噪点", "0"),
        ({"beta_end": 2.0}, "最后一步加多少噪点", "1"),
        ({"beta_start": float("nan")}, "第一步加多少噪点", "数字"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "最后一步加多少噪点", "[0.5, 1)"),
        ({"sampler": "euler"}, "采样方法", "ddim"),
        ({"eta": 3.0}, "η", "1"),
        ({"eta": 0.5, "sampler": "unipc"}, "η", "不加新噪点"),
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
    assert words_of_english(sentence) <= {*SAMPLERS, "euler", "yes", "nan", "inf"}


# Names that a Chinese sentence may hold: of programs, formats, samplers, files, and of what stands in a file
NAMES = {
    "DDPM", "DDIM", "CFG", "DPM", "Solver", "UniPC", "PNG", "JSON", "KID", "MB", "base64", "diffusers", "safetensors",
    "pickle", "unet", "scheduler", "reference", "UNet2DModel", "DDPMScheduler", "DDIMScheduler", "config.json",
    "model_index.json", "sample_size", "num_class_embeds", "class_embed_type", "prediction_type",
    "clip_sample_range", "trained_betas", "block_out_channels", "down_block_types", "up_block_types", "norm_num_groups",
    "num_train_timesteps", "start", "end", "Python",
}  # fmt: skip
FIELDS = sorted({*SamplingSettings.model_fields, *Recipe.model_fields, *(
    "beta_start, beta_end", "betas", "num_train_timesteps", "rescale_betas_zero_snr", "var", "evaluations", "image",
    "picture", "recipe", "preset", "axis", "axes", "samples",
)})  # fmt: skip
SAMPLES = {
    "axis": "axis_1",
    "field": "start_step",
    "problem": FieldError("beta_start, beta_end", "no_range"),
    "choices": ("3", "4"),
    "reason": "what a library said",
}
PAGES_OWN = {
    key.removeprefix("errors.")
    for key in texts(DEFAULT)
    if key.startswith("errors.") and key.removeprefix("errors.") not in {*SENTENCES, "server", "field", "separator"}
}


def words_of_english(sentence: str) -> set[str]:
    return {word.strip("_.") for word in re.findall(r"[A-Za-z_][A-Za-z_0-9.]+", sentence)} - NAMES - {""}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", sorted({*SENTENCES, *PAGES_OWN}))
def test_every_error_is_said_in_every_language_from_its_values(key):
    """And no Chinese sentence holds an English word, whatever a library wrote."""
    text = SENTENCES.get(key, texts(DEFAULT)[f"errors.{key}"])
    assert places(texts(DEFAULT)[f"errors.{key}"]) <= places(text)
    kind = FieldError if key in SENTENCES else PageError
    values = {place: SAMPLES.get(place, "7") for place in places(text)}
    is_whole = texts(DEFAULT)[f"errors.{key}"].endswith(".")  # names its field itself
    for field in ("",) if is_whole else ("", "seed", "beta_start, beta_end"):
        error = kind(field, key, **values)
        assert str(error).startswith(f"{field}: " if field else "")
        for language in LANGUAGES:
            assert re.search(r"[.。]$", explain(error, language)) or not (field or is_whole)
        assert not words_of_english(explain(error, "zh"))
        assert not re.search(r"[.。]{2}", explain(error, "zh"))


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_a_word_of_its_language(field):
    assert not words_of_english(explain(FieldError(field, "missing"), "zh"))


def test_an_error_of_a_checkpoint_is_said_by_the_name_that_the_page_gives_it():
    error = CheckpointError("mnist", "wrong_schedule", problem=FieldError("betas", "too_noisy"))
    assert str(error).startswith("mnist: betas: too large together: no signal")
    assert explain(error, "zh") == "手写数字（MNIST）：它的噪声表：β：合起来太大了，到最后画面什么也不剩。"
    assert explain(error, "en").endswith("left at the end.")


def test_errors_of_a_part_and_of_several_fields_are_said_whole():
    with pytest.raises(FieldError) as caught:
        SamplingSettings(eta=3.0, seed=-1)
    assert [one.field for one in caught.value.findings] == ["eta", "seed"] == list(caught.value.fields)
    assert explain(PartError("B", caught.value), "en").splitlines() == [
        "B: η (eta): must be at most 1, got 3.0.",
        "Seed: must be at least 0, got -1.",
    ]


def test_labels_of_another_place_go_first():
    assert explain(FieldError("seed", "missing"), "en", {"seed": "Draw"}) == "Draw: needs a value."


def test_an_error_of_another_program_is_in_the_log_alone(caplog):
    said = explain(ValueError("something new happened"), "zh")
    assert not words_of_english(said)
    assert "something new happened" in caplog.text


def test_a_refusal_is_said_in_both_languages():
    refusal = Refusal("images", most=64, got=65)
    assert explain(refusal, "en") == str(refusal)
    assert explain(refusal, "zh") != str(refusal)
    assert "64" in explain(refusal, "zh")
