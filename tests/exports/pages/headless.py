"""A page in a real browser: what it asked for, what it complained of, what it shows."""

import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

BROKEN = """
return [...document.images].filter((image) => !image.complete || !image.naturalWidth).length
"""
"""How many pictures show nothing."""


@dataclass
class Seen:
    """What was noticed of a page."""

    browser: Any
    asked: list[str] = field(default_factory=list)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    @property
    def complaints(self) -> list[str]:
        """Of the console: errors of scripts, and what the page's policy kept out."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    @property
    def broken_pictures(self) -> int:
        return self.run(BROKEN)

    @property
    def width(self) -> int:
        return self.run("return document.documentElement.scrollWidth")


@contextmanager
def headless(window: str = "1100,900", logs: Sequence[str] = ("browser", "performance")) -> Generator[Any]:
    """A browser that finds no other machine; its performance log holds every request."""
    from selenium import webdriver

    assert CHROMIUM is not None
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # Names lead nowhere: whatever a page asks of another server fails, and is in the log.
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={window}", rules):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    browser.set_page_load_timeout(60)
    try:
        yield browser
    finally:
        browser.quit()


def look(browser: Any, page: Path, *, width: int = 1100, scheme: str = "light", paper: bool = False) -> Seen:
    """Open a page from the disk.

    Args:
        browser: From `headless`.
        page: HTML file.
        width: Of the screen; below 500 it is a phone's.
        scheme: light or dark.
        paper: Show it as it would be printed.
    """
    media = {"media": "print" if paper else "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page.absolute().as_uri())
    return Seen(browser, requests(browser))


def requests(browser: Any) -> list[str]:
    """What the page asked for since the last look, whether it got it or not; what is inside the page is no request."""
    told = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [item["params"]["request"]["url"] for item in told if item["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith("data:")]
