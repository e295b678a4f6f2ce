"""Nothing is lost, in a real browser: the address follows the page, Back and reload bring it back, tabs share runs."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.app.pages import choose, choose_checkpoint, compare, generate, open_at, plan, set_number

PICTURES = ".stage .grid img"


def asked(page: Page) -> dict[str, str]:
    """The fields of the page's address, without the theme."""
    return {name: value[0] for name, value in parse_qs(urlsplit(page.url).query).items() if name != "__theme"}


def expect_asked(page: Page, **fields: str | None) -> None:
    """Wait until the address has these fields; None: not at all. Dots are written as two underlines."""
    wanted = {name.replace("__", "."): value for name, value in fields.items()}
    page.wait_for_function(
        """(wanted) => Object.entries(wanted).every(([name, value]) =>
            new URLSearchParams(location.search).get(name) === value)""",
        arg=wanted,
    )


def steps(page: Page):
    return page.get_by_label("number input for Steps").filter(visible=True)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def pixels(page: Page, selector: str = PICTURES) -> list[str]:
    return page.locator(selector).evaluate_all("all => all.map(one => one.src)")


def test_the_address_follows_settings_tabs_and_chapters_and_back_returns(open_page):
    page = open_page()
    assert asked(page) == {}
    set_number(page, "Steps", "7")
    expect_asked(page, num_inference_steps="7", checkpoint="clothes", tab=None)
    count = page.evaluate("history.length")
    set_number(page, "Steps", "8")
    expect_asked(page, num_inference_steps="8")
    assert page.evaluate("history.length") == count  # a slider that is moved makes no entry of the history
    open_tab(page, "Compare")
    expect_asked(page, tab="compare", num_inference_steps=None)
    choose(page, "What to compare", "Eight steps each: DDPM and DDIM")
    expect_asked(page, tab="compare", a__num_inference_steps="8")
    open_tab(page, "Mathematics")
    expect_asked(page, tab="maths", chapter="1")
    page.get_by_role("button", name="Next chapter").click()
    expect_asked(page, tab="maths", chapter="2")
    expect(page.get_by_role("heading", level=1).filter(visible=True).last).to_contain_text("2.")

    page.go_back()
    expect(page.get_by_label("1. ", exact=False).first).to_be_checked()
    expect_asked(page, chapter="1")
    page.go_back()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(plan(page)).to_contain_text("8 steps")
    page.go_back()
    expect(plan(page)).to_contain_text("50 steps")
    page.go_back()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(steps(page)).to_have_value("8")
    page.go_forward()
    page.go_forward()
    expect(plan(page)).to_contain_text("8 steps")
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")


def test_reload_keeps_settings_and_pictures_and_another_visitor_sees_none(open_page):
    page = open_page()
    set_number(page, "Steps", "3")
    generate(page)
    made = pixels(page)
    set_number(page, "Steps", "4")
    expect_asked(page, num_inference_steps="4")
    open_tab(page, "Explore")
    page.get_by_label("Values: Across").fill("2, 5")
    expect_asked(page, axis_1_values="2, 5")
    open_tab(page, "Generate")
    expect_asked(page, tab=None, num_inference_steps="4")
    address = page.url

    page.reload()
    page.locator("body.ready").wait_for()
    expect(steps(page)).to_have_value("4")
    assert pixels(page) == made
    expect(page.locator(".stage .other")).to_be_visible()  # the controls have moved on
    expect(page.locator(".film")).to_be_visible()
    page.get_by_role("button", name="Make an animation of this run").click()
    expect(page.locator("#animation img")).to_be_visible()
    open_tab(page, "Explore")
    expect(page.get_by_label("Values: Across")).to_have_value("2, 5")

    page.go_back()
    page.go_back()
    other = open_page(address=address)
    expect(steps(other)).to_have_value("4")
    expect(other.locator(PICTURES)).to_have_count(0)


def test_back_shows_the_pictures_of_the_earlier_run(open_page):
    page = open_page()
    set_number(page, "Steps", "2")
    generate(page)
    first = pixels(page)
    expect_asked(page, num_inference_steps="2")
    set_number(page, "Steps", "3")
    generate(page)
    second = pixels(page)
    assert first != second
    expect_asked(page, num_inference_steps="3")  # the address follows a moment later
    page.go_back()
    expect(steps(page)).to_have_value("2")
    page.wait_for_function("src => document.querySelector('.stage .grid img').src === src", arg=first[0])
    assert pixels(page) == first
    page.go_forward()
    page.wait_for_function("src => document.querySelector('.stage .grid img').src === src", arg=second[0])


def test_a_comparison_and_a_grid_outlast_a_reload(open_page):
    page = open_page()
    open_tab(page, "Compare")
    choose(page, "What to compare", "Eight steps each: DDPM and DDIM")
    expect(plan(page)).to_contain_text("8 steps")
    compare(page)
    shown = pixels(page, ".over img")
    page.reload()
    page.locator("body.ready").wait_for()
    expect(page.locator(".over img").first).to_be_visible()
    assert pixels(page, ".over img") == shown
    page.locator("[data-send=generate]").last.click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(steps(page)).to_have_value("8")
    expect(page.locator(PICTURES)).to_have_count(4)  # they are known

    open_tab(page, "Explore")
    page.get_by_label("Values: Across").fill("2, 3")
    page.get_by_label("Down", exact=True).filter(visible=True).click()
    page.get_by_role("option", name="nothing").click()
    expect(page.locator(".explored .waiting")).to_have_count(2)
    page.get_by_role("button", name="Explore", exact=True).click()
    expect(page.locator(".explored a.cell img")).to_have_count(2)
    expect(page.get_by_role("button", name="Explore", exact=True)).to_be_enabled()
    page.reload()
    page.locator("body.ready").wait_for()
    expect(page.locator(".explored a.cell img")).to_have_count(2)


def test_another_checkpoint_keeps_what_fits_and_the_tabs_follow(open_page):
    page = open_page()
    set_number(page, "Steps", "9")
    page.get_by_label("number input for Seed").or_(page.get_by_label("Seed", exact=True)).first.fill("77")
    page.keyboard.press("Tab")
    expect_asked(page, seed="77")
    choose_checkpoint(page, "faces")
    expect(steps(page)).to_have_value("9")
    expect_asked(page, checkpoint="faces", seed="77", num_inference_steps="9")
    open_tab(page, "Explore")
    expect_asked(page, tab="explore", base__checkpoint="faces")
    open_tab(page, "Compare")
    expect_asked(page, tab="compare", a__checkpoint="faces", b__checkpoint="faces")
    page.get_by_role("button", name=re.compile("^Run B")).click()
    page.get_by_label("Checkpoint", exact=True).filter(visible=True).last.click()
    page.get_by_role("option", name="clothes", exact=True).click()
    expect_asked(page, b__checkpoint="clothes")
    open_tab(page, "Generate")
    expect_asked(page, checkpoint="faces")  # a run of its own leads nobody
    choose_checkpoint(page, "slow")
    open_tab(page, "Compare")
    expect_asked(page, a__checkpoint="slow", b__checkpoint="clothes")


@pytest.mark.parametrize(("tab", "line"), [("generate", "#progress"), ("compare", "#comparison-progress")])
def test_a_reload_during_a_run_says_that_it_ended(chromium, home_app, tab, line):
    """Without open_page: Gradio writes into the console that the page which goes has lost its connection."""
    of_runs = "&".join(f"{side}.checkpoint=slow&{side}.num_inference_steps=900&{side}.num_images=2" for side in "ab")
    page = chromium.new_page(locale="en-US")
    open_at(page, f"{home_app}/?tab={tab}&{of_runs if tab == 'compare' else of_runs.replace('a.', '')}")
    page.get_by_role("button", name=tab.title(), exact=True).click()
    expect(page.locator(line)).to_contain_text("Step")
    page.reload()
    expect(page.locator(line)).to_contain_text("loaded again while a run was on its way")
    page.reload()
    expect(page.locator(line)).not_to_contain_text("loaded again")  # it is said once
    expect(page.locator(line)).to_contain_text(re.compile("Ready|Stopped after step"))
    page.close()


def test_a_run_is_sent_to_the_other_tabs(open_page):
    page = open_page()
    set_number(page, "Steps", "3")
    generate(page)
    set_number(page, "Steps", "50")
    page.get_by_role("button", name="Compare, as B").click()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect_asked(page, b__num_inference_steps="3", a__num_inference_steps="3", b__num_images="18", a__num_images="18")
    expect_asked(page, b__sampler="ddim", a__sampler="ddpm")  # what set the preset's runs apart sets these apart
    expect(page.locator(".hint").filter(visible=True)).to_have_text("A: DDPM, 3 steps. B: DDIM, 3 steps.")
    open_tab(page, "Generate")
    set_number(page, "Steps", "4")
    generate(page)
    page.get_by_role("button", name="Compare, as B").click()
    expect_asked(page, b__num_inference_steps="4", a__num_inference_steps="3", a__sampler="ddpm")
    open_tab(page, "Generate")
    page.locator(".sends").get_by_role("button", name="Explore").click()
    expect_asked(page, tab="explore", base__num_inference_steps="4")
    page.go_back()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")


def test_a_quick_link_opens_in_the_page_and_a_broken_address_stays(open_page, home_app):
    page = open_page()
    page.evaluate("window.isSame = true")
    page.get_by_role("link", name="DDPM against DDIM").click()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect_asked(page, tab="compare", preset="ddpm-ddim")
    assert page.evaluate("window.isSame")
    expect(page.locator(".over img").first).to_be_visible()  # a tap is enough: it starts
    page.go_back()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    assert asked(page) == {} and page.evaluate("window.isSame")
    page.get_by_role("link", name="Few steps").click()
    expect(page.locator(PICTURES)).to_have_count(18)
    expect(page.locator(".stage .other")).to_be_hidden()  # they are of these settings
    assert asked(page)["sampler"] == "unipc"
    page.go_back()
    expect(page.get_by_label("DDIM").filter(visible=True)).to_be_checked()
    open_at(page, f"{home_app}/?num_inference_steps=0")
    expect(page.locator(".notice.broken")).to_be_visible()
    assert asked(page) == {"num_inference_steps": "0"}
