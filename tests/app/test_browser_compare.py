"""The tab Compare in a real browser: two runs, their link, and invalid input."""

import re

from playwright.sync_api import expect

from tests.app.pages import RUN_SECONDS, choose, compare, plan, set_number


def test_two_runs_are_compared_and_a_link_brings_both_back(open_page, home_app):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator(".hint")).to_contain_text("Both start from the same noise")
    compare(page)
    expect(page.locator(".strip-rows img")).to_have_count(4 * 8)
    expect(page.locator(".outcome .vega-embed svg")).to_be_visible()
    expect(page.locator(".outcome")).to_contain_text("A: 50 network calls")
    page.get_by_label("How much of A and of B shows").fill("20")
    assert page.locator(".over .both").evaluate("box => box.style.getPropertyValue('--cut')") == "20%"
    choose(page, "What to compare", "Eight steps: hard for DDPM, easy for DDIM")
    expect(plan(page)).to_contain_text("A: 8 network calls for 4 pictures")
    page.get_by_role("button", name="Run A").click()
    expect(page.get_by_label("number input for Steps").filter(visible=True)).to_have_value("8")
    set_number(page, "Steps", "7")
    expect(plan(page)).to_contain_text("A: 7 network calls for 4 pictures")
    link = page.get_by_label("Link to this comparison")
    expect(link).to_have_value(re.compile(r"a\.num_inference_steps=7.*b\.num_inference_steps=8"))
    other = open_page("zh-CN", address=link.input_value())
    expect(other.get_by_role("tab", name="对比")).to_have_attribute("aria-selected", "true")
    expect(plan(other)).to_contain_text("B: 请网络看 8 遍")
    compare(other, "开始对比")
    expect(other.locator(".outcome")).to_contain_text("A：请网络看了 7 次")


def test_a_link_leads_to_a_comparison_by_its_name(open_page, home_app):
    page = open_page("zh-CN", address=f"{home_app}/?tab=compare&preset=clipping")
    expect(page.get_by_label("对比什么", exact=True)).to_have_value("截断与不截断")
    other = open_page(address=f"{home_app}/?tab=compare&preset=nothing")
    expect(other.locator("#tabs .notice").filter(visible=True)).to_contain_text("Comparison: must be one of ddpm-ddim")


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
    expect(plan(page)).to_contain_text("A: 50 network calls")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("pictures of one size")
