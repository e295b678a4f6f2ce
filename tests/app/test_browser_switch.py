"""A switch of the language reaches all that is drawn already: captions, plots, and what only screen readers say."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.maths.words import NAMES as CHAPTERS
from app.maths.words import chapter_words
from app.texts import LANGUAGES, say
from tests.app.pages import RUN_SECONDS, choose, compare, generate
from tests.app.test_browser_traditional import simplified
from tests.app.test_browser_words import WORDS, english, open_everything

TABS = {language: [say(language, f"tabs.{name}") for name in ("generate", "compare", "explore", "maths")]
        for language in LANGUAGES}  # fmt: skip


def chinese(page: Page) -> list[str]:
    """The texts of the page, seen or read aloud, with a Chinese character."""
    own = WORDS.replace("[lang]:not([lang|=zh])", "#language, [lang]:not([lang=en])")
    return [text for text in page.evaluate(own) if re.search("[\u4e00-\u9fff]", text)]


def foreign(page: Page, language: str) -> list[str]:
    """What is not in the language."""
    if language == "en":
        return chinese(page)
    return english(page) + (simplified(page) if language == "zh-Hant" else [])


def switch(page: Page, language: str) -> None:
    page.get_by_label(LANGUAGES[language], exact=True).click()
    expect(page.get_by_role("tab", name=TABS[language][0])).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", say(language, "page.tag"))


def draw_in_every_tab(page: Page) -> None:
    """On the English page: pictures, a film, an animation, a comparison, a grid, a frontier and a chapter."""
    generate(page)
    page.get_by_role("button", name="animation").click()
    page.locator("#animation img").wait_for()
    page.get_by_role("tab", name="Compare").click()
    compare(page)
    page.get_by_role("tab", name="Explore").click()
    page.get_by_role("button", name="Explore", exact=True).click()
    page.get_by_role("link", name="one labelled picture").wait_for(timeout=RUN_SECONDS)
    page.get_by_role("button", name="Measure", exact=True).click()
    page.locator(".frontier svg.marks").first.wait_for(timeout=RUN_SECONDS)
    expect(page.get_by_role("button", name="Measure", exact=True)).to_be_enabled(timeout=RUN_SECONDS)
    page.get_by_role("tab", name="Mathematics").click()
    page.locator("#chapter .figures img").first.wait_for()


@pytest.fixture
def drawn(open_page, home_app):
    page = open_page(
        "en-US", address=f"{home_app}/?checkpoint=clothes&num_inference_steps=3&num_images=4&class_label=1"
    )
    draw_in_every_tab(page)
    return page


def test_nothing_that_is_drawn_keeps_the_language_it_was_drawn_in(drawn):
    for language in ("zh", "zh-Hant", "en"):
        switch(drawn, language)
        for tab in TABS[language]:
            drawn.get_by_role("tab", name=tab).click()
            if tab == TABS[language][3]:
                title = chapter_words(CHAPTERS[0], language).title
                expect(drawn.locator("#chapter h1").filter(visible=True)).to_have_text(f"1. {title}")
            open_everything(drawn)
            assert not (found := foreign(drawn, language)), (language, tab, found)


def test_a_run_that_ends_after_the_switch_ends_in_the_new_language(open_page):
    page = open_page("en-US")
    page.get_by_role("tab", name="Compare").click()
    choose(page, "What to compare", "η = 0 against η = 1")
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#comparison .strip-rows img").first.wait_for(timeout=RUN_SECONDS)
    switch(page, "zh")
    page.locator(".over img").first.wait_for(timeout=RUN_SECONDS)
    expect(page.locator(".outcome [role='graphics-document']")).to_have_attribute(
        "aria-label", "两次生成相距多远，随噪声水平变化", timeout=RUN_SECONDS
    )
    assert not (found := english(page)), found
