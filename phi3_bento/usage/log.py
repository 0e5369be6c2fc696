"""How everything is logged that this process and EngineCore say: one format, secrets masked.

JSON, one object a line, or a line for people on a terminal. The service's process writes from a
thread, so that whoever reads slowly does not hold up the event loop.
"""

import atexit
import logging
import logging.config
import logging.handlers
import queue
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson
from pythonjsonlogger.orjson import OrjsonFormatter

Format = Literal["json", "text"]

_MASK = "***"
_LEAST_CHARACTERS = 8
"""A shorter secret would be found in many a word. In a URL any password is masked."""

_PATTERNS = (
    # A key of ours keeps its public half, by which it can be revoked.
    (("p3_",), re.compile(r"(p3_[a-z2-7]{10}_)[A-Za-z0-9_-]{16,}"), rf"\1{_MASK}"),
    (("earer", "EARER"), re.compile(r"(?i)(bearer\s+)[^\s\"',;\\]+"), rf"\1{_MASK}"),
    (("://",), re.compile(r"(://[^\s:/@\"']*:)[^\s/@\"']+@"), rf"\1{_MASK}@"),
)
"""What a text must hold for a pattern to be tried, which is dear; the pattern; what it becomes."""

_FIELDS = ("asctime", "levelname", "name", "process", "message")
_UNWANTED = ("color_message", "fileinfo")
"""What uvicorn and vLLM say a second time, for formats of their own."""

_NAMES = {"asctime": "time", "levelname": "level", "name": "logger"}


class Mask:
    """Takes secrets out of a text: those that are named, and whatever has the form of one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # As they are, and as JSON writes them; the longest first, where one holds another.
        long = [secret for secret in secrets if len(secret) >= _LEAST_CHARACTERS]
        forms = {form for secret in long for form in (secret, _as_in_json(secret))}
        self._secrets = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` without its secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        for hints, pattern, masked in _PATTERNS:
            if any(hint in text for hint in hints):
                text = pattern.sub(masked, text)
        return text


class JsonLines(OrjsonFormatter):
    """A record as one JSON object, with whatever the logger's caller said in `extra`."""

    def __init__(self, mask: Mask) -> None:
        super().__init__(_FIELDS, rename_fields=_NAMES, rename_fields_keep_missing=False)
        self._mask = mask

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return iso_time(record.created)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        log_data["level"] = log_data["level"].lower()
        for name in _UNWANTED:
            log_data.pop(name, None)
        return log_data

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


class TextLines(logging.Formatter):
    """A record for people to read."""

    def __init__(self, mask: Mask) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


class Output:
    """Where this process's lines go; `write` may be called from any thread but the event loop's."""

    def __init__(self, handler: "logging.StreamHandler[Any]", format_: Format, mask: Mask) -> None:
        self._handler = handler
        self.format: Format = format_
        self._mask = mask

    def write(self, lines: str) -> None:
        """Write whole lines at once, secrets masked."""
        self._handler.acquire()
        try:
            self._handler.stream.write(self._mask(lines))
            self._handler.flush()
        finally:
            self._handler.release()


def format_for(wanted: Literal["auto", "json", "text"]) -> Format:
    """`auto` is for people on a terminal, and JSON for all who read anything else."""
    if wanted == "auto":
        return "text" if sys.stdout.isatty() else "json"
    return wanted


def set_up_logging(
    format_: Format,
    level: str,
    *,
    secrets: Iterable[str] = (),
    context: Callable[[], Mapping[str, str]] = dict,
    target: TextIO | None = None,
) -> Output:
    """Have everything that this process logs written to `target`, or to its standard output.

    `context`: what to add to a record of whoever logs, such as the request that it is for.
    """
    mask = Mask(secrets)
    stream = logging.StreamHandler(target or sys.stdout)
    stream.setFormatter(formatter(format_, mask))
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    entrance = _Entrance(records)
    entrance.addFilter(_WithContext(context))
    for name in ("", *_FRAMEWORKS):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = ([] if name else [entrance]), True
        logger.setLevel(logging.WARNING if name in ("", *_QUIET) else level.upper())
    logging.captureWarnings(True)
    writer = logging.handlers.QueueListener(records, stream)
    writer.start()
    atexit.register(writer.stop)
    return Output(stream, format_, mask)


_PLAIN = logging.Formatter()
_QUIET = ("uvicorn.error", "circus")
_FRAMEWORKS = ("bentoml", "vllm", *_QUIET)


def formatter(format_: Format, mask: Mask | None = None) -> logging.Formatter:
    """What makes a line of a record."""
    kind = JsonLines if format_ == "json" else TextLines
    return kind(mask or Mask())


def vllm_configuration(format_: Format, level: str) -> dict[str, Any]:
    """The same for vLLM, whose processes read it from a file (VLLM_LOGGING_CONFIG_PATH)."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"phi3": {"()": f"{__name__}.{formatter.__name__}", "format_": format_}},
        "handlers": {
            "phi3": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "phi3",
            }
        },
        "loggers": {"vllm": {"handlers": ["phi3"], "level": level.upper(), "propagate": False}},
    }


class _Entrance(logging.handlers.QueueHandler):
    """Hands records over as they are, where its base class would mix exceptions into messages."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        made = copy(record)
        made.msg, made.args = record.getMessage(), None
        if made.exc_info:
            made.exc_text = made.exc_text or _PLAIN.formatException(made.exc_info)
            made.exc_info = None
        return made


class _WithContext(logging.Filter):
    """Adds to every record what `context` says of whoever logs it."""

    def __init__(self, context: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._context = context

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in self._context().items():
            setattr(record, name, value)
        return True


def iso_time(seconds: float) -> str:
    """Unix time as JSON lines have it: UTC, to the millisecond."""
    whole = int(seconds)
    return f"{_iso_second(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=8)
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _as_in_json(text: str) -> str:
    return orjson.dumps(text).decode()[1:-1]
