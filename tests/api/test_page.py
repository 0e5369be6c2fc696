"""The page in a real Chromium, over BentoML's whole frame and the echo engine."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.keys import Keys

from tests.browser import (
    Page,
    accessibility_problems,
    as_phone,
    complaints,
    fresh_page,
    origins_asked,
    prefer,
)
from tests.support import (
    REPOSITORY,
    Service,
    bentoml_command,
    echo_server,
    running,
    wait_for,
)

MARKUP = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


@dataclass
class Keyed:
    """A service with keys that says a word every 0.2 s."""

    service: Service
    asking: str
    watching: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    directory = tmp_path_factory.mktemp("keyed")
    keys = [_key(directory, scopes) for scopes in (["inference"], ["inference", "metrics"])]
    env = {"PHI3_ENGINE": "echo", "PHI3_ECHO_WORD_S": "0.2"}
    with running(bentoml_command(), directory, env) as service:
        yield Keyed(service, *keys)


def _key(data_dir: Path, scopes: list[str]) -> str:
    """A key of `phi3-bento keys create` in the database of a service that does not run yet."""
    options = [option for scope in scopes for option in ("--scope", scope)]
    create = [sys.executable, "-m", "phi3_bento", "keys", "create", "--tenant", "acme", *options]
    env = {**os.environ, "PHI3_DATA_DIR": str(data_dir)}
    return subprocess.check_output(create, env=env, cwd=REPOSITORY, text=True).strip()


@pytest.fixture
def page(browser: WebDriver, echo_service: Service) -> Iterator[Page]:
    """The page of an open service; afterwards nothing was violated, and nobody else asked."""
    with fresh_page(browser, echo_service.url) as page:
        page.open()
        yield page
        assert complaints(browser) == []
        assert origins_asked(browser) == {echo_service.url}


@pytest.fixture
def locked_page(browser: WebDriver, keyed: Keyed) -> Iterator[Page]:
    with fresh_page(browser, keyed.service.url) as page:
        page.open()
        yield page
        assert origins_asked(browser) == {keyed.service.url}


def test_markup_in_an_answer_stays_text(page: Page) -> None:
    page.ask(MARKUP)
    assert page.answered(1) == MARKUP
    assert page.all("#conversation img, #conversation script") == []
    assert page.run("return document.title") == "phi3-bento"


def test_the_page_could_not_make_html_of_a_text_if_it_tried(page: Page) -> None:
    page.run("addEventListener('securitypolicyviolation', (e) => { window.seen = e.blockedURI; })")
    failure = page.run(
        "try { document.body.innerHTML = '<b>x</b>'; } catch (error) { return error.name; }"
    )
    assert failure == "TypeError"
    assert page.run("return window.seen") == "trusted-types-sink"
    assert len(complaints(page.driver)) == 1


def test_a_second_identical_question_shows_a_hit(page: Page) -> None:
    page.ask(f"tell me twice {time.time()}")
    page.answered(1)
    assert page.fact("Cache").startswith("miss, now kept")
    page.one(".took button").click()
    page.await_text(".turn .took", "hit")
    assert "phi3; hit" in page.fact("Cache")
    assert page.text("#receipt .waterfall").startswith("auth")
    page.one("#new-chat").click()
    assert page.all(".turn") == []


def test_the_parameters_reach_the_service(page: Page) -> None:
    page.one("#parameters summary").click()
    for field, value in (("#max-tokens", "2"), ("#temperature", "0.5"), ("#system", "be short")):
        page.one(field).clear()
        page.one(field).send_keys(value)
    page.run("document.getElementById('cache').value = 'no-store'")
    page.run("document.getElementById('parameters').dispatchEvent(new Event('input'))")
    assert "temperature 0.5 · 2 tokens" in page.text("#parameters-now")
    page.ask("one two three four")
    assert page.answered(1) == "one two"
    assert page.fact("Cache").startswith("bypassed")
    page.one(".curl summary").click()
    command = page.text(".curl pre")
    assert '"max_tokens":2,' in command
    assert "Cache-Control: no-store" in command
    assert '"role":"system","content":"be short"' in command


def test_a_decision_shows_a_bar_for_every_label(page: Page) -> None:
    page.one("#tab-classify").click()
    page.one("#decide").submit()
    page.await_text("#decision", "billing")
    labels = page.texts("#decision dt")
    assert sorted(labels) == ["billing", "praise", "shipping"]
    shares = [float(share.strip("< %")) for share in page.texts("#decision .share")]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert "POST /classify" in page.text("#receipt")
    assert "auth" in page.texts(".waterfall .stage-name")


def test_a_refused_decision_says_why(page: Page) -> None:
    page.one("#tab-classify").click()
    page.one("#labels").clear()
    page.one("#labels").send_keys("alone")
    page.one("#decide").submit()
    assert "2" in page.await_text("#decision .failure", "label")


def test_the_figures_follow_what_the_service_does(page: Page) -> None:
    page.await_text("#health", "per second")
    page.ask(f"count me {time.time()}")
    page.answered(1)
    page.await_text(".gauge:first-child .value", " ms of 300 ms")
    assert page.text(".gauge:first-child .value")[0].isdigit()
    wait_for(lambda: not page.text(".gauge:nth-child(2) .value").startswith("0.0"), "a rate")
    page.await_text(".gauge:nth-child(3)", "%")


def test_everything_can_be_done_by_keyboard_and_the_focus_is_seen(page: Page) -> None:
    body = page.one("body")
    reached: list[str] = []
    for _ in range(10):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(str(page.run("return document.activeElement.id")))
        outline = page.run(
            "const seen = document.activeElement.closest('.box') ?? document.activeElement;"
            "return getComputedStyle(seen).outlineStyle"
        )
        assert outline != "none", reached
    assert {"open-key", "tab-chat", "conversation", "message", "send"} <= set(reached)
    page.run("document.getElementById('tab-chat').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.one("#classify").is_displayed()
    assert not page.one("#chat").is_displayed()
    assert body.is_displayed()


def test_axe_finds_nothing_that_keeps_people_out(page: Page) -> None:
    """In every state of the page, and in both colour schemes: names, roles, order, contrast."""

    def look(state: str) -> None:
        assert accessibility_problems(page.driver) == [], state

    look("welcome")
    page.ask("one two")
    page.answered(1)
    page.one("#parameters summary").click()
    page.one(".curl summary").click()
    look("chat")
    page.one("#tab-classify").click()
    page.one("#decide").submit()
    page.await_text("#decision", "billing")
    look("classify")
    prefer(page.driver, color_scheme="dark")
    look("dark")
    page.one("#open-key").click()
    look("dialog")
    page.one("#cancel-key").click()
    as_phone(page.driver)
    look("phone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page, scheme: str) -> None:
    as_phone(page.driver)
    prefer(page.driver, color_scheme=scheme)
    page.ask("a-word-without-an-end" * 20)
    page.answered(1)
    page.one("#parameters summary").click()
    for tab in ("#tab-chat", "#tab-classify"):
        page.one(tab).click()
        width = page.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert width == [390, 390], tab
    page.one("#decide").submit()
    page.await_text("#decision", "billing")
    assert page.run("return document.documentElement.scrollWidth") == 390


def test_the_texts_have_contrast_in_light_and_in_dark(page: Page) -> None:
    """WCAG's 4.5 to 1, for the colours that texts have on the grounds that they stand on."""
    for scheme in ("light", "dark"):
        prefer(page.driver, color_scheme=scheme)
        colours = page.run(
            "const style = getComputedStyle(document.documentElement);"
            "return Object.fromEntries(['ground', 'sunk', 'ink', 'soft', 'good', 'limit', 'accent',"
            " 'accent-ink'].map((name) => [name, style.getPropertyValue('--' + name).trim()]))"
        )
        for ground in ("ground", "sunk"):
            for text in ("ink", "soft", "good", "limit"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (scheme, text, ground)
        assert contrast(colours["accent-ink"], colours["accent"]) >= 4.5


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.strip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_nothing_moves_for_who_wants_no_motion(page: Page) -> None:
    prefer(page.driver, reduced_motion="reduce")
    page.ask("one two")
    page.answered(1)
    page.run("document.getElementById('conversation').setAttribute('aria-busy', 'true')")
    script = (
        "return getComputedStyle(document.querySelector('.reply .said'), '::after').animationName"
    )
    assert page.run(script) == "none"
    prefer(page.driver, reduced_motion="no-preference")
    assert page.run(script) == "blink"


def test_without_a_key_the_page_asks_for_one_and_a_wrong_one_is_refused_in_words(
    locked_page: Page,
) -> None:
    page = locked_page
    page.await_text("#notice", "asks for a key")
    page.await_text("#health", "need a key with the scope metrics")
    page.use_key("p3_wrong00000_key")
    page.await_text("#key-failure", "API key")
    assert page.one("#key-dialog").is_displayed()
    page.one("#key").send_keys("ä")
    page.one("#key").send_keys(Keys.ENTER)
    page.await_text("#key-failure", "ASCII")


def test_a_key_stays_in_its_tab_and_its_scopes_are_said(
    browser: WebDriver, keyed: Keyed, locked_page: Page
) -> None:
    page = locked_page
    page.use_key(keyed.asking)
    page.await_text("#model", "phi3-echo")
    page.await_text("#health", "This key lacks the scope metrics")
    assert not page.one("#notice").is_displayed()
    page.ask("one two")
    assert page.answered(1) == "one two"
    assert keyed.asking not in page.run("return document.documentElement.outerHTML")
    assert page.run("return [localStorage.length, document.cookie]") == [0, ""]
    browser.refresh()
    page.await_text("#model", "phi3-echo")
    with fresh_page(browser, keyed.service.url) as other:
        other.open()
        other.await_text("#notice", "asks for a key")
    page.use_key(keyed.watching)
    page.await_text("#health", "per second")
    page.one("#open-key").click()
    page.one("#forget-key").click()
    page.await_text("#notice", "asks for a key")
    assert page.run("return sessionStorage.length") == 0


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_ends_the_answer_and_the_engine_s_work(
    keyed: Keyed, locked_page: Page, how: str
) -> None:
    page = locked_page
    page.use_key(keyed.watching)
    page.await_text("#model", "phi3-echo")
    page.ask("word " * 100 + how)
    page.await_text(".reply .said", "word word")
    assert page.one("#conversation").get_attribute("aria-busy") == "true"
    page.await_text(".gauge:nth-child(2)", "1 under way")
    if how == "button":
        page.one("#stop").click()
    else:
        page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    answer = page.answered(1)
    assert 2 <= len(answer.split()) < 100
    assert "stopped by you" in page.text(".took")
    assert "Answer ended" in page.text("#announcement")
    page.await_text(".gauge:nth-child(2)", "0 under way")
    assert page.one("#send").is_displayed()


def test_what_the_scripts_compute_is_right(page: Page) -> None:
    """Pure functions of the page, run where they run: in the browser."""
    assert page.run(
        "const { parseServerTiming, waterfall } = await import('./ui/timings.js');"
        "const serverTiming = 'auth;dur=1.00, engine;dur=3.00, queue;dur=0.01, prefill;dur=4.00,'"
        " + 'ttft;dur=10.00';"
        "return waterfall({ serverTiming, firstMs: 12, totalMs: 20 })"
        ".map(({ name, start, ms }) => `${name} ${start} ${ms}`)"
    ) == ["auth 0 1", "prefill 1 4", "engine 5 3", "other 8 2", "network 10 2", "stream 12 8"]
    assert page.run(
        "const { growth, parse, quantile } = await import('./ui/prometheus.js');"
        'const text = (a, b, c) => `h_bucket{le="0.1"} ${a}\\nh_bucket{le="0.3"} ${b}\\n`'
        ' + `h_bucket{le="+Inf"} ${c}\\nn_total{x="a,}\\\\""} ${c}\\nn_total{x="b"} 1\\n`;'
        "const [before, after] = [parse(text(0, 0, 5)), parse(text(10, 20, 25))];"
        "return [quantile(0.5, before, after, 'h'), quantile(0.75, before, after, 'h'),"
        " growth(before, after, 'n_total'), growth(before, after, 'n_total', { x: 'b' }),"
        " growth(after, before, 'n_total'), growth(before, after, 'absent'),"
        " quantile(0.5, after, after, 'h')]"
    ) == [pytest.approx(0.1), pytest.approx(0.2), 20, 0, None, None, None]
    assert page.run(
        "const { events } = await import('./ui/http.js');"
        'const bytes = new TextEncoder().encode(\'data: {"a": "ä"}\\n\\n: keep-alive\\n\\n\''
        ' + \'data: {"a": 2}\\n\\ndata: {"error": {"message": "broke"}}\\n\\n\');'
        "const body = new ReadableStream({ start(it) {"
        " for (const byte of bytes) it.enqueue(Uint8Array.of(byte)); it.close(); } });"
        "const seen = [];"
        "try { for await (const event of events(new Response(body))) seen.push(event.a); }"
        "catch (error) { seen.push(error.message); }"
        "return seen"
    ) == ["ä", 2, "broke"]


def test_bentoml_s_page_asks_nobody_else_either(browser: WebDriver, echo_service: Service) -> None:
    with fresh_page(browser, echo_service.url) as page:
        browser.get(echo_service.url)
        page.await_text("#swagger-ui", "/classify")
        assert origins_asked(browser) == {echo_service.url}
        refused = complaints(browser)
        assert any("inline script" in each for each in refused)
        assert all("Content Security Policy" in each for each in refused)


def test_the_page_follows_a_start_and_says_when_nobody_answers(
    browser: WebDriver, tmp_path: Path
) -> None:
    started = threading.Event()
    with echo_server(tmp_path, started=started) as server, fresh_page(browser, server.url) as page:
        page.open()
        page.await_text("#state", "The engine starts")
        assert page.one("#state").get_attribute("data-state") == "not-ready"
        page.ask("too early")
        page.await_text(".took", "refused with status 503")
        started.set()
        page.await_text("#state", "Ready")
        page.await_text("#model", "phi3-echo")
        page.one(".took button").click()
        page.await_text(".reply .said", "too early")
        page.await_text("#health", "No figures yet")  # without BentoML there are no metrics
        server.stop()
        page.await_text("#state", "Not reachable")
        page.ask("anybody?")
        page.await_text(".reply .failure", "does not answer")


def test_the_page_works_behind_a_proxy_s_prefix(browser: WebDriver, tmp_path: Path) -> None:
    with (
        echo_server(tmp_path, prefix="/some/where") as server,
        fresh_page(browser, f"{server.url}/some/where") as page,
    ):
        browser.get(f"{page.url}/ui/")
        page.await_text("#model", "phi3-echo")
        assert browser.current_url == f"{page.url}/ui"
        page.ask("one two")
        assert page.answered(1) == "one two"
        page.one(".curl summary").click()
        assert f"{page.url}/v1/chat/completions" in page.text(".curl pre")
