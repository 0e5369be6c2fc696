"""A real Chromium without a window, and what it has seen: requests, console, violations."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support import wait_for

DRIVER = "/usr/bin/chromedriver"
PHONE = (390, 844)
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)


@contextmanager
def chromium(*flags: str) -> Iterator[WebDriver]:
    """Chromium with a profile of its own; everything is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="phi3-chromium-") as profile:
        options = Options()
        for flag in (*_FLAGS, f"--user-data-dir={profile}", *flags):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def as_phone(driver: WebDriver) -> None:
    """A narrow screen that is touched; a window of Chromium itself cannot be that narrow."""
    width, height = PHONE
    screen = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def as_desk(driver: WebDriver, *, width: int = 1280, height: int = 860, scale: int = 1) -> None:
    """A window on a desk."""
    screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def prefer(driver: WebDriver, **features: str) -> None:
    """What the person prefers: `color_scheme="dark"`, `reduced_motion="reduce"`."""
    wished = [
        {"name": f"prefers-{name.replace('_', '-')}", "value": value}
        for name, value in features.items()
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wished})


def origins_asked(driver: WebDriver) -> set[str]:
    """The origins of all requests since the last call that were sent: not stopped by a policy."""
    events = _events(driver)
    stopped = {
        event["params"]["requestId"]
        for event in events
        if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason")
    }
    urls = [
        urlsplit(event["params"]["request"]["url"])
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["requestId"] not in stopped
    ]
    # Chromium's own pages, such as that of an empty tab, and data in an address ask nobody.
    return {f"{url.scheme}://{url.netloc}" for url in urls if url.scheme not in ("chrome", "data")}


def complaints(driver: WebDriver) -> list[str]:
    """What the console said since the last call: violations of the policy, errors, warnings."""
    return [entry["message"] for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call]


def accessibility_problems(driver: WebDriver) -> list[str]:
    """What axe has against the page as it is now."""
    # Not imported: the package wants Playwright, of which nothing is needed.
    spec = find_spec("axe_playwright_python")
    assert spec is not None, "it is not installed: make install-dev"
    program = Path(str(spec.origin)).with_name("axe.min.js").read_text("utf-8")
    driver.execute_script(program)  # type: ignore[no-untyped-call]
    run = "axe.run().then(arguments[0])"
    result: dict[str, Any] = driver.execute_async_script(run)  # type: ignore[no-untyped-call]
    assert len(result["passes"]) > 10
    return [
        f"{violation['id']}: {[node['html'][:100] for node in violation['nodes']]}"
        for violation in result["violations"]
    ]


def _events(driver: WebDriver) -> list[dict[str, Any]]:
    log = driver.get_log("performance")  # type: ignore[no-untyped-call]
    return [json.loads(entry["message"])["message"] for entry in log]


@dataclass(frozen=True)
class Page:
    """The page at /ui in a tab of its own, as a person has it before them."""

    driver: WebDriver
    url: str

    def open(self) -> None:
        self.driver.get(f"{self.url}/ui")

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What all such elements say at one moment, seen or not."""
        found = f"document.querySelectorAll({json.dumps(selector)})"
        said: list[str] = self.run(f"return [...{found}].map((it) => it.textContent.trim())")
        return said

    def text(self, selector: str) -> str:
        """What the last of them says; empty where there is none."""
        return "".join(self.texts(selector)[-1:])

    def await_text(self, selector: str, wanted: str) -> str:
        """Wait until the last such element says `wanted` somewhere; all that it says."""
        try:
            wait_for(lambda: wanted in self.text(selector), f"{selector} says {wanted!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.text(selector)!r}") from None
        return self.text(selector)

    def ask(self, message: str) -> None:
        """Send a message of the chat as one does, with the Enter key."""
        self.one("#message").send_keys(message, Keys.ENTER)

    def answered(self, count: int) -> str:
        """Wait for the end of the `count`th answer; the text of the last."""
        ended = ".turn:last-child .took"
        wait_for(lambda: len(self.all(".turn")) == count and bool(self.all(ended)), "an answer", 60)
        return self.text(".turn:last-child .reply .said")

    def fact(self, name: str) -> str:
        """What "Last request" says of `name`; empty where it says nothing."""
        names, values = (self.texts(f"#receipt .facts {kind}") for kind in ("dt", "dd"))
        return dict(zip(names, values, strict=True)).get(name, "")

    def use_key(self, key: str) -> None:
        self.one("#open-key").click()
        self.one("#key").clear()
        self.one("#key").send_keys(key, Keys.ENTER)

    def run(self, script: str) -> Any:
        """What the body of an async function returns, in the page."""
        whole = f"return (async () => {{ {script} }})()"
        return self.driver.execute_script(whole)  # type: ignore[no-untyped-call]


@contextmanager
def fresh_page(driver: WebDriver, url: str) -> Iterator[Page]:
    """A tab without a past: no key, no emulated screen, empty logs."""
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    origins_asked(driver)
    complaints(driver)
    try:
        yield Page(driver, url)
    finally:
        driver.close()
        driver.switch_to.window(first)
