"""Debian's Chromium, driven by Playwright: pages as people see them, and what the browser complains of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
TIMEOUT_MS = 30_000
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a file. Playwright keeps an event loop in its thread, so it ends with the file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium", package="chromium"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@dataclass
class Window:
    """A window of one person; `complaints` are the browser's own: errors of scripts, and what the policy forbade."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def serious_faults(self) -> list[str]:
        """Return what axe finds serious on the current page, each with the elements."""
        found: dict[str, Any] = Axe().run(self.page).response
        return [
            f"{fault['id']}: {[node['target'] for node in fault['nodes']][:3]}"
            for fault in found["violations"]
            if fault["impact"] in SERIOUS
        ]

    def is_wider_than_the_screen(self) -> bool:
        """Whether a reader has to scroll the page sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def open_window(browser: Browser, url: str, **options: Any) -> Window:
    """Open an empty window of a person who has never been at `url`."""
    context = browser.new_context(**{"base_url": url, "viewport": WIDE, **options})
    context.set_default_timeout(TIMEOUT_MS)
    window = Window(context=context, page=context.new_page())

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            window.complaints.append(message.text)

    window.page.on("console", listen)
    window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
    return window
