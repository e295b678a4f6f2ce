"""The texts in traditional Chinese are what the converter makes of the simplified ones; only Chinese is changed."""

import re

import pytest

from app.texts import texts
from app.texts.traditional import SIMPLIFIED, TERMS, TRADITIONAL, sources, target

# Latin letters, digits and signs that programs read: keys, {places}, formulas, code, addresses
OTHER_THAN_CHINESE = re.compile(r"[^\u2018-\u201d\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+")


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_the_checked_in_text_is_what_the_converter_writes(source):
    from app.texts.traditional import converted

    again = "python -m app.texts.traditional"
    assert target(source).read_text(encoding="utf-8") == converted(source.read_text(encoding="utf-8")), again


def test_no_file_is_left_over():
    assert {target(path).name for path in sources()} == {f"{TRADITIONAL}.json"} | {
        path.name for path in target(sources()[-1]).parent.iterdir()
    }


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_what_is_not_chinese_stays_byte_for_byte(source):
    def kept(path) -> str:
        text = (
            path.read_text(encoding="utf-8")
            .replace("zh-Hans", "TAG")
            .replace(f"language: {SIMPLIFIED}\n", "language: TAG\n")
        )
        return "".join(OTHER_THAN_CHINESE.findall(text.replace(TRADITIONAL, "TAG")))

    assert kept(target(source)) == kept(source)


@pytest.mark.parametrize(
    "key, said",
    [
        ("controls.sampler.label", "取樣方法"),
        ("controls.seed.label", "種子"),
        ("controls.num_inference_steps.label", "步數（迭代步數）"),
        ("controls.eta.label", "η（新雜訊的份量）"),
        ("controls.reverse_variance.label", "每步的變異數"),
        ("checkpoints.pixel-faces", "像素人臉"),
        ("classes.Dress", "洋裝"),
        ("frontier.heading", "品質與網路次數"),
        ("gradio.file_upload", "選擇檔案"),
    ],
)
def test_the_words_are_those_of_taiwan(key, said):
    assert texts(TRADITIONAL)[key] == said


def test_every_term_of_the_table_is_in_use():
    everything = "".join(path.read_text(encoding="utf-8") for path in sources())
    assert [term for term in TERMS if term not in everything] == []
