"""The words on the page in a real browser: no English on the Chinese page, short first sentences, words for a phone."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.maths.words import NAMES as CHAPTERS
from diffusion.samplers.registry import SAMPLERS
from tests.app.pages import plan

# What has no other name: of methods and their authors, programs, files, formats and mathematical objects
NAMES = (
    *(sampler.title for sampler in SAMPLERS.values()), *SAMPLERS,
    "DPM-Solver++", "Euler ancestral", "Euler a", "CFG", "KL", "KID", "RMS", "SNR", "ELBO", "FID",
    "Adam", "Jensen", "Ho",
    "Gradio", "curl", "MNIST", "Fashion-MNIST", "clothes", "faces", "slow", "broken",
    "Stable Diffusion", "WebUI", "ComfyUI", "Forge", "Checkpoint", "SD",
    "PNG", "CSV", "GIF", "Ctrl", "Enter", "Python", "diffusers", "torch", "leading", "trailing", "linspace", "Hub",
    "English", "Language", "beta", "log", "ln", "none", "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid",
    "matched", "naive", "β_start", "β_end", "x_t", "x_T", "x_s", "u_max", "sin", "cos", "tanh", "mmse", "bpd", "score",
    "Sohl-Dickstein", "CIFAR-10", "CIFAR", "Guo", "Shamai", "Verd", "Tweedie", "Sobolev", "Gross",
)  # fmt: skip
LONGEST_FIRST = sorted(NAMES, key=len, reverse=True)
KNOWN = re.compile("|".join(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])" for name in LONGEST_FIRST))
# Every text that is drawn, or read aloud, except formulas, code, scripts, and what says that it is in another language
WORDS = """() => {
    const ATTRIBUTES = ["aria-label", "aria-roledescription", "title", "alt", "placeholder", "aria-valuetext"];
    const isOther = (element) => !element.getClientRects().length || getComputedStyle(element).fontSize === "0px"
        || element.closest("script, style, pre, code, .katex, [aria-hidden=true], [lang]:not([lang|=zh])");
    const found = new Set();
    const spoken = (node) => node.parentElement.closest(".tutorial")
        ? node.textContent.replace(/“[^”]*”?|「[^」]*」?/g, "") : node.textContent;  // as the tutorial's author said it
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) if (!isOther(texts.currentNode.parentElement)) found.add(spoken(texts.currentNode));
    for (const element of document.querySelectorAll(ATTRIBUTES.map((name) => `[${name}]`).join(", ")))
        for (const name of ATTRIBUTES)
            if (element.hasAttribute(name) && !isOther(element)) found.add(element.getAttribute(name));
    document.querySelectorAll("[data-testid='upload-text']").forEach(
        (element) => found.add(getComputedStyle(element, "::after").content));
    return [...found];
}"""


def english(page: Page) -> list[str]:
    """The texts of the page, seen or read aloud, that hold a word of English beside the known names."""
    return [text for text in page.evaluate(WORDS) if re.search("[A-Za-z]{2,}", KNOWN.sub("", text))]


def open_everything(page: Page) -> None:
    """Open every closed group of the open tab, and every proof."""
    closed = page.locator("button.label-wrap:not(.open)").filter(visible=True)
    for _ in range(closed.count()):
        closed.first.click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


@pytest.mark.parametrize("browser", ["zh-CN", "en-US"])
def test_the_chinese_page_has_no_english(open_page, browser):
    """Whatever language the browser speaks, which Gradio's own words follow."""
    page = open_page(browser)
    if browser == "en-US":
        page.get_by_label("简体").click()
        expect(page.get_by_role("button", name="开始生成")).to_be_visible()
        page.reload()
        page.locator("body.ready").wait_for()
    for tab in ("生成", "对比", "探索"):
        page.get_by_role("tab", name=tab).click()
        open_everything(page)
        if tab == "生成":
            page.locator("#plots svg.marks").nth(2).wait_for()
            expect(page.locator("#recipe-file")).to_be_visible()
        assert not (found := english(page)), (tab, found)
    assert page.locator(".vega-actions, .vega-embed summary").filter(visible=True).count() == 0


def test_the_chinese_chapters_have_no_english(open_page, home_app):
    page = open_page("zh-CN", address=f"{home_app}/?tab=maths&chapter=1")
    found = {}
    for number in range(1, len(CHAPTERS) + 1):
        expect(page.locator("#chapter h1").filter(visible=True)).to_contain_text(f"{number}. ")
        open_everything(page)
        found |= {number: words} if (words := english(page)) else {}
        if number < len(CHAPTERS):
            page.get_by_role("button", name="下一章").click()
    assert found == {}


def test_the_english_page_keeps_gradios_english(open_page):
    page = open_page()
    page.get_by_label("简体").click()
    expect(page.get_by_label("步数（迭代步数）（填数字）")).to_be_visible()
    page.get_by_label("English").click()
    expect(page.get_by_label("number input for Steps")).to_be_visible()
    assert page.get_by_label("填数字").count() == 0


def test_a_plot_has_one_description_and_no_english_names_of_its_parts(open_page):
    page = open_page("zh-CN")
    page.get_by_role("button", name="幕后").click()
    page.locator("#plots svg.marks").nth(2).wait_for()
    plots = page.locator("#plots [role='graphics-document']")
    assert [one.get_attribute("aria-label")[:2] for one in plots.all()] == ["每个", "每个", "走到"]
    assert page.locator("#plots svg [aria-label]").count() == 0


@pytest.mark.parametrize(
    "locale, said, behind, table",
    [
        ("en-US", r"^50 steps, 18 pictures, about [\d.]+ (s|min)$", "Behind the scenes", "Which knob of Stable"),
        ("zh-CN", r"^50 步，18 张，大约 [\d.]+ (秒|分钟)$", "幕后", "这些旋钮在 SD 里叫什么"),
    ],
)
def test_the_first_sentence_is_short_and_the_rest_stands_behind_the_scenes(open_page, locale, said, behind, table):
    page = open_page(locale)
    expect(plan(page)).to_have_text(re.compile(said))
    assert page.get_by_text("t = 999").filter(visible=True).count() == 0
    assert page.locator("#plots").count() == 0
    page.get_by_role("button", name=behind).click()
    expect(page.locator("#behind")).to_contain_text("t = 999")
    expect(page.locator("#plots svg.marks")).to_have_count(3)
    page.get_by_role("button", name=table).click()
    row = page.locator(".elsewhere tr", has_text="CFG Scale")
    expect(row).to_contain_text("Guidance" if locale == "en-US" else "引导强度（CFG）")
    expect(row.locator("code").last).to_have_text("cfg")


def test_a_phone_is_asked_to_tap_and_a_mouse_to_drop(chromium, home_app, open_page):
    from tests.app.pages import open_at

    def words(page: Page) -> str:
        page.get_by_role("button", name="配方").click()
        text = page.locator("#recipe-file [data-testid='upload-text']")
        return text.evaluate("words => getComputedStyle(words, '::after').content")

    assert words(open_page("zh-CN")) == '"把文件拖到这里，或点击选择"'
    context = chromium.new_context(
        locale="zh-CN", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    open_at(page, home_app)
    assert words(page) == '"点这里选一张存下的 PNG"'
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    context.close()
