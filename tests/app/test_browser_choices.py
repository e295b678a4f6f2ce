"""Dropdowns in a real browser: a choice is answered once, a list that is only looked at changes nothing."""

import re

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.app.pages import choose, plan, set_number
from tests.app.test_browser import generate

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
    page = open_page()
    asked = Asked(page)
    dropdown = open_list(page, tab, group, label)
    first = dropdown.input_value()
    asked.settle()
    for _ in range(2):
        dropdown.click()
        expect(page.get_by_role("option").filter(visible=True).first).to_be_visible()
        page.get_by_role("heading", level=1).click()
        expect(page.get_by_role("option").filter(visible=True)).to_have_count(0)
    assert asked.settle() == []
    dropdown.click()
    page.get_by_role("option", name=option, exact=True).filter(visible=True).click()
    events = asked.settle()
    assert events and events.count(events[0]) == 1
    expect(dropdown).to_have_value(option)

    # The same with keys, back to where it began
    dropdown.focus()
    options = [text.strip().removeprefix("✓").strip() for text in page.get_by_role("option").all_inner_texts()]
    way = options.index(first) - options.index(option)
    for _ in range(abs(way)):
        page.keyboard.press("ArrowDown" if way > 0 else "ArrowUp")
    page.keyboard.press("Enter")
    events = asked.settle()
    assert events and events.count(events[0]) == 1
    expect(dropdown).to_have_value(first)


def test_a_look_at_the_checkpoints_keeps_what_was_set(open_page):
    page = open_page()
    set_number(page, "Steps", "7")
    page.get_by_label("Checkpoint", exact=True).filter(visible=True).click()
    page.get_by_role("heading", level=1).click()
    page.wait_for_timeout(500)
    expect(page.get_by_label("number input for Steps")).to_have_value("7")


def test_a_second_choice_outlives_the_late_answer_to_the_first(open_page):
    page = open_page()
    dropdown = open_list(page, "Compare", None, "What to compare")
    held = []
    page.route("**/run/predict*", lambda route: route.continue_() if held else held.append(route))
    choose(page, "What to compare", "η = 0 against η = 1")
    while not held:
        page.wait_for_timeout(50)
    choose(page, "What to compare", "Clipping on and off")
    page.wait_for_timeout(300)
    held[0].continue_()
    expect(page.locator(".hint").filter(visible=True)).to_contain_text("within black and white")
    expect(dropdown).to_have_value("Clipping on and off")


def test_an_earlier_run_can_be_chosen_again(open_page):
    page = open_page()
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
    page = open_page()
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    choose(page, "Checkpoint", "faces")
    while not held:
        page.wait_for_timeout(50)
    set_number(page, "Steps", "7")
    expect(plan(page)).to_contain_text("7 network calls")
    asked = Asked(page)
    held[0].continue_()
    while not asked.numbers:
        page.wait_for_timeout(50)
    asked.settle()
    expect(plan(page)).to_contain_text("7 network calls")
