"""One app over tiny checkpoints for all tests of a session, and a browser."""

import os

import pytest

from app.server.checkpoints import Catalogue
from tests.app.checkpoints import make_all
from tests.app.running import SPACE, running_app

PATIENCE = 120_000  # milliseconds; a busy machine is slow, not wrong

os.environ["NO_PROXY"] = "localhost,127.0.0.1"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """The folder of the tiny checkpoints: see make_all."""
    return make_all(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def catalogue(checkpoints):
    """The tiny checkpoints as the app knows them."""
    return Catalogue(checkpoints)


@pytest.fixture(scope="session")
def app(checkpoints, tmp_path_factory):
    """The address of an app over the tiny checkpoints that was started as a Space starts it."""
    with running_app(checkpoints, tmp_path_factory.mktemp("space"), variables=SPACE) as address:
        yield address


@pytest.fixture(scope="session")
def home_app(checkpoints, tmp_path_factory):
    """The same app, started at home. (A Space's page asks for fonts and for its owner on the net.)"""
    with running_app(checkpoints, tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture(scope="session")
def chromium():
    """A headless browser. Where none is installed the tests fail: a page that nobody looked at is not tested."""
    from playwright.sync_api import expect, sync_playwright

    from tests.app.pages import launched

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, home_app):
    """open_page(locale, width, dark) -> the page, ready; the test fails where its console shows an error.

    touch: on a phone's screen, 844 pixels high, without a mouse.
    """
    from tests.app.pages import open_at

    contexts, complaints = [], []

    def open_page(
        locale: str = "en-US", width: int = 1440, dark: bool = False, address: str = home_app, touch: bool = False
    ):
        context = chromium.new_context(
            locale=locale,
            viewport={"width": width, "height": 844 if touch else 900},
            reduced_motion="reduce",
            has_touch=touch,
            is_mobile=touch,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        open_at(page, address, dark)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
