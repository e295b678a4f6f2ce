"""The page in a real browser: everything that a visitor sees and does, in both languages."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.app.pages import (
    RUN_SECONDS,
    choose,
    choose_checkpoint,
    compare,
    generate,
    grave_findings,
    plan,
    set_number,
    untranslated,
)
from tests.app.running import REPOSITORY, running_app


def natural_sizes(page: Page) -> list[int]:
    return page.locator(".stage img").evaluate_all("images => images.map(image => image.naturalWidth)")


def test_opens_with_pictures(open_page):
    page = open_page()
    expect(page).to_have_title("DDPM Lab")
    expect(page.locator(".stage img")).to_have_count(2)
    assert all(size > 20 for size in natural_sizes(page))
    expect(plan(page)).to_contain_text("50 steps, 18 pictures")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert "__i18n__" not in page.content()
    assert page.locator(".stage img").first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"


def test_every_checkpoint_generates_with_ddpm_and_ddim_and_other_betas(open_page):
    page = open_page()
    page.get_by_role("button", name="Noise schedule").click()
    for checkpoint in ("clothes", "faces"):
        choose_checkpoint(page, checkpoint)
        for sampler in ("DDIM", "DDPM"):
            page.get_by_role("radio", name=sampler).click()
            generate(page)
            expect(page.locator(".stage .grid img")).to_have_count(18)
            assert natural_sizes(page) == [224] * 18
        if checkpoint == "faces":
            choose(page, "Shape of the schedule", "Linear")
        set_number(page, "β last (β_end)", "0.1")
        set_number(page, "β first (β_start)", "0.001")
        expect(plan(page)).to_contain_text("not those of the training")
        for told in ("matched", "naive"):
            page.get_by_label(re.compile(told)).click()
            generate(page)
        page.get_by_role("button", name="Back to the trained values").click()
        expect(plan(page)).not_to_contain_text("not those of the training")


def test_the_same_seed_gives_the_same_pictures(open_page):
    page, other = open_page(), open_page("zh-CN")
    generate(page)
    generate(other, "开始生成")
    address = "images => images.map(image => image.src)"
    assert page.locator(".stage img").evaluate_all(address) == other.locator(".stage img").evaluate_all(address)
    page.get_by_role("button", name="Roll").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("0")
    generate(page)
    assert page.locator(".stage img").evaluate_all(address) != other.locator(".stage img").evaluate_all(address)


def test_stop_keeps_what_is_there(open_page):
    page = open_page()
    choose_checkpoint(page, "slow")
    set_number(page, "Steps", "1000")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".stage .panels img[alt*='guessed']")).to_be_visible(timeout=RUN_SECONDS)
    expect(page.locator(".progress")).to_contain_text(re.compile(r"Step \d+ of 1000 · about \d+ s left"))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".progress")).to_contain_text(re.compile(r"Stopped after step \d{1,3} of 1000"))
    expect(page.locator(".stage .grid img")).to_have_count(18)
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def test_a_second_visitor_waits_in_line_and_the_controls_still_answer(open_page):
    first, second = open_page(), open_page()
    choose_checkpoint(first, "slow")
    set_number(first, "Steps", "1000")
    first.get_by_role("button", name="Generate", exact=True).click()
    expect(first.locator(".stage .panels img[alt*='guessed']")).to_be_visible(timeout=RUN_SECONDS)
    second.get_by_role("button", name="Generate", exact=True).click()
    expect(second.locator(".progress")).to_contain_text(re.compile(r"1 before you, about \d+ s"))
    set_number(second, "Steps", "7")
    expect(plan(second)).to_contain_text("7 steps")
    expect(second.locator(".stage .grid")).to_have_count(0)
    first.get_by_role("button", name="Stop").click()
    expect(second.locator(".stage .grid")).to_be_visible(timeout=RUN_SECONDS)
    expect(second.locator(".progress")).to_contain_text("Done: 50 steps")


def test_nothing_jumps(open_page):
    page = open_page()
    expect(plan(page)).to_contain_text("about")  # the sentence above may be a row longer with it
    box = "box => { const r = box.getBoundingClientRect(); return [r.x, r.y, r.width, r.height].map(Math.round) }"
    choose_checkpoint(page, "slow")
    set_number(page, "Steps", "20")
    expect(plan(page)).to_contain_text("about")
    opened = page.locator(".stage .box").evaluate(box)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".stage .panels img[alt*='guessed']")).to_be_visible(timeout=RUN_SECONDS)
    running = page.locator(".stage .box").evaluate(box)
    expect(page.locator(".stage .grid")).to_be_visible(timeout=RUN_SECONDS)
    assert opened == running == page.locator(".stage .box").evaluate(box)


def test_plots_follow_the_controls_before_anything_runs(open_page):
    page = open_page()
    page.get_by_role("button", name="Behind the scenes").click()
    drawn = page.locator("#plots .vega-embed svg")
    expect(drawn).to_have_count(3)
    expect(plan(page)).to_contain_text(re.compile(r", about \d"))
    before = page.locator("#plots").inner_html()
    heights = "all => all.map(one => one.getBoundingClientRect().height)"
    opened = page.locator("#plots > .column").evaluate_all(heights)
    page.get_by_role("button", name="Noise schedule").click()
    set_number(page, "β last (β_end)", "0.08")
    expect(plan(page)).to_contain_text("lie beyond the noise levels")
    expect(page.locator("#explanations")).to_contain_text("to 0.08, and of a picture's variance")
    page.wait_for_function("before => document.querySelector('#plots').innerHTML !== before", arg=before)
    expect(drawn).to_have_count(3)
    assert page.locator("#plots > .column").evaluate_all(heights) == opened
    page.get_by_label(re.compile("naive")).click()
    expect(plan(page)).to_contain_text("times the noise that it gets")
    with page.expect_download() as download:
        page.get_by_role("link", name="All numbers as CSV").click()
    assert len(download.value.path().read_text().splitlines()) == 1001


def test_a_run_can_be_scrubbed_played_and_saved_as_an_animation(open_page):
    page = open_page()
    expect(page.get_by_role("button", name="animation")).to_be_hidden()
    set_number(page, "Steps", "12")
    generate(page)
    slider, position = page.get_by_label("Step of the run"), page.locator(".film output")
    expect(position).to_have_text("12 / 12 · t = 82")
    slider.focus()
    page.keyboard.press("Home")
    expect(position).to_have_text("0 / 12 · x_T")
    page.keyboard.press("ArrowRight")
    expect(position).to_have_text("1 / 12 · t = 999")
    page.keyboard.press("ArrowRight")
    expect(position).to_have_text("2 / 12 · t = 916")
    page.get_by_role("button", name="Play or pause").click()
    expect(position).to_have_text("12 / 12 · t = 82")
    page.get_by_role("button", name="animation").click()
    with page.expect_download() as download:
        page.locator("#animation a").click()
    assert download.value.suggested_filename.endswith(".gif")
    assert download.value.path().read_bytes()[:6] == b"GIF89a"
    choose_checkpoint(page, "faces")
    expect(page.locator(".film")).to_have_count(0)
    expect(page.get_by_role("button", name="animation")).to_be_hidden()


@pytest.mark.parametrize("locale", ["zh", "zh-CN", "zh-Hans", "zh-SG"])
def test_chinese_browsers_get_chinese(open_page, locale):
    page = open_page(locale)
    expect(page.get_by_role("button", name="开始生成")).to_be_visible()
    expect(page).to_have_title("DDPM 实验室")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert untranslated(page, "MNIST", "clothes", "faces", "slow", "diffusers") == []
    assert "__i18n__" not in page.content()


def test_the_language_is_switched_in_place_and_remembered(open_page):
    page = open_page("en-US")
    set_number(page, "Steps", "7")
    generate(page)
    pictures = page.locator(".stage .grid img").evaluate_all("all => all.map(one => one.src)")
    page.get_by_label("简体").click()
    expect(page.get_by_role("button", name="开始生成")).to_be_visible()
    expect(plan(page)).to_contain_text("7 步，18 张")
    expect(page.locator(".captions")).to_contain_text("18 张图")
    expect(page.locator(".progress")).to_contain_text("画好了：7 步")
    page.get_by_role("button", name="配方").click()
    dropped = page.locator("#recipe-file [data-testid='upload-text']")
    assert "把文件拖到这里" in dropped.evaluate("words => getComputedStyle(words, '::after').content")
    assert page.locator(".stage .grid img").evaluate_all("all => all.map(one => one.src)") == pictures
    page.reload()
    expect(page.get_by_role("button", name="开始生成")).to_be_visible()
    page.get_by_label("English").click()
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_visible()


@pytest.mark.parametrize("locale, go, said", [("en-US", "Generate", "must lie in"), ("zh-HK", "開始生成", "應在")])
def test_an_error_is_shown_in_words(open_page, locale, go, said):
    page = open_page(locale)
    page.locator("button.label-wrap").nth(1).click()
    page.locator("input[type=number][aria-label*='β_start']").fill("0.01")
    page.locator("input[type=number][aria-label*='β_end']").fill("0.001")
    page.keyboard.press("Tab")
    expect(plan(page)).to_contain_text(said)
    expect(plan(page)).to_have_class(re.compile("wrong"))
    page.get_by_role("button", name=go, exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text(said)
    assert page.locator(".toast-title").evaluate("title => getComputedStyle(title).fontSize") == "0px"
    expect(page.get_by_role("button", name=go, exact=True)).to_be_enabled()


def test_a_broken_checkpoint_says_why_and_the_others_work(open_page):
    page = open_page()
    choose(page, "Checkpoint", "broken (cannot be used)")
    expect(page.locator(".stage .notice")).to_contain_text("EvilPipeline")
    choose(page, "Checkpoint", "faces")
    expect(page.locator(".stage .panels img")).to_have_count(2)
    expect(page.get_by_label("What to draw", exact=True)).to_have_count(0)


def test_hides_what_means_nothing(open_page):
    page = open_page()
    page.get_by_role("button", name="Sampler in detail").click()
    expect(page.get_by_label("number input for η (eta)")).to_be_visible()
    page.get_by_role("radio", name="DDPM").click()
    expect(page.get_by_label("number input for η (eta)")).to_have_count(0)
    expect(page.get_by_text("Variance of a step")).to_be_visible()


def test_timesteps_follow_the_sampler_unless_they_were_chosen(open_page):
    page = open_page()
    page.get_by_role("button", name="Recipe").click()
    link = page.get_by_label("Link to these settings")

    def chosen(sampler, spacing):
        page.get_by_role("radio", name=sampler).click()
        expect(link).to_have_value(re.compile(f"timestep_spacing={spacing}(&|$)"))

    for _ in range(3):  # as fast as one can click: the last one counts
        for name in ("UniPC", "DPM-Solver++ (2M)"):
            page.get_by_role("radio", name=name).click()
        chosen("DDPM", "trailing")
        chosen("UniPC", "power")
        chosen("DDIM", "trailing")
    expect(link).to_have_value(re.compile("sampler=ddim&"))
    page.get_by_role("button", name="Sampler in detail").click()
    for name in ("Even", "Leading"):
        page.get_by_role("radio", name=name).click()
        chosen("UniPC", name.lower())
        chosen("DDIM", name.lower())


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_is_accessible(open_page, dark):
    page = open_page(dark=dark)
    for group in page.locator("button.label-wrap").all():
        group.click()
    generate(page)
    assert grave_findings(page) == []
    page.get_by_role("tab", name="Compare").click()
    compare(page)
    for group in page.locator("button.label-wrap:visible").all():
        group.click()
    assert grave_findings(page) == []


def test_a_page_without_checkpoints_says_so(open_page, tmp_path):
    (tmp_path / "none").mkdir()
    with running_app(tmp_path / "none", tmp_path) as address:
        page = open_page("zh-CN", address=address)
        expect(page.locator(".stage .notice")).to_contain_text("还没有模型")
        page.close()


def test_the_shipped_checkpoints_generate_with_ddpm_and_ddim_on_other_betas(open_page, tmp_path):
    with running_app(REPOSITORY / "checkpoints", tmp_path) as address:
        page = open_page(address=address)
        page.get_by_role("button", name="Noise schedule").click()
        for checkpoint in ("Clothes (Fashion-MNIST)", "Handwritten digits (MNIST)", "Pixel faces"):
            choose_checkpoint(page, checkpoint)
            set_number(page, "Steps", "5")
            set_number(page, "β last (β_end)", "0.03")
            for sampler in ("DDIM", "DDPM"):
                page.get_by_role("radio", name=sampler).click()
                expect(plan(page)).to_contain_text("not those of the training")
                generate(page)
                expect(page.locator(".progress")).to_contain_text("Done: 5 steps")
        page.close()
