"""The tab Compare in a real browser: two runs, their link, and invalid input."""

import base64
import re
from io import BytesIO

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from app.ui.images import SAVED_SIDE
from tests.app.pages import RUN_SECONDS, choose, choose_checkpoint, compare, open_at, plan, set_number


def opened(address: str) -> Image.Image:
    """The picture in a data address."""
    return Image.open(BytesIO(base64.b64decode(address.partition(",")[2])))


def test_two_runs_are_compared_and_a_link_brings_both_back(open_page, home_app):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator(".hint")).to_contain_text("Both start from the same noise")
    compare(page)
    expect(page.locator(".strip-rows img")).to_have_count(4 * 8)
    expect(page.locator(".outcome .vega-embed svg")).to_be_visible()
    expect(page.locator(".outcome")).to_contain_text("A: 50 network calls")
    choose(page, "What to compare", "Eight steps each: DDPM and DDIM")
    expect(plan(page)).to_contain_text("A: 8 steps, 4 pictures")
    page.get_by_role("button", name="Run A").click()
    expect(page.get_by_label("number input for Steps").filter(visible=True)).to_have_value("8")
    set_number(page, "Steps", "7")
    expect(plan(page)).to_contain_text("A: 7 steps, 4 pictures")
    link = page.get_by_label("Link to this comparison")
    expect(link).to_have_value(re.compile(r"a\.num_inference_steps=7.*b\.num_inference_steps=8"))
    other = open_page("zh-CN", address=link.input_value())
    expect(other.get_by_role("tab", name="对比")).to_have_attribute("aria-selected", "true")
    expect(plan(other)).to_contain_text("B：8 步")
    compare(other, "开始对比")
    expect(other.locator(".outcome")).to_contain_text("A：请网络看了 7 次")


def test_a_result_says_when_the_controls_have_moved_on(open_page):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    choose(page, "What to compare", "Eight steps each: DDPM and DDIM")
    compare(page)
    moved = page.locator(".compared .other")
    expect(moved).to_be_hidden()
    page.get_by_role("button", name="Run B").click()
    set_number(page, "Steps", "7")
    expect(moved).to_contain_text("The controls hold other settings now.")
    set_number(page, "Steps", "8")
    expect(moved).to_be_hidden()
    page.get_by_role("tab", name="Generate").click()
    choose_checkpoint(page, "faces")
    page.get_by_role("tab", name="Compare").click()
    expect(moved).to_be_visible()


SHOWN = """pair => [...pair.querySelectorAll('img')].map(image => {
    const style = getComputedStyle(image);
    return [image.naturalWidth, style.clipPath, style.imageRendering];
})"""


def test_one_slider_cuts_every_pair_of_one_seed(open_page):
    """Each place holds A's and B's picture of one seed, both as saved; the cut is at the same share of each."""
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    compare(page)
    pairs, slider = page.locator(".over .pair"), page.get_by_label("How much of A and of B shows")
    expect(pairs).to_have_count(4)
    left, right = page.locator(".over .left"), page.locator(".over .right")
    expect(left).to_contain_text("A: DDPM, 50 steps")
    expect(right).to_contain_text("B: DDIM, 50 steps")
    for side, number in (("A", 0), ("B", 1)):  # the saved sheet is two by two, transparent in between
        saved = np.asarray(
            opened(page.get_by_role("link", name=f"Save {side} as PNG").get_attribute("href")).convert("L")
        )
        factor = saved.shape[0] // 17
        for place, address in enumerate(pairs.locator(f"img:nth-child({number + 1})").all()):
            large = np.asarray(opened(address.get_attribute("src")).convert("L"))
            shown = large[:: SAVED_SIDE // 8, :: SAVED_SIDE // 8]
            top, left_ = place // 2 * 9 * factor, place % 2 * 9 * factor
            assert np.array_equal(saved[top : top + 8 * factor : factor, left_ : left_ + 8 * factor : factor], shown)
    for share, a, b in (("20", True, True), ("0", False, True), ("100", True, False), ("50", True, True)):
        slider.fill(share)
        for found in pairs.evaluate_all(f"all => all.map({SHOWN})"):
            assert [one[0] for one in found] == [SAVED_SIDE] * 2
            assert [one[2] for one in found] == ["pixelated"] * 2
            assert [one[1] for one in found] == ["none", f"inset(0px 0px 0px {share}%)"]
        expect(left).to_be_visible(visible=a)
        expect(right).to_be_visible(visible=b)
    box = pairs.nth(3).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5, steps=3)
    page.mouse.up()
    expect(slider).to_have_value("25")
    assert {one[1][1] for one in pairs.evaluate_all(f"all => all.map({SHOWN})")} == {"inset(0px 0px 0px 25%)"}


def test_a_finger_moves_the_cut_and_a_swipe_scrolls(chromium, home_app):
    context = chromium.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    open_at(page, f"{home_app}/?tab=compare&preset=few-steps")
    compare(page)
    page.locator(".over .pair").first.scroll_into_view_if_needed()
    slider = page.locator(".over input")
    assert slider.bounding_box()["height"] >= 44
    box = page.locator(".over .pair").nth(1).bounding_box()
    # Away from the corner that enlarges: Chromium lends a tap to a link beside it
    page.touchscreen.tap(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.7)
    expect(slider).to_have_value("70")
    assert {page.locator(one).first.evaluate("it => getComputedStyle(it).touchAction")
            for one in (".over .pair", ".over input")} == {"pan-y"}  # fmt: skip
    before, cdp = page.evaluate("scrollY"), context.new_cdp_session(page)
    x, y = box["x"] + 20, box["y"] + 20

    def touch(kind: str, *points: dict) -> None:
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    touch("touchStart", {"x": x, "y": y})
    for way in range(10, 210, 10):
        touch("touchMove", {"x": x + way / 10, "y": y + way})
    touch("touchEnd")
    page.wait_for_function("before => scrollY < before - 100", arg=before)
    expect(slider).to_have_value("70")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()


def test_a_presets_name_goes_with_its_settings_and_comes_back(open_page):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    list_, hint = page.get_by_label("What to compare", exact=True), page.locator(".hint").filter(visible=True)
    expect(list_).to_have_value("DDPM against DDIM, 50 steps each")
    link = page.get_by_label("Link to this comparison")
    page.get_by_role("button", name="Run A").click()
    page.get_by_label("Seed", exact=True).filter(visible=True).fill("3")  # belongs to no preset
    page.keyboard.press("Tab")
    expect(link).to_have_value(re.compile(r"a\.seed=3"))
    expect(list_).to_have_value("DDPM against DDIM, 50 steps each")
    page.get_by_label("number input for Steps").filter(visible=True).first.fill("49")
    page.keyboard.press("Tab")
    expect(list_).to_have_value("Your own settings")
    expect(hint).to_have_text("A: DDPM, 49 steps. B: DDIM, 50 steps.")
    own = link.input_value()
    choose(page, "What to compare", "DDPM against DDIM, 50 steps each")
    expect(hint).to_contain_text("Both start from the same noise")
    expect(plan(page)).to_contain_text("A: 50 steps")
    expect(list_).to_have_value("DDPM against DDIM, 50 steps each")
    list_.click()
    expect(page.get_by_role("option", name="Your own settings")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(link).to_have_value(re.compile(r"a\.num_inference_steps=50"))
    other = open_page("zh-CN", address=own)
    expect(other.get_by_label("对比什么", exact=True)).to_have_value("自己的设置")
    expect(other.locator(".hint").filter(visible=True)).to_have_text("A：DDPM，49 步；B：DDIM，50 步。")
    again = open_page(address=link.input_value())
    expect(again.get_by_label("What to compare", exact=True)).to_have_value("DDPM against DDIM, 50 steps each")


def test_a_link_leads_to_a_comparison_by_its_name(open_page, home_app):
    page = open_page("zh-CN", address=f"{home_app}/?tab=compare&preset=clipping")
    expect(page.get_by_label("对比什么", exact=True)).to_have_value("截断与不截断")
    other = open_page(address=f"{home_app}/?tab=compare&preset=nothing")
    expect(other.locator("#comparison .plan.wrong")).to_contain_text("Comparison: must be one of ddpm-ddim")


def test_a_comparison_stops_and_says_what_is_wrong(open_page):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Run A").click()
    link = page.get_by_label("Link to this comparison")
    choose(page, "Checkpoint", "slow")
    expect(link).to_have_value(re.compile("a.checkpoint=slow"))  # its own values are on the page
    set_number(page, "Steps", "1000")
    expect(link).to_have_value(re.compile("a.num_inference_steps=1000"))
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator(".strip-rows img").first).to_be_visible(timeout=RUN_SECONDS)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".progress").filter(visible=True)).to_contain_text(
        re.compile(r"Stopped after step \d+ of 1050"), timeout=RUN_SECONDS
    )
    choose(page, "Checkpoint", "faces")
    expect(plan(page)).to_contain_text("pictures of one size")  # before the click
    expect(plan(page)).to_have_class(re.compile("wrong"))
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("pictures of one size")
    choose(page, "Checkpoint", "clothes")
    expect(plan(page)).to_contain_text("A: 50 steps")
