"""Take the pictures of the page in docs/images: `make screenshots`.

The service is the real one with the demo model, and the figures beside the chat are those of two
minutes of requests: nine of ten repeat an earlier question.
"""

import base64
import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
from PIL import Image
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.browser import Page, as_desk, as_phone, chromium, fresh_page, prefer
from tests.support import REPOSITORY, running, serve_command

IMAGES = REPOSITORY / "docs/images"
REQUESTS_PER_S = 12
WATCHED_S = 125
QUESTION = "Hello! What are you?"


def main() -> None:
    """Serve, ask, and take the pictures."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running(serve_command(), Path(directory)) as service,
        chromium("--hide-scrollbars") as driver,
        fresh_page(driver, service.url) as page,
        _load(service.url),
    ):
        as_desk(driver, height=880, scale=2)
        time.sleep(15)  # the first requests of all are slower, and not what a service is like
        page.open()
        time.sleep(WATCHED_S)
        _chat(page)
        for scheme in ("light", "dark"):
            prefer(driver, color_scheme=scheme)
            _take(driver, f"page-{scheme}")
        _classify(page)
        _take(driver, "page-classify")
        prefer(driver, color_scheme="light")
        as_phone(driver)
        page.one("#tab-chat").click()
        page.run("scrollTo(0, 0)")
        _take(driver, "page-phone")


def _chat(page: Page) -> None:
    page.ask(QUESTION)
    page.answered(1)
    page.ask("Which port does this service use?")
    page.answered(2)
    # Not focused: without the ring around the field.
    page.run("document.activeElement.blur()")
    time.sleep(2.5)  # the figures take it in


def _classify(page: Page) -> None:
    page.one("#tab-classify").click()
    page.one("#text").clear()
    page.one("#text").send_keys("The parcel came a day late, and the driver was lovely.")
    page.one("#decide").submit()
    page.await_text("#decision", "%")
    time.sleep(2.5)


@contextmanager
def _load(url: str) -> Iterator[None]:
    """A steady load by a few clients, as long as the block runs."""
    ended = threading.Event()
    numbers = count()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not ended.wait(4 / REQUESTS_PER_S):
                number = next(numbers)
                text = f"order {number}" if number % 10 == 0 else f"invoice {number % 7}"
                item = {"text": text, "labels": ["billing", "shipping", "praise"]}
                client.post("/classify", json={"items": [item]}).raise_for_status()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        ended.set()
        for client in clients:
            client.join()


def _take(driver: WebDriver, name: str) -> None:
    """Save what is seen, in 256 colours: a quarter of the size, and nobody sees it."""
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    image = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    path = IMAGES / f"{name}.png"
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
