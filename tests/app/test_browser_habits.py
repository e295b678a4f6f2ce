"""Habits from other programs in a real browser: Ctrl+Enter, buttons that stay in reach, a seed of -1."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.app.pages import RUN_SECONDS, generate, plan
from tests.app.test_browser_maths import maths_app, wait_for_chapter  # noqa: F401, a fixture

TABS = {"Generate": ".stage .grid", "Compare": ".over", "Explore": "#grid .cell:not(.waiting, .running)"}


def seed(page: Page):
    return page.get_by_label(re.compile("^(Seed|种子)$")).filter(visible=True)


@pytest.mark.parametrize(("tab", "result"), TABS.items())
@pytest.mark.parametrize("keys", ["Control+Enter", "Meta+Enter"])
def test_ctrl_enter_presses_the_main_button_of_the_open_tab(open_page, tab, result, keys):
    page = open_page()
    page.get_by_role("tab", name=tab).click()
    button = page.get_by_role("button", name=tab, exact=True)
    expect(button).to_have_attribute("title", "Ctrl+Enter presses this")
    if tab == "Explore":
        page.get_by_label("Values: Across").fill("1, 2")
    else:
        for group in ("Run A", "Run B") if tab == "Compare" else ():
            page.get_by_role("button", name=group).click()
        for steps in page.get_by_label("number input for Steps").filter(visible=True).all():
            steps.fill("2")
    expect(page.locator(result)).to_have_count(0)
    page.keyboard.press(keys)  # in the field that was filled last
    page.locator(result).first.wait_for(timeout=RUN_SECONDS)
    expect(button).to_be_enabled(timeout=RUN_SECONDS)
    for other in TABS.keys() - {tab}:
        assert page.locator(TABS[other]).count() == 0


def test_ctrl_enter_runs_the_experiment_that_has_the_focus(open_page, maths_app):  # noqa: F811
    page = open_page(address=f"{maths_app}/?tab=maths&chapter=1")
    wait_for_chapter(page, 1)
    runs = page.locator("#chapter").get_by_role("button", name="Run it on the network")
    for number in range(1, 12):
        page.locator("#chapters label").nth(number - 1).click()
        wait_for_chapter(page, number)
        if runs.count():
            break
    started = []
    page.on("request", lambda sent: "queue/join" in sent.url and started.append(sent))
    page.get_by_role("heading", level=1).last.click()
    page.keyboard.press("Control+Enter")  # no experiment has the focus
    page.locator("#chapter .experiment-controls:has(+ .go) input:visible").first.focus()
    with page.expect_request("**/queue/join*"):
        page.keyboard.press("Control+Enter")
    assert len({one.post_data_json["fn_index"] for one in started}) == 1


# Whether nothing that scrolls lies over a row of buttons
ON_TOP = """row => {
    const {left, right, top, bottom} = row.getBoundingClientRect()
    for (let x = left + 2; x < right; x += 20)
        for (let y = top + 2; y < bottom; y += 6)
            if (!row.contains(document.elementFromPoint(x, y))) return false
    return true
}"""


def test_a_list_that_is_left_with_tab_closes(open_page):
    page = open_page()
    page.get_by_role("tab", name="Generate").focus()
    lists = ("Checkpoint", "What to draw")
    for _ in range(9):
        page.keyboard.press("Tab")
        page.wait_for_timeout(300)
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        expect(page.get_by_role("listbox")).to_have_count(1 if focused in lists else 0)
        if focused == lists[1]:
            break
    else:
        raise AssertionError("the lists were never reached")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_have_count(0)


def test_arrow_keys_move_between_choices_and_tab_leaves_them(open_page):
    page = open_page()
    chosen = page.get_by_role("radio", name="DDIM")
    chosen.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="DDPM", exact=True)).to_be_checked()
    expect(page.get_by_role("radio", name="DDPM", exact=True)).to_be_focused()
    expect(chosen).not_to_be_checked()
    expect(page).to_have_url(re.compile("sampler=ddpm"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") != "radio"


@pytest.mark.parametrize("height", [900, 720])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_buttons_stay_in_reach_and_jump_nowhere(open_page, height, dark):
    page = open_page(width=1440 if height == 900 else 1280, dark=dark)
    page.set_viewport_size({"width": 1440 if height == 900 else 1280, "height": height})
    for group in page.locator("#controls button.label-wrap").all():
        group.click()
    button = page.get_by_role("button", name="Generate", exact=True)
    tops, end = [], page.evaluate("document.querySelector('#controls').getBoundingClientRect().bottom + scrollY")
    assert end > 2 * height
    for scrolled in range(0, int(end) - height, height // 3):
        page.evaluate("top => window.scrollTo(0, top)", scrolled)
        expect(button).to_be_in_viewport(ratio=1)
        tops.append(button.bounding_box()["y"])
        behind = button.evaluate("one => getComputedStyle(one.closest('#go')).backgroundColor")
        assert behind == ("rgb(22, 23, 25)" if dark else "rgb(250, 249, 247)")  # as the page: nothing shines through
        assert page.locator("#go").evaluate(ON_TOP)
    assert tops == sorted(tops, reverse=True)
    # What gets the focus is not below them
    for control in page.locator("#controls :is(input, .label-wrap):visible").all()[::4]:
        control.focus()
        row, box = page.locator("#go").bounding_box(), control.bounding_box()
        assert box["y"] + box["height"] <= row["y"] + 1 or box["y"] >= row["y"] + row["height"] - 1
    # A list that is open lies above them
    page.evaluate("window.scrollTo(0, 0)")
    page.get_by_label("Checkpoint", exact=True).filter(visible=True).click()
    option = page.get_by_role("option").filter(visible=True).last
    expect(option).to_be_visible()
    option.click()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_minus_one_is_a_random_seed_that_the_field_link_and_pictures_name(open_page, locale):
    page = open_page(locale)
    seen = set()
    for _ in range(2):
        seed(page).fill("-1")
        expect(seed(page)).to_have_value(re.compile(r"^\d+$"))
        seen.add(seed(page).input_value())
    assert len(seen) == 2
    drawn = int(seed(page).input_value())
    page.locator("#controls .control-num_inference_steps input[type=number]").fill("2")
    generate(page, "Generate" if locale == "en-US" else "开始生成")
    expect(page.locator(".stage .made")).to_contain_text(f"{drawn}–{drawn + 17}")
    expect(seed(page)).to_have_value(str(drawn))
    assert page.locator(".plan.wrong").count() == 0


def test_a_link_with_minus_one_opens_with_another_seed_each_time(open_page, home_app):
    found = set()
    for tab, query in (
        ("Generate", "checkpoint=clothes&seed=-1&num_images=2"),
        ("Compare", "tab=compare&a.checkpoint=clothes&a.seed=-1&b.checkpoint=clothes&b.seed=-1&b.eta=1"),
        ("Explore", "tab=explore&base.checkpoint=clothes&base.seed=-1&axis_1=eta&axis_1_values=0,1"),
    ):
        page = open_page(address=f"{home_app}/?{query}")
        if tab == "Explore":
            page.get_by_role("button", name="Settings that all cells share").click()
        expect(seed(page)).to_have_value(re.compile(r"^\d+$"))
        assert page.locator(".notice.broken, .plan.wrong").count() == 0
        found.add(seed(page).input_value())
    assert len(found) == 3


def test_an_axis_refuses_it_in_a_sentence(open_page):
    page = open_page("zh-CN")
    page.get_by_role("tab", name="探索").click()
    axis = page.get_by_label("X 轴（横向）", exact=True)
    axis.click()
    page.get_by_role("option", name="种子", exact=True).click()
    expect(page.get_by_label("取值：X 轴（横向）")).to_have_value("0-4")  # an example comes with the choice
    page.get_by_label("取值：X 轴（横向）").fill("3, -1")
    expect(plan(page).first).to_contain_text("-1 表示随机，只能填在种子一栏")
