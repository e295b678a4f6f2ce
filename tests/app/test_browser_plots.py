"""The values of plots in a real browser, against the formulas: for a mouse, keys and a finger, in both languages."""

import math
import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.app.fingers import Finger
from tests.app.pages import grave_findings
from tests.app.test_browser_maths import maths_app, wait_for_chapter  # noqa: F401, a fixture

ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
NAMES = {"en-US": ("signal √ᾱ", "noise √(1−ᾱ)"), "zh-CN": ("信号 √ᾱ", "噪点 √(1−ᾱ)")}


def opened(page: Page):
    """The plot of signal and noise, in sight."""
    page.get_by_role("button", name=re.compile("Behind the scenes|幕后")).click()
    page.locator("#plots svg.marks").nth(2).wait_for()
    plot = page.locator("#plots svg.marks").first
    plot.scroll_into_view_if_needed()
    return plot


def values(page: Page):
    return page.locator("#plot-values > div")


def point_at(page: Page, plot, share: float) -> None:
    """Put the mouse at this share of the plot's width; again where a line that came late has moved the plot."""
    for _ in range(40):
        frame = plot.locator(".role-frame .background").first.bounding_box()
        assert frame["width"] > 200
        page.mouse.move(frame["x"] + share * frame["width"], frame["y"] + frame["height"] / 2)
        if values(page).count():
            return
        page.wait_for_timeout(250)


def read(page: Page) -> tuple[float, dict[str, float]]:
    """The place and the values that are shown."""
    at = values(page).locator("b").inner_text()
    lines = [line.locator("span").all_inner_texts() for line in values(page).locator("p").all()]
    return float(at.removeprefix("t = ").replace(",", "")), {name: float(said) for name, said in lines}


def truth(t: float) -> tuple[float, float]:
    return math.sqrt(ABAR[int(t)]), math.sqrt(1 - ABAR[int(t)])


@pytest.mark.parametrize("locale", NAMES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_mouse_reads_every_curve_at_its_place(open_page, locale, dark):
    page = open_page(locale, dark=dark)
    plot = opened(page)
    for share in (0.1, 0.5, 0.9):
        point_at(page, plot, share)
        expect(values(page)).to_be_visible()
        t, said = read(page)
        assert abs(t - share * 999) < 12
        assert [said[name] for name in NAMES[locale]] == pytest.approx(truth(t), abs=1e-3)
    assert values(page).evaluate("one => getComputedStyle(one).backgroundColor") == (
        "rgb(30, 32, 35)" if dark else "rgb(255, 255, 255)"
    )
    assert page.locator("#vg-tooltip-element.visible").count() == 0
    page.mouse.move(5, 5)
    expect(values(page)).to_have_count(0)


def test_keys_walk_along_the_curves(open_page):
    page = open_page()
    plot = opened(page)
    plot.focus()
    page.keyboard.press("Home")
    t, said = read(page)
    assert t == 0 and said[NAMES["en-US"][0]] == pytest.approx(truth(0)[0], abs=1e-3)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    t, said = read(page)
    assert t > 0 and sorted(said.values()) == pytest.approx(sorted(truth(t)), abs=1e-3)
    assert values(page).get_attribute("aria-live") == "polite"
    page.keyboard.press("End")
    assert read(page)[0] == 999
    assert grave_findings(page) == []
    page.keyboard.press("Escape")
    expect(values(page)).to_have_count(0)


def test_a_finger_taps_and_slides(open_page):
    page = open_page("zh-CN", width=390, touch=True)
    plot = opened(page)
    plot.scroll_into_view_if_needed()
    finger = Finger(page)
    finger.tap(plot, at=0.5)
    expect(values(page)).to_be_visible()
    t, said = read(page)
    assert [said[name] for name in NAMES["zh-CN"]] == pytest.approx(truth(t), abs=1e-3)
    finger.swipe(plot, right=90, at=0.5)
    expect(values(page)).to_be_visible()
    assert read(page)[0] > t + 100
    box = values(page).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator("#explanations").tap(position={"x": 5, "y": 5})
    expect(values(page)).to_have_count(0)


def test_chapters_have_values_of_their_own(open_page, maths_app):  # noqa: F811
    page = open_page("zh-CN", address=f"{maths_app}/?tab=maths&chapter=1")
    wait_for_chapter(page, 1)
    plots = page.locator("#chapter .figure svg.marks")
    plots.first.wait_for()
    for plot in plots.all():
        plot.scroll_into_view_if_needed()
        plot.hover()
        said = values(page).inner_text()
        assert re.search(r"\d", said) and not re.search("[A-Za-z]{3,}", said)
