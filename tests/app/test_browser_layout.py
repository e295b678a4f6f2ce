"""Generate at every width in a real browser: nothing overflows the page, and no legend its plot."""

import re

import pytest

from tests.app.pages import generate

OVERHANG = """
plots => plots.flatMap(plot => {
    const edge = plot.getBoundingClientRect().right
    return [...plot.querySelectorAll('.role-legend-label text')].map(
        label => label.getBoundingClientRect().right - edge
    )
})
"""


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_fits_a_phone(open_page, locale, dark):
    page = open_page(locale, width=390, dark=dark)
    for group in page.locator("button.label-wrap").all():
        group.click()
    generate(page, "Generate" if locale == "en-US" else "开始生成")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("document.body.classList.contains('dark')") == dark


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [390, 620, 800, 801, 1030, 1300])
def test_no_legend_is_cut_off(open_page, locale, width):
    page = open_page(locale, width=width)
    page.get_by_role("button", name=re.compile("Behind the scenes|幕后")).click()
    page.locator("#plots svg.marks").nth(2).wait_for()
    overhangs = page.locator("#plots svg.marks").evaluate_all(OVERHANG)
    assert len(overhangs) == 5 and max(overhangs) <= 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
