"""A finger on the page, as Chromium gets it from a touch screen."""

from playwright.sync_api import Locator, Page

STEPS = 10  # of a gesture: the browser decides after the first few what it is


class Finger:
    """A finger on a page that was opened with touch."""

    def __init__(self, page: Page):
        self._page = page
        self._session = page.context.new_cdp_session(page)

    def swipe(self, target: Locator, right: float = 0, down: float = 0, at: float = 0.6) -> None:
        """Put the finger on a target, `at` of its width from its left, move it by so many pixels, and lift it."""
        box = target.bounding_box()
        x, y = box["x"] + at * box["width"], box["y"] + box["height"] / 2
        self._send("touchStart", (x, y))
        for step in range(1, STEPS + 1 if right or down else 1):
            self._send("touchMove", (x + right * step / STEPS, y + down * step / STEPS))
            self._page.evaluate("new Promise(requestAnimationFrame)")
        self._send("touchEnd")

    def tap(self, target: Locator, at: float = 0.6) -> None:
        """Tap a target, `at` of its width from its left."""
        self.swipe(target, at=at)

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y} for x, y in points]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
