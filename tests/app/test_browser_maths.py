"""The chapters in a real browser: read from the first to the last, with experiments that answer, run and stop."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.maths.book import CHAPTERS
from tests.app.pages import RUN_SECONDS, grave_findings, set_number
from tests.app.running import REPOSITORY, running_app


@pytest.fixture(scope="module")
def maths_app(tmp_path_factory):
    """An app over the checkpoints that are shipped, whose lessons have been computed."""
    with running_app(REPOSITORY / "checkpoints", tmp_path_factory.mktemp("maths")) as address:
        yield address


def wait_for_chapter(page: Page, number: int) -> None:
    """A chapter is there, its formulas drawn."""
    expect(page.locator("#chapter h1")).to_have_text(re.compile(rf"^{number}\."))
    page.locator("#chapter .katex").first.wait_for()


def check_prose(page: Page) -> str:
    """Formulas and marks are drawn, and nothing is wrong; returns the text."""
    expect(page.locator("#chapter .katex-error")).to_have_count(0)
    expect(page.locator("#chapter .wrong")).to_have_count(0)
    for code in page.locator("#chapter pre").all():
        code.evaluate("code => code.style.display = 'none'")  # Python has asterisks of its own
    text = page.locator("#chapter").inner_text()
    assert "$" not in text and "**" not in text and "\\frac" not in text
    return text


@pytest.mark.slow  # turns through all chapters, draws all plots
@pytest.mark.parametrize(("locale", "width"), [("en-US", 390), ("zh-CN", 1440)])
def test_a_reader_goes_from_the_first_chapter_to_the_last(open_page, maths_app, locale, width):
    page = open_page(locale, width, address=f"{maths_app}/?tab=maths")
    for number in range(1, len(CHAPTERS) + 1):
        wait_for_chapter(page, number)
        text = check_prose(page)
        assert bool(re.search("[一-鿿]", text.splitlines()[0])) == (locale == "zh-CN")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        plots = sum(experiment.parts.count("plot") for experiment in CHAPTERS[number - 1].experiments)
        expect(page.locator("#chapter .figure svg.marks")).to_have_count(plots)
        forth = page.locator("#chapter .go button").filter(visible=True).last
        if number < len(CHAPTERS):
            forth.click()
    expect(forth).to_be_disabled()
    assert not grave_findings(page)


def test_nothing_of_a_chapter_shows_before_its_words(open_page, maths_app):
    page = open_page(address=f"{maths_app}/?tab=maths")
    wait_for_chapter(page, 1)
    control = page.locator("#chapter input[type=range]").first
    expect(control).to_be_visible()
    page.locator("#chapter .md:has(h1)").evaluate("words => { words.hidden = words.innerHTML; words.innerHTML = '' }")
    expect(control).to_be_hidden()
    assert page.locator("#chapter").evaluate("chapter => chapter.getBoundingClientRect().height >= innerHeight")


def test_a_link_opens_its_chapter(open_page, maths_app):
    page = open_page("zh-CN", address=f"{maths_app}/?tab=maths&chapter=6")
    wait_for_chapter(page, 6)
    check_prose(page)


def test_a_dial_is_answered_and_kept_in_the_link_in_the_other_language_and_after_another_chapter(open_page, maths_app):
    page = open_page(address=f"{maths_app}/?tab=maths&chapter=1")
    wait_for_chapter(page, 1)
    dial = page.get_by_label("number input for Step t").filter(visible=True).first
    dial.fill("20")
    dial.press("Enter")
    expect(page.get_by_text("after 20 small steps")).to_be_visible()
    link = page.locator("#chapter .copy input")
    expect(link).to_have_value(re.compile(r"chapter=1&chain-and-jump\.t=20"))
    page.get_by_text("简体").click()
    expect(page.get_by_text("走 20 小步之后")).to_be_visible()
    page.get_by_text("2. 目标", exact=True).click()
    wait_for_chapter(page, 2)
    page.get_by_text("1. 加噪", exact=True).click()
    wait_for_chapter(page, 1)
    expect(page.get_by_text("走 20 小步之后")).to_be_visible()
    expect(link).to_have_value(re.compile(r"chain-and-jump\.t=20"))


def test_the_chapters_follow_what_generate_has_chosen(open_page, maths_app):
    page = open_page(address=f"{maths_app}/?tab=maths")
    wait_for_chapter(page, 1)
    page.get_by_role("tab", name="Generate").click()
    page.get_by_role("button", name="Noise schedule: the range of β").filter(visible=True).click()
    set_number(page, "β last (β_end)", "0.05")
    page.get_by_role("tab", name="Mathematics").click()
    expect(page.locator("#contents .note")).to_contain_text("to 0.05")
    wait_for_chapter(page, 1)


@pytest.mark.slow  # two runs of all 1,000 steps, and the whole table of identities
def test_an_experiment_runs_stops_and_gives_way_to_the_next_chapter(open_page, maths_app):
    page = open_page(address=f"{maths_app}/?tab=maths&chapter=6")
    wait_for_chapter(page, 6)
    run = page.get_by_role("button", name="Run it on the network").filter(visible=True).first
    stop = page.get_by_role("button", name="Stop").filter(visible=True).first
    page.get_by_role("radio", name="all", exact=True).click()  # 64 steps are over before a busy browser can stop them
    run.click()
    expect(stop).to_be_enabled(timeout=RUN_SECONDS)
    stop.press("Enter")  # the first picture moves it from under a mouse that is on its way
    expect(page.locator("#chapter").get_by_text(re.compile("Stopped")).first).to_be_visible(timeout=RUN_SECONDS)
    expect(run).to_be_enabled()
    run.click()
    expect(stop).to_be_enabled(timeout=RUN_SECONDS)
    page.get_by_text("11. The table of identities", exact=True).click()
    wait_for_chapter(page, 11)
    run.click()
    expect(page.get_by_text(re.compile("^17 of 17|17 of 17")).first).to_be_visible(timeout=RUN_SECONDS)
    expect(run).to_be_enabled(timeout=RUN_SECONDS)
