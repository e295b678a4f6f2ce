"""The page under a finger: a swipe scrolls it, all is large enough to tap, and what one waits for is on the screen."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.app.fingers import Finger
from tests.app.pages import RUN_SECONDS, compare, generate, open_at

RUN = "checkpoint=clothes&num_inference_steps=4&num_images=2"
GROUPS = "button.label-wrap"
# Visible buttons, links, fields and their like that are less than 44 x 44 pixels, as [width, height, HTML]. A box or a
# dot is tapped on its label, too
SMALL = """() => {
    const all = 'button, a[href], input, textarea, summary, [role=tab], [role=option]'
    return [...document.querySelectorAll(all)].flatMap(one => {
        if (!one.checkVisibility({visibilityProperty: true, opacityProperty: true}) || one.disabled) return []
        const target = one.matches('[type=checkbox], [type=radio]') ? one.closest('label') : one
        const {width, height, right} = target.getBoundingClientRect()
        if (!width || !height || right <= 1 || Math.min(width, height) >= 43.9) return []
        return [[width, height, one.outerHTML.replace(/data:[^"]*/g, '').slice(0, 160)]]
    })
}"""


def phone(open_page, address: str, query: str = "", locale: str = "en-US", width: int = 390) -> Page:
    """The page on a phone."""
    return open_page(locale, width, address=f"{address}/?{query}" if query else address, touch=True)


def open_groups(page: Page) -> None:
    """Open every group of controls that is closed; there can be groups inside."""
    while (closed := page.locator(f"{GROUPS}:not(.open)").filter(visible=True)).count():
        closed.first.click()


def slider_of_generate(page: Page):
    return page.locator("#controls input[type=range]").first


def slider_of_betas(page: Page):
    open_groups(page)
    return page.locator("#controls .track").first


def slider_of_film(page: Page):
    generate(page)
    return page.locator(".film input[type=range]")


def slider_of_compare(page: Page):
    open_groups(page)
    return page.locator(".control-num_inference_steps input[type=range]").filter(visible=True).first


def slider_of_outcome(page: Page):
    compare(page)
    return page.locator(".over input[type=range]")


def slider_of_explore(page: Page):
    return page.get_by_label("range slider for Samples").filter(visible=True)


def slider_of_chapter(page: Page):
    return page.locator("#chapter input[type=range]").first


SLIDERS = {
    "generate": (RUN, slider_of_generate),
    "betas": (RUN, slider_of_betas),
    "film": (RUN.replace("steps=4", "steps=24"), slider_of_film),
    "compare": ("tab=compare&preset=few-steps", slider_of_compare),
    "outcome": ("tab=compare&preset=few-steps", slider_of_outcome),
    "explore": ("tab=explore", slider_of_explore),
    "chapter": ("tab=maths&chapter=1", slider_of_chapter),
}


@pytest.mark.parametrize("where", SLIDERS)
def test_a_swipe_over_a_slider_scrolls_the_page_and_only_a_drag_or_a_tap_sets_it(open_page, home_app, where):
    query, find = SLIDERS[where]
    page = phone(open_page, home_app, query)
    slider = find(page)
    slider.wait_for()
    page.add_style_tag(content="body { padding: 600px 0 !important }")  # room to scroll both ways
    finger, first = Finger(page), slider.input_value()
    page.evaluate("window.inputs = 0; addEventListener('input', () => inputs += 1)")
    for down in (-150, 150):
        slider.evaluate("slider => slider.scrollIntoView({block: 'center'})")
        before = page.evaluate("scrollY")
        finger.swipe(slider, right=6, down=down)
        page.wait_for_function("before => Math.abs(scrollY - before) > 60", arg=before)
        assert slider.input_value() == first
    assert page.evaluate("inputs") == 0
    slider.evaluate("slider => slider.scrollIntoView({block: 'center'})")
    box = slider.bounding_box()
    finger.swipe(slider, right=-0.3 * box["width"], down=4)
    page.wait_for_function("inputs > 0")
    low = float(slider.input_value())
    least, most = (float(slider.get_attribute(name)) for name in ("min", "max"))
    assert 0.15 < (low - least) / (most - least) < 0.45  # it went from 60% to 30%
    finger.tap(slider, at=0.9)
    expect(slider).not_to_have_value(str(low))
    assert 0.8 < (float(slider.input_value()) - least) / (most - least) < 1


@pytest.mark.parametrize(("locale", "width"), [("en-US", 360), ("zh-CN", 390)])
@pytest.mark.parametrize("query", [RUN, "tab=compare", "tab=explore", "tab=maths&chapter=3"])
def test_everything_can_be_tapped_and_nothing_is_too_wide(open_page, home_app, query, locale, width):
    page = phone(open_page, home_app, query, locale, width)
    if "tab=maths" in query:
        page.locator("#chapter summary").first.wait_for()
    if query == RUN:
        generate(page, "Generate" if locale == "en-US" else "开始生成")
        page.locator(".film").wait_for()
    open_groups(page)
    assert page.evaluate(SMALL) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("[role=combobox]").filter(visible=True).first.or_(page.locator("#chapters")).first.tap()
    assert page.evaluate(SMALL) == []  # nor are the options of a list


@pytest.mark.parametrize("width", [360, 390])
def test_gradios_api_page_fits_a_phone(chromium, home_app, width):
    """Without open_page: Gradio's page asks for more than is on this machine, and its console says so."""
    page = chromium.new_page(viewport={"width": width, "height": 844}, has_touch=True, is_mobile=True)
    open_at(page, home_app)
    page.locator("#footer a").tap()
    page.get_by_role("link", name="Gradio's own page").tap()
    page.locator(".api-docs .snippet").first.wait_for()
    edges = "all => all.map(one => one.getBoundingClientRect().right)"
    assert max(page.locator(".api-docs :is(.snippet, h2 *, .banner-wrap button)").evaluate_all(edges)) <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_the_film_is_directly_below_the_pictures_and_no_room_is_left_empty(open_page, home_app):
    page = phone(open_page, home_app, RUN)
    panels, captions = page.locator(".stage .panels").bounding_box(), page.locator(".stage .captions").bounding_box()
    assert panels["height"] == pytest.approx((panels["width"] - 8) / 2, abs=1)  # two squares, and nothing around them
    generate(page)
    page.locator(".film").wait_for()
    grid, box = page.locator(".stage .grid").bounding_box(), page.locator(".stage .box").bounding_box()
    assert box["height"] == pytest.approx(grid["height"], abs=1)
    captions, film = page.locator(".stage .captions").bounding_box(), page.locator(".film").bounding_box()
    assert 0 <= film["y"] - captions["y"] - captions["height"] < 40
    assert film["y"] < page.locator("#controls").bounding_box()["y"]


def tap_start(page: Page, name: str) -> None:
    """Scroll a start button to the middle of the screen, as somebody who has set something near it, and tap it."""
    button = page.get_by_role("button", name=name, exact=True)
    expect(button).to_be_enabled()
    button.evaluate("button => button.scrollIntoView({block: 'center'})")
    button.tap()


def wait_for_end(page: Page) -> None:
    """The progress is on the screen until the job ends."""
    expect(page.locator(".progress.busy")).to_be_in_viewport(ratio=1)
    expect(page.locator(".progress.busy")).to_have_count(0, timeout=RUN_SECONDS)


SLOW_RUN = "checkpoint=slow&num_inference_steps=10&num_images=2"
STARTS = {
    "generate": (SLOW_RUN, "Generate", "#stage .grid"),
    "compare": (
        f"tab=compare&{'&'.join(f'{side}.{part}' for side in 'ab' for part in SLOW_RUN.split('&'))}", "Compare",
        "#comparison img >> nth=0",
    ),
    "explore": (
        "tab=explore&axis_1=num_inference_steps&axis_1_values=9,%2010&base.checkpoint=slow&base.num_images=1",
        "Explore", "#grid img >> nth=0",
    ),
    "frontier": (
        "tab=explore&axis_1=num_inference_steps&axis_1_values=9&frontier_steps=2,4&frontier_etas=ddim"
        "&frontier_samples=10&base.checkpoint=faces&base.num_images=1",
        "Measure", "#frontier-result svg.marks >> nth=0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("tab", STARTS)
def test_progress_and_result_of_a_tapped_start_are_on_the_screen(open_page, home_app, tab):
    query, name, result = STARTS[tab]
    page = phone(open_page, home_app, query)
    if tab == "generate":
        page.locator("#footer").evaluate("words => words.scrollIntoView()")  # far below the pictures
    tap_start(page, name)
    wait_for_end(page)
    expect(page.locator(result)).to_be_in_viewport()


def test_the_result_of_a_chapters_experiment_comes_on_the_screen(open_page, home_app):
    page = phone(open_page, home_app, "tab=maths&chapter=3&" + SLOW_RUN)
    start = page.locator("#chapter .go button.primary").filter(visible=True).first
    start.wait_for()
    start.evaluate("button => button.scrollIntoView({block: 'end'})")  # what follows it is below the screen
    shown = start.evaluate(
        "start => document.querySelector('[id$=\"-result\"]') && start.closest('.row').nextElementSibling.id"
    )
    start.tap()
    wait_for_end(page)
    assert shown.endswith("-progress")
    expect(page.locator("#" + shown.replace("-progress", "-result"))).to_be_in_viewport(ratio=0.3)


def test_a_visitor_who_sees_the_result_or_moves_on_is_left_in_place(open_page, home_app):
    page = open_page(address=f"{home_app}/?{SLOW_RUN}")
    generate(page)
    assert page.evaluate("scrollY") == 0
    page = phone(open_page, home_app, SLOW_RUN.replace("steps=10", "steps=60"))
    page.get_by_role("button", name="Generate", exact=True).tap()
    expect(page.locator(".progress.busy")).to_be_in_viewport()
    Finger(page).swipe(page.locator("#stage"), down=-300)
    expect(page.locator(".progress.busy")).to_have_count(0, timeout=RUN_SECONDS)
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.evaluate("scrollY") > 100


@pytest.mark.parametrize(
    "query",
    [
        "checkpoint=clothes&num_inference_steps=0",
        "tab=compare&a.num_inference_steps=0&b.num_inference_steps=4",
        "tab=explore&base.checkpoint=nowhere",
        "tab=explore&axis_1=banana",
        "tab=nowhere&checkpoint=nobody",
        "tab=maths&chapter=1&chain-and-jump.t=many",
    ],
)
def test_what_is_wrong_with_a_link_is_on_the_screen(open_page, home_app, query):
    page = phone(open_page, home_app, query)
    wrong = page.locator(".notice.broken, .plan.wrong").filter(visible=True).first
    expect(wrong).to_be_in_viewport(ratio=0.9)


def test_chips_set_the_steps_in_every_tab(open_page, home_app):
    for query in ("checkpoint=faces", "tab=compare", "tab=explore"):
        page = phone(open_page, home_app, query)
        if "tab" in query:
            open_groups(page)
        chips = page.locator(".chips[data-control=num_inference_steps]").filter(visible=True).last
        number = page.get_by_label("number input for Steps").filter(visible=True).last
        last = "100" if "faces" in query else "1000"
        said = ["10", "20", "50", *(["100"] if last == "1000" else []), f"all {last}"]
        expect(chips.get_by_role("button")).to_have_text(said, use_inner_text=True)
        for name, value in ((said[1], "20"), (said[-1], last)):
            chips.get_by_role("button", name=name, exact=True).tap()
            expect(number).to_have_value(value)
            pressed = chips.locator("button[aria-pressed=true]")
            expect(pressed).to_have_text([name], use_inner_text=True)
    page.get_by_text("简体", exact=True).tap()
    expect(chips.locator("button[aria-pressed=true]")).to_have_text(["全部 1000"], use_inner_text=True)


def test_the_track_of_the_betas_is_logarithmic_and_their_values_stay_exact(open_page, home_app):
    page = open_page(address=f"{home_app}/?{RUN}")
    open_groups(page)
    link = page.get_by_label("Link to these settings")
    for label, name, trained in (("β first (β_start)", "beta_start", "0.0001"), ("β last (β_end)", "beta_end", "0.02")):
        track = page.locator(f"#controls .control-{name} .track")
        number = page.get_by_label(f"number input for {label}").filter(visible=True)
        place, last = int(track.input_value()), int(track.get_attribute("max"))
        assert 0.25 < place / last < 0.75 and track.get_attribute("aria-valuetext") == trained
        expect(page.get_by_role("slider", name=f"range slider for {label}")).to_have_count(1)
        track.press("ArrowRight")
        expect(number).not_to_have_value(trained)
        assert float(trained) < float(number.input_value()) < 1.15 * float(trained)
        expect(link).to_have_value(re.compile(f"{name}={re.escape(number.input_value())}(&|$)"))
        track.press("ArrowLeft")
        expect(number).to_have_value(trained)
        expect(link).not_to_have_value(re.compile(name))  # just as trained
        for key, end in (("Home", "min"), ("End", "max")):
            track.press(key)
            expect(number).to_have_value(number.get_attribute(end))
        number.fill("0.001234")
        number.press("Tab")
        expect(link).to_have_value(re.compile(f"{name}=0.001234(&|$)"))
        expect(number).to_have_value("0.001234")
        stop = track.get_attribute("aria-valuetext")
        assert stop == "0.001234"
        number.fill(trained)
        number.press("Tab")
        expect(link).not_to_have_value(re.compile(name))


def test_the_track_hits_a_trained_value_that_is_not_round(open_page, home_app):
    page = open_page(address=f"{home_app}/?{RUN}")
    open_groups(page)
    block = page.locator("#controls .control-beta_end")
    track, number = block.locator(".track"), block.locator("input[type=number]")
    place = track.input_value()
    block.evaluate("block => block.classList.add('hits-0.02003')")
    expect(track).to_have_attribute("aria-valuetext", "0.02")
    track.press("ArrowRight")
    expect(number).to_have_value("0.02003")
    expect(track).to_have_value(str(int(place) + 1))
