"""Pages in a real Chromium, for the tests of the web."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.deadlines import DEADLINE_MS

CHROMIUM = shutil.which("chromium")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not there: the web pages are not tried in a browser"
)


@contextmanager
def launched(*arguments: str) -> Iterator[Browser]:
    """A browser of its own; `arguments` are Chromium's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


@contextmanager
def opening(browser: Browser, base_url: str) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a context of its own that ends with this; a script that fails fails the test."""
    contexts = []

    def new(locale: str = "en-GB", size: dict[str, int] = DESKTOP, **more: Any) -> Page:
        context = browser.new_context(locale=locale, viewport=size, base_url=base_url, **more)  # type: ignore[arg-type]
        context.set_default_timeout(DEADLINE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
        return page

    yield new
    for each in contexts:
        each.close()
