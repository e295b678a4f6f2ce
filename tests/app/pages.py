"""Actions on a page that the browser tests of all tabs share."""

import re

from playwright.sync_api import Browser, Locator, Page, Playwright, expect

from diffusion.samplers.registry import SAMPLERS
from tests.chromium import find_chromium

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RUN_SECONDS = 120_000  # at the most; in milliseconds, as Playwright counts


def launched(playwright: Playwright) -> Browser:
    """A headless Chromium. Raises FileNotFoundError, saying what to do: a page nobody looked at is not tested."""
    path = find_chromium(playwright.chromium.executable_path)
    if path is None:
        raise FileNotFoundError("no Chromium that runs: python -m tests.chromium installs one, as make test does")
    return playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)


def open_at(page: Page, address: str, dark: bool = False) -> None:
    """Go to an address of the app, in this theme, and wait until the page is up."""
    query = f"__theme={'dark' if dark else 'light'}"
    page.goto(f"{address}&{query}" if "?" in address else f"{address}/?{query}")
    page.locator("body.ready").wait_for()


def choose(page: Page, label: str, option: str) -> None:
    """Take an option of a dropdown."""
    page.get_by_label(label, exact=True).filter(visible=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def generate(page: Page, name: str = "Generate") -> None:
    """Press Generate and wait for the pictures."""
    before = page.locator(".stage .grid").inner_html() if page.locator(".stage .grid").count() else ""
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function(
        "before => (document.querySelector('.stage .grid')?.innerHTML ?? before) !== before", arg=before
    )
    expect(page.get_by_role("button", name=name, exact=True)).to_be_enabled(timeout=RUN_SECONDS)


def compare(page: Page, name: str = "Compare") -> None:
    """Press Compare and wait for both runs to end."""
    page.get_by_role("button", name=name, exact=True).click()
    page.locator(".over img").first.wait_for(timeout=RUN_SECONDS)
    expect(page.get_by_role("button", name=name, exact=True)).to_be_enabled(timeout=RUN_SECONDS)


def choose_checkpoint(page: Page, name: str) -> None:
    """Take another checkpoint, and wait until the page has its limits, defaults and pictures."""
    choose(page, "Checkpoint", name)
    expect(page.locator(f".stage .panels img[alt*='{name}']")).to_be_visible()


def set_number(page: Page, label: str, value: str) -> None:
    """Type into the number beside a slider."""
    page.get_by_label(f"number input for {label}").filter(visible=True).fill(value)
    page.keyboard.press("Tab")


def plan(page: Page) -> Locator:
    """The line that says what the settings of the open tab will do."""
    return page.locator(".plan").filter(visible=True)


def grave_findings(page: Page) -> list:
    """What axe finds serious or critical on the page as it is."""
    from axe_playwright_python.sync_playwright import Axe

    page.mouse.move(0, 0)
    return [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]][:3])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def untranslated(page: Page, *names: str) -> list[str]:
    """The Latin words on a Chinese page, but for what has no other name: samplers, file kinds, and the given names."""
    samplers = [name for key, sampler in SAMPLERS.items() for name in (sampler.title, key)]
    own = ("DPM-Solver", "PNG", "CSV", "Python", "English", "Language", "log SNR", "x_t", "x_T", "SD", "CFG")
    known = "|".join(map(re.escape, sorted([*samplers, *own, *names], key=len, reverse=True)))
    return re.findall(r"[A-Za-z]{2,}", re.sub(known, "", page.locator("#page").inner_text()))
