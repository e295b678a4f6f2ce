"""Explore in a real browser: the first grid, a link, a cell's settings, Stop, errors, the frontier, both languages."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from diffusion.sharing.recipe import Recipe
from tests.app.pages import RUN_SECONDS, choose, grave_findings, plan, set_number, untranslated

CELLS = ".explored .cell:not(.waiting):not(.running) img"


def open_explore(page: Page, name: str = "Explore") -> None:
    page.get_by_role("tab", name=name).click()
    expect(page.locator(".explored")).to_be_visible()


def explore(page: Page, name: str = "Explore") -> None:
    """Press Explore and wait for the last cell."""
    page.get_by_role("button", name=name, exact=True).click()
    page.locator("a[download='ddpm-lab-grid.png']").wait_for(timeout=RUN_SECONDS)
    expect(page.get_by_role("button", name=name, exact=True)).to_be_enabled(timeout=RUN_SECONDS)


def picture_of(address: str) -> Image.Image:
    """The picture in a data address."""
    return Image.open(BytesIO(base64.b64decode(address.partition(",")[2])))


def test_a_grid_is_drawn_saved_linked_and_opened_cell_by_cell(open_page):
    page = open_page()
    open_explore(page)
    expect(page.locator(".explored .waiting")).to_have_count(6)
    expect(plan(page).first).to_contain_text("6 cells; 128 network calls to come, 512 passes")
    expect(plan(page).first).to_contain_text("not snapshots of one run")
    explore(page)
    expect(page.locator(CELLS)).to_have_count(6)
    expect(page.locator(".explored .facts").first).to_contain_text(re.compile(r"4 calls.*\d\.\d+ s"))
    with page.expect_download() as download:
        page.get_by_role("link", name="one labelled picture").click()
    assert min(Image.open(download.value.path()).size) > 300
    with page.expect_download() as download:
        page.locator("a[download='ddpm-lab-grid.csv']").click()
    assert len(download.value.path().read_text(encoding="utf-8").splitlines()) == 7

    page.get_by_label("Values: Across").fill("50, 4")
    expect(plan(page).first).to_contain_text("Known already (4 cells)")
    expect(page.locator(CELLS)).to_have_count(4)
    address = page.get_by_label("Link to this grid").input_value()
    other = open_page("zh-CN", address=address)
    expect(other.get_by_role("tab", name="探索")).to_have_attribute("aria-selected", "true")
    expect(other.get_by_label("取值：X 轴（横向）")).to_have_value("50, 4")
    expect(other.locator(".explored .waiting")).to_have_count(4)  # nothing of another visitor
    expect(plan(other).first).to_contain_text("共 4 格")

    shown = page.locator(".explored .cell img").nth(1).get_attribute("src")
    page.locator(".explored .cell").nth(1).click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".stage .grid img")).to_have_count(4)  # at once: nothing was pressed
    expect(page.locator(".progress").filter(visible=True)).to_contain_text("Done: 4 steps")
    opened = [picture_of(one) for one in page.locator(".stage .grid a").evaluate_all("all => all.map(a => a.href)")]
    cell = np.asarray(picture_of(shown).convert("L"))
    side = cell.shape[0] if cell.shape[1] > 2 * cell.shape[0] else (cell.shape[0] - 1) // 2
    columns = (cell.shape[1] + 1) // (side + 1)
    for number, one in enumerate(opened):
        top, left = number // columns * (side + 1), number % columns * (side + 1)
        small = np.asarray(one.convert("L").resize((side, side), Image.Resampling.NEAREST))
        assert np.array_equal(small, cell[top : top + side, left : left + side])
        settings = Recipe.from_json(one.text["ddpm-lab"]).settings
        assert (settings.sampler, settings.num_inference_steps, settings.seed) == ("ddpm", 4, number)
    expect(page.get_by_label("number input for Steps").filter(visible=True)).to_have_value("4")
    expect(page.get_by_role("radio", name="DDPM").filter(visible=True)).to_be_checked()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".stage .grid img")).to_have_count(4, timeout=RUN_SECONDS)


def test_stop_keeps_cells_and_errors_name_the_value(open_page):
    page = open_page()
    open_explore(page)
    page.get_by_role("button", name="Settings that all cells share").click()
    choose(page, "Checkpoint", "slow")
    expect(page.get_by_label("Link to this grid")).to_have_value(re.compile("base.checkpoint=slow"))
    values = page.get_by_label("Values: Across")
    values.fill("2, 1000")
    expect(plan(page).first).to_contain_text("4 cells")
    page.get_by_role("button", name="Explore", exact=True).click()
    expect(page.locator(CELLS)).to_have_count(2, timeout=RUN_SECONDS)
    expect(page.locator(".explored .running img")).to_be_visible(timeout=RUN_SECONDS)
    page.get_by_role("button", name="Stop").filter(visible=True).click()
    expect(page.locator(".progress").filter(visible=True)).to_contain_text(
        re.compile(r"Stopped after step \d{1,3} of 2004")
    )
    expect(page.locator(CELLS)).to_have_count(2)
    expect(plan(page).first).to_contain_text("2 of the cells are known")

    page.get_by_label("简体").click()
    expect(page.get_by_role("button", name="开始探索")).to_be_enabled()
    expect(page.locator(CELLS)).to_have_count(2)
    values = page.get_by_label("取值：X 轴（横向）")
    for text, said in (
        ("2, 0", "X 轴（横向）的第 2 个值：步数（迭代步数）：不能小于 1"),
        ("2, 1001", "应在 [1, 1000] 之内"),
        ("x", "应是整数"),
    ):
        values.fill(text)
        expect(plan(page).first).to_contain_text(said)
        expect(plan(page).first).to_have_class(re.compile("wrong"))
    page.get_by_role("button", name="开始探索").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("步数（迭代步数）：应是整数")
    choose(page, "Y 轴（纵向）", "η（新噪点的份量）")
    expect(page.get_by_label("取值：Y 轴（纵向）")).to_have_value("0-1[5]")


def test_the_frontier_is_measured_beside_the_grid(open_page, home_app):
    page = open_page(address=f"{home_app}/?tab=explore&axis_1=seed&axis_1_values=0-2&base.checkpoint=faces")
    expect(page.locator(".explored .waiting")).to_have_count(3)
    page.get_by_label("Steps to measure").fill("2, 5, 20")
    expect(plan(page).nth(1)).to_contain_text("no feature space")
    page.get_by_role("button", name="Measure").click()
    expect(page.locator(".measured tbody tr")).to_have_count(3, timeout=RUN_SECONDS)
    expect(page.locator(".frontier .vega-embed svg")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"DDIM \(η = 0\) 20 RMS 0\.\d+"))).to_be_visible()
    expect(plan(page).nth(1)).to_contain_text("all known already")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("axis_1=num_inference_steps&axis_1_values=0", "Across, value 1: Steps: must be at least 1"),
        ("axis_1=seed&axis_1_values=0-19&base.num_inference_steps=1000&base.num_images=9", "40,000"),
    ],
)
def test_a_broken_link_is_one_sentence_and_the_tab_works(open_page, home_app, query, said):
    page = open_page(address=f"{home_app}/?tab=explore&base.checkpoint=clothes&{query}")
    expect(page.locator(".plan.wrong").filter(visible=True)).to_contain_text("This link cannot be used here")
    expect(page.locator(".plan.wrong").filter(visible=True)).to_contain_text(said)
    expect(page.locator(".explored .waiting")).to_have_count(6)


@pytest.mark.parametrize(("locale", "go", "dark"), [("en-US", "Explore", False), ("zh-CN", "开始探索", True)])
def test_fits_a_phone_and_is_accessible(open_page, locale, go, dark):
    page = open_page(locale, width=390, dark=dark)
    open_explore(page, "Explore" if locale == "en-US" else "探索")
    page.locator("button.label-wrap:visible").first.click()
    if locale == "en-US":
        set_number(page, "Number of pictures", "2")
    explore(page, go)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert grave_findings(page) == []
    if locale == "zh-CN":
        assert untranslated(page, "KID", "RMS", "clothes") == []


def test_values_are_picked_or_typed_by_their_names(open_page):
    page = open_page("zh-CN")
    open_explore(page, "探索")
    typed = page.get_by_label("取值：Y 轴（纵向）")
    picks = page.get_by_label("点选：Y 轴（纵向）").filter(visible=True)
    picks.click()
    page.get_by_role("option", name="UniPC").click()
    expect(typed).to_have_value("ddpm, ddim, unipc")
    expect(page.locator(".explored .waiting")).to_have_count(9)
    typed.fill("DPM++ 2M，heun")
    expect(page.locator(".axes .token", has_text="Heun")).to_be_visible()
    expect(page.locator(".axes .token")).to_have_count(2)
    page.get_by_label("取值：X 轴（横向）").fill("１～９（＋４）")
    expect(page.locator(".explored .waiting")).to_have_count(6)
    expect(page.locator(".explored tbody th").first).to_have_text(re.compile(r"DPM-Solver\+\+"))
    choose(page, "Y 轴（纵向）", "画什么")
    expect(typed).not_to_have_value("DPM++ 2M，heun")  # an example comes with the choice
    typed.fill("裤子、t-shirt/top")
    expect(page.locator(".explored tbody th").first).to_contain_text("裤子")
    typed.fill("裤")
    expect(plan(page).first).to_contain_text(re.compile("只能是 .*裤子.* 之一"))
    page.get_by_label("采样方法，用 η 或名字表示").fill("DDIM, 0.5, Heun")
    expect(plan(page).nth(1)).to_contain_text("共 10 个点")
