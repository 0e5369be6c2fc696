"""Lines of the log: JSON or for people, with the request they are for, and without secrets."""

import json
import logging
import subprocess
import sys

import pytest

from phi3_bento.usage.log import JsonLines, Mask, TextLines, format_for, vllm_configuration

KEY = "p3_abcdefghij_" + "s" * 43
SECRETS = ["a-key-of-sixteen-characters", 'with "quotes" and ü']


def logged(message: str, *args: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("bentoml.phi3", logging.WARNING, "x.py", 1, message, args, None)
    record.__dict__.update(extra)
    return record


def test_a_line_of_json_says_when_what_and_for_which_request() -> None:
    line = JsonLines(Mask()).format(logged("%d rows wait.", 3, request_id="r-1", trace_id="ab"))
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said.pop("process") > 0
    assert said == {
        "level": "warning",
        "logger": "bentoml.phi3",
        "message": "3 rows wait.",
        "request_id": "r-1",
        "trace_id": "ab",
    }


def test_an_exception_stays_within_its_line() -> None:
    try:
        raise ValueError("a reason")
    except ValueError:
        record = logged("It failed.")
        record.exc_info = sys.exc_info()
    line = JsonLines(Mask()).format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert said["message"] == "It failed."
    assert "ValueError: a reason" in said["exc_info"]


def test_a_line_for_people_is_a_line() -> None:
    assert (
        TextLines(Mask()).format(logged("It failed.")).endswith("WARNING bentoml.phi3: It failed.")
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key {KEY} of", "key p3_abcdefghij_*** of"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer abc'}", "{'authorization': 'bearer ***'}"),
        ("postgresql://me:pass%40word@db/x", "postgresql://me:***@db/x"),
        ("redis://:password@host:6379/0", "redis://:***@host:6379/0"),
        ("a-key-of-sixteen-characters", "***"),
        (json.dumps({"a": SECRETS[1]}), '{"a": "***"}'),
        (json.dumps({"a": SECRETS[1]}, ensure_ascii=False), '{"a": "***"}'),
        ("http://127.0.0.1:11403/v1/models", "http://127.0.0.1:11403/v1/models"),
        ("see https://a.b:80/c?d=e@f", "see https://a.b:80/c?d=e@f"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    mask = Mask([*SECRETS, json.dumps(SECRETS[1])[1:-1]])
    assert mask(text) == masked
    assert mask(masked) == masked


def test_a_short_password_does_not_mask_what_happens_to_be_the_same() -> None:
    mask = Mask(["phi3", ""])
    assert mask('{"logger": "phi3.request"}') == '{"logger": "phi3.request"}'
    assert mask("redis://:phi3@host/0") == "redis://:***@host/0"


def test_both_formats_mask() -> None:
    for lines in (JsonLines(Mask(SECRETS)), TextLines(Mask(SECRETS))):
        said = lines.format(logged("%s and %s", KEY, SECRETS[0]))
        assert SECRETS[0] not in said
        assert KEY not in said


def test_text_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert format_for("json") == "json"
    assert format_for("auto") == "json"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert format_for("auto") == "text"


PROGRAM = """
import logging, warnings
from phi3_bento.usage.log import set_up_logging
for name in ("", "bentoml", "uvicorn.error"):
    logging.getLogger(name).addHandler(logging.StreamHandler())
context = lambda: {"request_id": "r-1"}
output = set_up_logging("json", "info", secrets=["hidden-word"], context=context)
logging.getLogger("bentoml.phi3").info("of ours, %s", "hidden-word")
logging.getLogger("bentoml.phi3").debug("too small")
logging.getLogger("vllm.engine").info("of vLLM")
logging.getLogger("some.library").info("not asked for")
logging.getLogger("some.library").warning("a library's")
warnings.warn("a warning")
output.write("a whole line, hidden-word\\n")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("uvicorn.error").exception("of uvicorn")
"""


def test_all_that_a_process_logs_is_in_one_format_and_written_before_it_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    lines.remove("a whole line, ***")
    said = [json.loads(line) for line in lines]
    messages = [line["message"] for line in said]
    assert messages[:3] == ["of ours, ***", "of vLLM", "a library's"]
    assert "a warning" in messages[3]
    assert messages[4:] == ["of uvicorn"]
    assert all(line["request_id"] == "r-1" for line in said)
    assert "ZeroDivisionError" in said[-1]["exc_info"]


def test_vllms_processes_read_the_same_format_from_a_file() -> None:
    program = f"""
import json, logging, logging.config
logging.config.dictConfig(json.loads({json.dumps(json.dumps(vllm_configuration("json", "info")))}))
logging.getLogger("vllm.core").info("Bearer abc")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["message"] == "Bearer ***"
