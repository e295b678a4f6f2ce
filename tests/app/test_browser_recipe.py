"""Recipes in a real browser: saved pictures, links and earlier runs restore the settings and are verified."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.app.pages import RUN_SECONDS, choose, generate, set_number


def test_pictures_are_saved_as_png(open_page):
    page = open_page()
    generate(page)
    for link in (page.locator(".stage .grid a").first, page.get_by_role("link", name="Save all")):
        with page.expect_download() as download:
            link.click(modifiers=["ControlOrMeta"])
        assert re.fullmatch(r"clothes-ddim-0(-all)?\.png", download.value.suggested_filename)
        with open(download.value.path(), "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def saved_picture(page: Page, folder, number: int = 0):
    """Save a picture of the stage; number -1 is all of them in one."""
    link = page.get_by_role("link", name="Save all") if number < 0 else page.locator(".stage .grid a").nth(number)
    with page.expect_download() as download:
        link.click(modifiers=["ControlOrMeta"])  # a plain click shows it large
    file = folder / f"{number}-{download.value.suggested_filename}"
    download.value.save_as(file)
    return file


def drop(page: Page, file) -> None:
    page.locator("#recipe-file input[type=file]").set_input_files(file)


def drop_at(page: Page, selector: str, file, name: str = "a.png", kind: str = "image/png") -> None:
    """Drop a file with the mouse on some other place of the page."""
    made = """([bytes, name, type]) => {
        const held = new DataTransfer()
        held.items.add(new File([new Uint8Array(bytes)], name, {type}))
        return held
    }"""
    held = page.evaluate_handle(made, [list(file.read_bytes()), name, kind])
    page.evaluate(
        """([selector, dataTransfer]) => {
            const how = {dataTransfer, bubbles: true, cancelable: true}
            const caught = ["dragover", "drop"].map(
                name => !document.querySelector(selector).dispatchEvent(new DragEvent(name, how)))
            if (!caught.every(Boolean)) throw new Error("the browser would leave the page")
        }""",
        [selector, held],
    )


def test_a_saved_picture_can_be_dropped_anywhere(open_page, tmp_path):
    page = open_page()
    set_number(page, "Steps", "7")
    generate(page)
    first = saved_picture(page, tmp_path)
    set_number(page, "Steps", "6")
    generate(page)
    second = saved_picture(page, tmp_path, 1)
    page = open_page()
    drop_at(page, "#show", first)
    expect(page.locator("#recipe-said")).to_contain_text("are back")
    expect(page.get_by_label("number input for Steps")).to_have_value("7")
    drop_at(page, "#header", second)  # in the place of the first
    expect(page.get_by_label("number input for Steps")).to_have_value("6")
    drop_at(page, "#show", first, "notes.txt", "text/plain")
    page.get_by_role("tab", name="Explore").click()
    drop_at(page, "#header", first)
    page.get_by_role("tab", name="Generate").click()
    expect(page.get_by_label("number input for Steps")).to_have_value("6")
    page.locator("#language").get_by_text("简体").click()
    expect(page.locator("#recipe-said")).to_contain_text("参数都回来了")


@pytest.mark.parametrize("number", [4, -1])
def test_a_saved_picture_brings_its_settings_back_and_is_verified(open_page, tmp_path, number):
    page = open_page()
    set_number(page, "Steps", "7")
    page.get_by_role("radio", name="DDPM").click()
    page.get_by_label("Seed", exact=True).fill("1234")
    page.keyboard.press("Tab")
    generate(page)
    file = saved_picture(page, tmp_path, number)

    page = open_page()
    page.get_by_role("button", name="Recipe").click()
    drop(page, file)
    expect(page.locator(".said")).to_contain_text("are back")
    expect(page.get_by_label("number input for Steps")).to_have_value("7")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("1238" if number == 4 else "1234")
    expect(page.get_by_role("radio", name="DDPM")).to_be_checked()
    page.get_by_role("button", name="Verify").click()
    expect(page.locator(".said")).to_contain_text(re.compile("Identical|Within 1/255"), timeout=RUN_SECONDS)
    expect(page.locator(".stage .grid img")).to_have_count(1 if number == 4 else 18)
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()


def test_a_picture_that_was_painted_over_is_found_out(open_page, tmp_path):
    from PIL import Image

    from diffusion.sharing.recipe import png_text, read_png

    page = open_page("zh-CN")
    generate(page, "开始生成")
    with page.expect_download() as download:
        page.locator(".stage .grid a").first.click(modifiers=["ControlOrMeta"])
    with open(download.value.path(), "rb") as file:
        recipe, image = read_png(file.read())
    image.paste(255, (0, 0, 60, 60))
    image.save(tmp_path / "painted.png", pnginfo=png_text(recipe))
    Image.new("L", (9, 9)).save(tmp_path / "foreign.png")
    page.get_by_role("button", name="配方").click()
    drop(page, tmp_path / "foreign.png")
    expect(page.locator(".said.wrong")).to_contain_text("没有 DDPM 实验室的配方")
    expect(page.get_by_role("button", name="验证")).to_be_hidden()
    page.get_by_role("button", name="Clear").or_(page.locator("#recipe-file [aria-label='清除']")).first.click()
    drop(page, tmp_path / "painted.png")
    expect(page.locator(".said")).to_contain_text("参数都回来了")
    page.get_by_role("button", name="验证").click()
    expect(page.locator(".said.wrong")).to_contain_text("被改动过", timeout=RUN_SECONDS)


def test_a_link_opens_the_page_with_its_settings(open_page, home_app):
    page = open_page()
    choose(page, "What to draw", "Trousers")
    set_number(page, "Steps", "9")
    page.get_by_role("button", name="Recipe").click()
    link = page.get_by_label("Link to these settings")
    expect(link).to_have_value(re.compile("num_inference_steps=9"))
    address = link.input_value()
    assert address.startswith(f"{home_app}/?checkpoint=clothes&")
    python = page.get_by_role("region", name="Python")
    expect(python).to_contain_text("UNet2DModel.from_pretrained")
    other = open_page("zh-CN", address=address)
    expect(other.get_by_label("画什么", exact=True)).to_have_value("裤子")
    expect(
        other.locator("[aria-label='number input for 步数'], [aria-label*='步数'][type=number]").first
    ).to_have_value("9")


@pytest.mark.parametrize(
    "query",
    ["seed=abc", "checkpoint=nobody", "num_inference_steps=99999", "eta=nan", "start_step=2", "seed=" + "9" * 3000],
)
def test_a_broken_link_is_one_sentence_and_the_page_works(open_page, home_app, query):
    page = open_page(address=f"{home_app}/?{query}")
    notice = page.locator("#stage .stage .notice")  # in the pictures' place, not below the film
    expect(notice).to_contain_text("This link cannot be used here")
    expect(notice).to_be_in_viewport()
    generate(page)


def test_earlier_runs_come_back(open_page):
    page = open_page()
    set_number(page, "Steps", "5")
    generate(page)
    set_number(page, "Steps", "6")
    generate(page)
    page.reload()
    page.get_by_role("button", name="Recipe").click()
    page.get_by_label("Earlier runs in this browser", exact=True).click()
    options = page.get_by_role("option")
    expect(options).to_have_count(2)
    page.get_by_role("option", name=re.compile("5 steps")).click()
    expect(page.get_by_label("number input for Steps")).to_have_value("5")
