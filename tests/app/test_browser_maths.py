"""The chapters in a real browser: formulas are drawn, experiments answer, the language is switched in place."""

import re

import pytest

from tests.app.server import REPOSITORY, running_app


@pytest.fixture(scope="module")
def maths_app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maths")
    with running_app(REPOSITORY / "checkpoints", folder, "--mathematics") as address:
        yield address


@pytest.mark.parametrize(("locale", "chapter"), [("en-US", 6), ("zh-CN", 2), ("zh-CN", 11)])
def test_a_link_opens_a_chapter_with_its_formulas(open_page, maths_app, locale, chapter):
    page = open_page(locale, address=f"{maths_app}/?tab=maths&chapter={chapter}")
    prose = page.locator(".prose").filter(visible=True).first
    prose.locator(".katex").first.wait_for()
    page.wait_for_timeout(1500)
    assert page.locator(".katex-error").count() == 0
    text = page.locator("#chapter").inner_text()
    assert "$" not in text and "**" not in text and "\\frac" not in text
    assert text.lstrip().startswith(f"{chapter}.")
    assert bool(re.search("[一-鿿]", text.splitlines()[0])) == (locale == "zh-CN")


def test_a_dial_is_answered_and_the_link_follows(open_page, maths_app):
    page = open_page(address=f"{maths_app}/?tab=maths&chapter=1")
    page.locator(".figures").filter(visible=True).first.wait_for()
    dial = page.get_by_label("number input for Step t").filter(visible=True).first
    dial.fill("20")
    dial.press("Enter")
    page.get_by_text("after 20 small steps").filter(visible=True).first.wait_for()
    link = page.locator("#chapter .copy input").filter(visible=True)
    page.wait_for_function(
        "() => document.querySelector('#chapter .copy input')?.value.includes('chain-and-jump.t=20')"
    )
    assert "chapter=1" in link.input_value()
