"""Stop takes a run that waits out of the line at once, and the next click works."""

import re

from playwright.sync_api import expect

from tests.app.pages import RUN_SECONDS, choose_checkpoint, plan, set_number


def test_a_waiting_run_leaves_the_line_and_the_next_click_works(open_page):
    first, second = open_page(), open_page()
    choose_checkpoint(first, "slow")
    set_number(first, "Steps", "1000")
    expect(plan(first)).to_contain_text(re.compile("1,?000 steps, "))
    set_number(second, "Steps", "7")
    expect(plan(second)).to_contain_text("7 steps, ")
    first.get_by_role("button", name="Generate", exact=True).click()
    expect(first.locator(".stage .panels img[alt*='guessed']")).to_be_visible(timeout=RUN_SECONDS)
    go, stop = (second.get_by_role("button", name=name, exact=True) for name in ("Generate", "Stop"))
    for _ in range(2):  # the place can be given up more than once
        go.click()
        expect(second.locator(".progress")).to_contain_text("1 before you")
        stop.click()
        expect(second.locator(".progress")).to_contain_text("it has left the queue")
        expect(stop).to_be_disabled()
        expect(go).to_be_enabled()
    set_number(second, "Steps", "9")
    expect(plan(second)).to_contain_text("9 steps, ")
    go.click()
    expect(second.locator(".progress")).to_contain_text("1 before you")
    first.get_by_role("button", name="Stop", exact=True).click()
    expect(second.locator(".progress")).to_contain_text("Done: 9 steps", timeout=RUN_SECONDS)
    expect(go).to_be_enabled()
    expect(first.locator(".progress")).to_contain_text("Stopped after step")
