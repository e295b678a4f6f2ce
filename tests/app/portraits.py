"""Takes the READMEs' pictures of the page anew, into docs/: `python -m tests.app.portraits`.

They show the shipped checkpoints in both languages: a run of Generate, one of Compare, a chapter of the mathematics.
"""

import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.app.pages import RUN_SECONDS, launched, open_at
from tests.app.running import REPOSITORY, running_app

DOCS = REPOSITORY / "docs"
SIZE = {"width": 1440, "height": 1180}
SUFFIXES = {"en-US": "", "zh-CN": ".zh-CN"}
CHAPTER = 7


def after_a_run(page: Page) -> None:
    """The tab's run was started, and has ended."""
    stop = page.get_by_role("button", name=re.compile("Stop|停止")).filter(visible=True).first
    page.locator("button.primary").filter(visible=True).first.click()
    expect(stop).to_be_enabled(timeout=RUN_SECONDS)
    expect(stop).to_be_disabled(timeout=RUN_SECONDS)


def in_a_chapter(page: Page) -> None:
    """The open chapter is there, its figures drawn."""
    page.locator("#chapter .katex").first.wait_for()
    page.locator("#chapter .figure svg.marks").first.wait_for()
    page.locator("#chapter .figure").first.evaluate("figure => figure.scrollIntoView({block: 'center'})")


PORTRAITS = {
    "app": ("", after_a_run),
    "compare": ("tab=compare", after_a_run),
    "maths": (f"tab=maths&chapter={CHAPTER}", in_a_chapter),
}


def main() -> None:
    """Start the app, take the pictures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(REPOSITORY / "checkpoints", Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser = launched(playwright)
        for locale, suffix in SUFFIXES.items():
            for name, (query, made_ready) in PORTRAITS.items():
                page = browser.new_context(locale=locale, viewport=SIZE, reduced_motion="reduce").new_page()
                open_at(page, f"{address}/?{query}" if query else address)
                made_ready(page)
                page.wait_for_timeout(1000)
                page.screenshot(path=DOCS / f"{name}{suffix}.png")
                print(DOCS / f"{name}{suffix}.png")
                page.context.close()


if __name__ == "__main__":
    main()
