"""The page in a real Chromium over the real engine."""

import time
from collections.abc import Iterator

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.browser import Page, complaints, fresh_page, origins_asked
from tests.support import Service

pytestmark = pytest.mark.engine


@pytest.fixture
def page(browser: WebDriver, service: Service) -> Iterator[Page]:
    with fresh_page(browser, service.url) as page:
        page.open()
        yield page
        assert complaints(browser) == []
        assert origins_asked(browser) == {service.url}


def test_a_chat_streams_and_the_same_again_is_a_hit(page: Page) -> None:
    page.await_text("#model", "phi3-demo")
    page.run(
        "window.grown = new Set(); new MutationObserver(() =>"
        " window.grown.add(document.querySelector('.reply .said')?.textContent))"
        ".observe(document.getElementById('conversation'),"
        " { subtree: true, childList: true, characterData: true })"
    )
    page.one("#parameters summary").click()
    page.one("#system").send_keys(f"You are asked at {time.time()}.")
    page.ask("Which port does this service use?")
    generated = page.answered(1)
    assert page.run("return window.grown.size") > 3
    assert "generated" in page.text(".took")
    assert page.fact("Cache").startswith("miss, now kept")
    assert {"auth", "cache", "engine", "stream"} <= set(page.texts(".waterfall .stage-name"))
    assert "first token" in page.text("#receipt .figures").lower()
    page.one(".took button").click()
    page.await_text(".took", "hit")
    assert page.answered(1) == generated
    assert "engine" not in page.text(".waterfall")


def test_a_decision_of_the_model_is_drawn(page: Page) -> None:
    page.one("#tab-classify").click()
    page.one("#decide").submit()
    page.await_text("#decision", "billing")
    assert page.text("#decision dt.chosen") == "billing"
    widths = [bar.rect["width"] for bar in page.all("#decision .fill")]
    assert widths[0] > 10 * max(widths[1:], default=0)
    assert page.fact("Tokens").endswith("1 out")
