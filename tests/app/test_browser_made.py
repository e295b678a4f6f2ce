"""Pictures and the settings that made them: the line below, restored recipes, and which file a verdict is about."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.app.pages import RUN_SECONDS, choose_checkpoint, generate, set_number
from tests.app.test_browser_recipe import drop, saved_picture


def made(page: Page):
    return page.locator(".stage .made")


def test_pictures_say_what_made_them_and_that_the_controls_moved_on(open_page):
    page = open_page()
    set_number(page, "Steps", "7")
    generate(page)
    expect(made(page)).to_contain_text("clothes · DDIM · 7 steps · seed 0–17")
    other = page.locator(".stage .other")
    expect(other).to_be_hidden()
    set_number(page, "Steps", "8")
    expect(other).to_be_visible()
    expect(other).to_contain_text("The controls hold other settings now.")
    set_number(page, "Steps", "7")
    expect(other).to_be_hidden()
    page.get_by_label("简体").click()
    expect(made(page)).to_contain_text("DDIM · 7 步 · 种子 0–17")
    expect(other).to_be_hidden()


def grid(page: Page):
    return page.locator(".stage .grid")


def test_a_restored_recipe_brings_its_own_pictures_or_keeps_those_there_until_new_ones_come(open_page, tmp_path):
    page = open_page()
    set_number(page, "Steps", "5")
    generate(page)
    file, first = saved_picture(page, tmp_path, -1), grid(page).inner_html()
    set_number(page, "Steps", "6")
    generate(page)
    page.get_by_role("button", name="Recipe").click()
    page.get_by_label("Earlier runs in this browser", exact=True).click()
    page.get_by_role("option", name=re.compile("5 steps")).click()
    expect(page.locator(".film output")).to_contain_text("5 / 5")  # this visitor has made them
    assert grid(page).inner_html() == first
    expect(page.locator(".stage .other")).to_be_hidden()

    page = open_page()
    set_number(page, "Steps", "6")
    generate(page)
    pictures = grid(page).inner_html()
    page.get_by_role("button", name="Recipe").click()
    drop(page, file)
    expect(page.get_by_label("number input for Steps")).to_have_value("5")
    expect(page.locator(".stage .other")).to_be_visible()
    assert grid(page).inner_html() == pictures
    expect(page.locator(".film output")).to_contain_text("6 / 6")
    generate(page)
    expect(made(page)).to_contain_text("5 steps")
    expect(page.locator(".stage .other")).to_be_hidden()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_verdict_is_about_the_file_that_was_verified(open_page, tmp_path, replaced):
    page = open_page()
    choose_checkpoint(page, "slow")
    set_number(page, "Steps", "60" if replaced else "3")
    generate(page)
    file = saved_picture(page, tmp_path, -1)
    page.get_by_role("button", name="Recipe").click()
    verify = page.get_by_role("button", name="Verify")
    expect(page.locator("#recipe-file")).to_be_visible()
    expect(verify).to_be_hidden()  # nothing to verify yet
    film = page.locator(".film").inner_html()
    drop(page, file)
    expect(page.locator(".said")).to_contain_text("are back")
    assert page.locator(".film").inner_html() == film
    verify.click()
    if replaced:
        page.get_by_role("button", name="Clear").first.click()
        expect(verify).to_be_hidden()
        other = tmp_path / "other.png"
        other.write_bytes(file.read_bytes() + b"\0")  # another file, with the same recipe
        drop(page, other)
    said = page.locator(".said")
    expect(said).to_contain_text(re.compile("Identical|Within 1/255"), timeout=RUN_SECONDS)
    before = f"{file.name}, the file that was here before"
    expect(said).to_contain_text(before) if replaced else expect(said).not_to_contain_text("here before")
    if not replaced:
        page.get_by_role("button", name="Clear").first.click()
        expect(verify).to_be_hidden()
        expect(said).to_have_count(0)
