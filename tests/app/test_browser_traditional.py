"""The page in traditional Chinese: for whom it is, and that no simplified character is left on it."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.maths.words import NAMES as CHAPTERS
from app.texts.traditional import sources, target
from tests.app.pages import untranslated
from tests.app.test_browser_words import WORDS, english, open_everything

# What is written otherwise in the traditional texts, of those characters that are in the simplified ones
SIMPLIFIED, TRADITIONAL = (
    {
        letter
        for path in sources()
        for letter in place(path).read_text(encoding="utf-8")
        if "\u4e00" <= letter <= "\u9fff"
    }
    for place in (lambda path: path, target)
)
ONLY_SIMPLIFIED = re.compile(f"[{''.join(sorted(SIMPLIFIED - TRADITIONAL))}]")
TABS = ("生成", "比較", "探索")


def simplified(page: Page) -> list[str]:
    """The texts of the page, seen or read aloud, with a character that is only simplified."""
    own = WORDS.replace(
        "[lang]:not([lang|=zh])", "#language, [lang]:not([lang=zh-Hant])"
    )  # a language's name is its own
    return [text for text in page.evaluate(own) if ONLY_SIMPLIFIED.search(text)]


def test_the_characters_that_are_only_simplified_are_many():
    assert len(SIMPLIFIED - TRADITIONAL) > 200
    assert ONLY_SIMPLIFIED.search("图") and not ONLY_SIMPLIFIED.search("圖台只")


@pytest.mark.parametrize("locale", ["zh-TW", "zh-HK", "zh-Hant"])
def test_browsers_of_taiwan_and_hong_kong_get_traditional_characters(open_page, locale):
    page = open_page(locale)
    expect(page.get_by_role("button", name="開始生成")).to_be_visible()
    expect(page).to_have_title("DDPM 實驗室")
    assert page.evaluate("document.documentElement.lang") == "zh-Hant"
    assert page.get_by_label("繁體").is_checked()
    assert untranslated(page, "MNIST", "clothes", "faces", "slow", "diffusers") == []
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        open_everything(page)
        if tab == TABS[0]:
            page.locator("#plots svg.marks").nth(2).wait_for()
        assert not (found := simplified(page)), (tab, found)
        assert not (found := english(page)), (tab, found)


@pytest.mark.parametrize("locale", ["zh-TW", "zh-HK"])
def test_the_chapters_are_in_traditional_characters(open_page, home_app, locale):
    page = open_page(locale, address=f"{home_app}/?tab=maths&chapter=1")
    found = {}
    for number in range(1, len(CHAPTERS) + 1):
        expect(page.locator("#chapter h1").filter(visible=True)).to_contain_text(f"{number}. ")
        open_everything(page)
        found |= {number: words} if (words := simplified(page) + english(page)) else {}
        if number < len(CHAPTERS):
            page.get_by_role("button", name="下一章").click()
    assert found == {}


def test_the_script_is_chosen_in_place_and_remembered(open_page):
    page = open_page("zh-CN")
    page.get_by_label("繁體").click()
    expect(page.get_by_role("button", name="開始生成")).to_be_visible()
    expect(page.locator(".captions")).to_contain_text("取自它學習的圖集")
    assert simplified(page) == []
    page.reload()
    expect(page.get_by_role("button", name="開始生成")).to_be_visible()
    page.get_by_label("简体").click()
    expect(page.get_by_role("button", name="开始生成")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    expect(page.locator(".captions")).to_contain_text("取自它学习的图集")
