"""Dropdowns in a real browser: a choice triggers one answer, and opening a list without choosing changes nothing."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.app.pages import choose, choose_checkpoint, generate, plan, set_number

# Tab, group to open first, label, an option that does not stand there at first
DROPDOWNS = [
    ("Generate", None, "Checkpoint", "faces"),
    ("Compare", None, "What to compare", "η = 0 against η = 1"),
    ("Compare", "Run A", "Checkpoint", "faces"),
    ("Explore", None, "What to explore", "Six seeds, two samplers"),
    ("Explore", None, "Across", "η (eta)"),
    ("Explore", "Settings that all cells share", "Checkpoint", "faces"),
]


class Asked:
    """What the page asks the server, from its making on. numbers: of the events, as they came."""

    def __init__(self, page: Page):
        self.page, self.numbers, self.open = page, [], set()
        page.on("request", self._begun)
        page.on("requestfinished", lambda sent: self.open.discard(sent))
        page.on("requestfailed", lambda sent: self.open.discard(sent))

    def _begun(self, sent: Request) -> None:
        if "/run/predict" in sent.url:
            self.open.add(sent)
            self.numbers.append(sent.post_data_json["fn_index"])

    def settle(self) -> list[int]:
        """Wait until all is answered and nothing more is asked; the events since the last time."""
        calm = 0
        for _ in range(300):
            before = len(self.numbers)
            self.page.wait_for_timeout(100)
            calm = 0 if self.open or len(self.numbers) > before else calm + 1
            if calm == 5:
                found, self.numbers = self.numbers, []
                return found
        raise TimeoutError(f"still open: {[one.post_data_json['fn_index'] for one in self.open]}")


def until(page: Page, condition: Callable[[], object]) -> None:
    """Wait for what the test itself takes note of."""
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(100)
    raise TimeoutError("it never came to that")


def measured(open_page) -> tuple[Page, Asked]:
    """A page that has nothing more to ask of itself, the speed of its checkpoint included."""
    page = open_page()
    expect(plan(page)).to_contain_text("about")
    asked = Asked(page)
    asked.settle()
    return page, asked


def look(page: Page, dropdown: Locator) -> None:
    """Open a list, and leave it as it is."""
    dropdown.click()
    expect(page.get_by_role("option").filter(visible=True).first).to_be_visible()
    leave(page)


def leave(page: Page) -> None:
    page.get_by_role("heading", level=1).click()
    expect(page.get_by_role("option").filter(visible=True)).to_have_count(0)


def open_list(page: Page, tab: str, group: str | None, label: str) -> Locator:
    """The dropdown of a tab, in sight."""
    page.get_by_role("tab", name=tab).click()
    if group:
        page.get_by_role("button", name=group).filter(visible=True).click()
    found = page.get_by_label(label, exact=True).filter(visible=True)
    expect(found).to_be_visible()
    return found


@pytest.mark.parametrize(("tab", "group", "label", "option"), DROPDOWNS)
def test_a_choice_is_answered_once_and_a_look_at_the_list_not_at_all(open_page, tab, group, label, option):
    page, asked = measured(open_page)
    dropdown = open_list(page, tab, group, label)
    first = dropdown.input_value()
    asked.settle()
    look(page, dropdown)
    look(page, dropdown)
    assert asked.settle() == []
    dropdown.click()
    page.get_by_role("option", name=option, exact=True).filter(visible=True).click()
    event, *others = asked.settle()
    assert event not in others
    expect(dropdown).to_have_value(option)

    # The same with keys, back to where it began
    dropdown.focus()
    options = [text.strip().removeprefix("✓").strip() for text in page.get_by_role("option").all_inner_texts()]
    way = options.index(first) - options.index(option)
    for _ in range(abs(way)):
        page.keyboard.press("ArrowDown" if way > 0 else "ArrowUp")
    page.keyboard.press("Enter")
    expect(dropdown).to_have_value(first)
    assert asked.settle().count(event) == 1


def test_a_look_at_the_checkpoints_keeps_what_was_set(open_page):
    page, asked = measured(open_page)
    set_number(page, "Steps", "7")
    asked.settle()
    look(page, page.get_by_label("Checkpoint", exact=True).filter(visible=True))
    assert asked.settle() == []
    expect(page.get_by_label("number input for Steps")).to_have_value("7")


def test_a_second_choice_outlives_the_late_answer_to_the_first(open_page):
    page, asked = measured(open_page)
    dropdown = open_list(page, "Compare", None, "What to compare")
    asked.settle()
    held = []
    page.route("**/run/predict*", lambda route: route.continue_() if held else held.append(route))
    choose(page, "What to compare", "η = 0 against η = 1")
    until(page, lambda: held)
    choose(page, "What to compare", "Clipping on and off")
    look(page, dropdown)
    held[0].continue_()
    expect(page.locator(".hint").filter(visible=True)).to_contain_text("within black and white")
    expect(dropdown).to_have_value("Clipping on and off")


@pytest.mark.parametrize(
    ("tab", "group", "label", "option"),
    [
        ("Compare", "Run A", "What to compare", "Clipping on and off"),
        ("Explore", "Settings that all cells share", "What to explore", "Six seeds, two samplers"),
    ],
)
def test_a_late_word_on_an_earlier_change_does_not_undo_a_choice(open_page, tab, group, label, option):
    page, asked = measured(open_page)
    dropdown = open_list(page, tab, None, label)
    page.get_by_role("button", name=group).filter(visible=True).click()
    asked.settle()
    held = []
    page.route("**/run/predict*", lambda route: route.continue_() if held else held.append(route))
    set_number(page, "Steps", "7")
    until(page, lambda: held)
    choose(page, label, option)
    expect(page.get_by_label("number input for Steps").filter(visible=True)).not_to_have_value("7")
    held[0].continue_()
    asked.settle()
    expect(dropdown).to_have_value(option)
    expect(plan(page).first).not_to_contain_text("7 ")


def test_what_stands_already_can_be_chosen_to_undo_what_was_changed(open_page):
    page, _ = measured(open_page)
    open_list(page, "Compare", "Run A", "What to compare")
    set_number(page, "Steps", "7")
    expect(plan(page)).to_contain_text("7 steps")
    choose(page, "What to compare", "DDPM against DDIM, 50 steps each")
    expect(plan(page)).not_to_contain_text("7 steps")
    expect(page.get_by_label("number input for Steps").filter(visible=True)).to_have_value("50")


def test_a_look_at_a_list_keeps_what_comes_back_meanwhile(open_page):
    page, asked = measured(open_page)
    set_number(page, "Steps", "5")
    generate(page)
    choose_checkpoint(page, "faces")
    page.get_by_role("button", name="Recipe").click()
    asked.settle()
    held = []
    page.route("**/run/predict*", lambda route: route.continue_() if held else held.append(route))
    page.get_by_label("Earlier runs in this browser", exact=True).click()
    page.get_by_role("option", name=re.compile("5 steps")).click()
    until(page, lambda: held)
    checkpoint = page.get_by_label("Checkpoint", exact=True).filter(visible=True)
    checkpoint.click()
    held[0].continue_()
    expect(page.get_by_label("number input for Steps")).to_have_value("5")
    leave(page)
    asked.settle()
    expect(page.get_by_label("number input for Steps")).to_have_value("5")
    expect(checkpoint).to_have_value("clothes")


def test_an_earlier_run_can_be_chosen_again(open_page):
    page, _ = measured(open_page)
    set_number(page, "Steps", "5")
    generate(page)
    page.get_by_role("button", name="Recipe").click()
    for other in ("6", "8"):
        set_number(page, "Steps", other)
        page.get_by_label("Earlier runs in this browser", exact=True).click()
        page.get_by_role("option", name=re.compile("5 steps")).click()
        expect(page.get_by_label("number input for Steps")).to_have_value("5")
        expect(page.get_by_label("Earlier runs in this browser", exact=True)).to_have_value("")


def test_a_late_measurement_does_not_tell_of_settings_that_are_gone(open_page):
    page, asked = measured(open_page)
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    choose(page, "Checkpoint", "faces")
    until(page, lambda: held)
    set_number(page, "Steps", "7")
    expect(plan(page)).to_contain_text("7 steps")
    asked.settle()
    held[0].continue_()
    until(page, lambda: asked.numbers)
    asked.settle()
    expect(plan(page)).to_contain_text("7 steps")


def test_a_run_that_is_refused_leaves_the_buttons_as_they_were(open_page):
    page, _ = measured(open_page)
    page.get_by_role("button", name="Noise schedule").click()
    for name, value in (("β_start", "0.01"), ("β_end", "0.005")):
        page.locator(f"[aria-label^='number input'][aria-label*='{name}']").filter(visible=True).fill(value)
        page.keyboard.press("Tab")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("must lie in")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_enabled()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Back to the trained values").click()
    expect(plan(page)).to_contain_text(re.compile(r"\d+ steps, "))
    generate(page)
