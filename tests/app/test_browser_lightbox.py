"""A picture, large, in a real browser: opened, turned over, saved, closed, its seed reused, by mouse, keys, touch."""

import pytest
from playwright.sync_api import Page, expect

from diffusion.sharing.recipe import read_png
from tests.app.fingers import Finger
from tests.app.pages import compare, generate, grave_findings, set_number

FOCUSED = "document.activeElement.title"


def generated(page: Page, name: str = "Generate") -> Page:
    """Make pictures in few steps from seed 40 on."""
    for control, value in (("seed", "40"), ("num_inference_steps", "3")):
        page.locator(f"#controls .control-{control} input[type=number]").fill(value)
        page.keyboard.press("Tab")
    generate(page, name)
    return page


def pictures(page: Page):
    return page.locator(".stage .grid a")


def dialog(page: Page):
    return page.locator("#lightbox dialog")


def caption(page: Page):
    return page.locator("#lightbox-caption")


def saved_recipe(page: Page, link):
    with page.expect_download() as download:
        link()
    assert download.value.suggested_filename.endswith(".png")
    return read_png(download.value.path().read_bytes())[0]


def test_a_clicked_picture_is_large_and_keys_turn_to_the_others(open_page):
    page = generated(open_page())
    titles = pictures(page).evaluate_all("all => all.map(one => one.title)")
    pictures(page).nth(1).click()
    expect(dialog(page)).to_be_visible()
    expect(caption(page)).to_have_text(titles[1])
    expect(page.locator("#lightbox .place")).to_have_text("2 / 18")
    image = page.locator("#lightbox img")
    assert image.get_attribute("src") == pictures(page).nth(1).get_attribute("href")
    assert image.get_attribute("alt") == titles[1]
    assert image.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"
    assert image.bounding_box()["height"] > 600
    page.keyboard.press("ArrowRight")
    expect(caption(page)).to_have_text(titles[2])
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(caption(page)).to_have_text(titles[-1])  # on from the first to the last
    page.get_by_role("button", name="Next picture").click()
    expect(caption(page)).to_have_text(titles[0])
    assert grave_findings(page) == []
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()
    assert page.evaluate(FOCUSED) == titles[0]
    page.keyboard.press("Enter")  # and again, by keys alone
    expect(caption(page)).to_have_text(titles[0])
    page.get_by_role("button", name="Close").click()
    expect(dialog(page)).to_be_hidden()
    pictures(page).nth(5).click()
    page.mouse.click(30, 300)  # beside the picture
    expect(dialog(page)).to_be_hidden()
    assert page.evaluate(FOCUSED) == titles[5]


def test_it_saves_the_picture_with_its_recipe_and_the_browser_follows_the_link_as_before(open_page):
    page = generated(open_page())
    pictures(page).nth(4).click()
    recipe = saved_recipe(page, lambda: page.get_by_role("link", name="Save as PNG").click())
    assert (recipe.settings.seed, recipe.settings.num_images) == (44, 1)
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    recipe = saved_recipe(page, lambda: pictures(page).nth(2).click(modifiers=["ControlOrMeta"]))
    assert recipe.settings.seed == 42
    expect(dialog(page)).to_be_hidden()


def test_its_seed_becomes_the_seed_of_its_own_tab(open_page):
    page = generated(open_page())
    pictures(page).nth(7).click()
    page.get_by_role("button", name="Reuse its seed").click()
    expect(dialog(page).get_by_role("status")).to_contain_text("holds this picture's seed")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("47")
    generate(page)
    expect(page.locator(".stage .made")).to_contain_text("seed 47–64")


def test_both_pictures_of_a_pair_follow_each_other_and_its_cut_stays(open_page):
    page = open_page()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Seed", exact=True).filter(visible=True).fill("9")
    for group in ("Run A", "Run B"):
        page.get_by_role("button", name=group).click()
        set_number(page, "Steps", "3")
        page.get_by_role("button", name=group).click()
    compare(page)
    pair = page.locator(".over .pair").nth(1)
    pair.hover()
    cut = page.locator(".over input").input_value()
    pair.get_by_role("link").click()
    expect(caption(page)).to_have_text("A: final picture 2")
    page.keyboard.press("ArrowRight")
    expect(caption(page)).to_have_text("B: final picture 2")
    recipe = saved_recipe(page, lambda: page.get_by_role("link", name="Save as PNG").click())
    assert (recipe.settings.sampler, recipe.settings.seed, recipe.settings.num_images) == ("ddim", 10, 1)
    page.get_by_role("button", name="Reuse its seed").click()
    page.keyboard.press("Escape")
    assert page.locator(".over input").input_value() == cut
    assert page.evaluate("document.activeElement.title") == "A: final picture 2"  # the pair's only corner
    expect(page.get_by_label("Seed", exact=True).filter(visible=True)).to_have_value("10")
    page.locator(".strip-rows a").first.click()
    expect(caption(page)).to_contain_text("A: the noisy pictures before step 1")
    expect(page.get_by_role("button", name="Reuse its seed")).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_fingers_turn_it_over_and_close_it(open_page, dark):
    page = generated(open_page("zh-CN", width=390, dark=dark, touch=True), "开始生成")
    titles = pictures(page).evaluate_all("all => all.map(one => one.title)")
    pictures(page).nth(3).tap()
    expect(caption(page)).to_have_text(titles[3])
    finger, image = Finger(page), page.locator("#lightbox img")
    finger.swipe(image, right=-120)
    expect(caption(page)).to_have_text(titles[4])
    finger.swipe(image, right=120, at=0.3)
    expect(caption(page)).to_have_text(titles[3])
    finger.swipe(image, down=-150)
    expect(caption(page)).to_have_text(titles[3])
    small = "all => all.filter(one => one.offsetParent && Math.min(one.offsetWidth, one.offsetHeight) < 44).length"
    assert page.locator("#lightbox :is(button, a)").evaluate_all(small) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert grave_findings(page) == []
    box = image.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + 20)  # above the picture, which is not so high
    expect(dialog(page)).to_be_hidden()


def test_in_a_space_it_opens_where_the_visitor_looks(chromium, home_app):
    """A Space shows the page in a frame of another site, as high as the page; a private window denies it storage."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    outer = context.new_page()
    site = "http://space.localhost:9/"
    frame = f'<iframe src="{home_app}" style="width: 100%; height: 3000px; border: 0"></iframe>'
    outer.route(site, lambda route: route.fulfill(content_type="text/html", body=frame))
    context.grant_permissions(["local-network-access"])
    outer.goto(site)
    frame = outer.frame_locator("iframe")
    frame.locator("body.ready").wait_for()
    frame.get_by_label("number input for Steps").filter(visible=True).fill("3")
    frame.get_by_role("button", name="Generate", exact=True).click()
    frame.locator(".stage .grid a").last.wait_for()
    outer.mouse.wheel(0, 150)
    frame.locator(".stage .grid a").last.click()
    close = frame.get_by_role("button", name="Close")
    expect(close).to_be_in_viewport(ratio=1)
    expect(frame.get_by_role("link", name="Save as PNG")).to_be_in_viewport(ratio=1)
    close.click()
    expect(frame.locator("#lightbox dialog")).to_be_hidden()
    context.close()


def test_back_closes_the_picture_and_nothing_else(open_page):
    page = generated(open_page())
    pictures(page).first.click()
    expect(page.locator("#lightbox dialog")).to_be_visible()
    address, count = page.url, page.evaluate("history.length")
    page.go_back()
    expect(page.locator("#lightbox dialog")).to_be_hidden()
    expect(page.get_by_label("number input for Steps")).to_have_value("3")
    assert page.url == address and pictures(page).count() == 18
    for _ in range(3):  # closed in another way, it leaves nothing to go back to
        pictures(page).first.click()
        page.keyboard.press("Escape")
        expect(page.locator("#lightbox dialog")).to_be_hidden()
        page.wait_for_function("() => !history.state?.isLarge")
    assert page.evaluate("history.length") == count
