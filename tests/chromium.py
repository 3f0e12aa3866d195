"""Headless Chromium, and what tests ask of a page in it."""

import json
import shutil
import time
from contextlib import contextmanager

import pytest


@contextmanager
def chromium(*arguments: str, logs: bool = True):
    """A browser; the test is skipped without one.

    Args:
        arguments: of Chromium's command line.
        logs: whether it keeps a log of every request, and what was sent with it.
    """
    binary = next(
        (path for name in ("chromium", "google-chrome", "chromium-browser") if (path := shutil.which(name))), None
    )
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("Chromium and its chromedriver are not installed (apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", **({"performance": "ALL"} if logs else {})})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.set_page_load_timeout(60)
    try:
        yield opened
    finally:
        opened.quit()


def wait_for_text(browser, *texts: str, seconds: float = 60) -> str:
    """The page's text once it holds all of `texts`."""
    end = time.monotonic() + seconds
    while True:
        shown = browser.execute_script("return document.body ? document.body.innerText : ''")
        if all(text in shown for text in texts):
            return str(shown)
        assert time.monotonic() < end, f"waited for {texts}, the page says: {shown[:2000]}"
        time.sleep(0.3)


def hosts_asked(browser) -> set[str]:
    """The start of every address the browser asked for over the network."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {"/".join(url.split("/")[:3]) for url in asked if url.startswith(("http", "ws", "ftp"))}
