"""Make the reference pages of docs/ from the code, so that they cannot say anything else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

from phi3_bento.errors import StartFailure
from phi3_bento.knobs.defaults import DEMO_MODEL, default_data_dir, default_model
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.settings import Settings
from phi3_bento.usage.metrics import Metrics

_NOTE = "<!-- Made by `make docs` from the code; edit the code instead. -->\n"


def write_pages(directory: Path, commands: str) -> list[Path]:
    """Write all pages under `directory`; returns their paths. `commands`: `command_page`."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = _pages(commands)
    for name, text in pages.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in pages]


def stale_pages(directory: Path, commands: str) -> list[Path]:
    """The pages under `directory` that are missing, or differ from what would be written."""
    return [
        directory / name
        for name, text in _pages(commands).items()
        if not (directory / name).exists() or (directory / name).read_text(encoding="utf-8") != text
    ]


def _pages(commands: str) -> dict[str, str]:
    return {
        "command-line.md": _NOTE + commands,
        "configuration.md": _settings_page(),
        "metrics.md": _metrics_page(),
        "errors.md": _errors_page(),
    }


def _settings_page() -> str:
    rows = [
        (f"`PHI3_{name.upper()}`", _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return (
        f"{_NOTE}\n# Configuration\n\n"
        "Every setting is an environment variable. A value that cannot be used stops the start "
        "with a sentence that names it. `make serve` also takes `MODEL=`, `HOST=` and `PORT=`.\n\n"
        + _table(("Variable", "Default", "Meaning"), rows)
    )


def _default(field: Any) -> str:
    if field.default_factory is default_model:
        return f"`{DEMO_MODEL}`"
    if field.default_factory is default_data_dir:
        return "`~/.local/share/phi3-bento`"
    if field.default is PydanticUndefined or field.default in (None, ()):
        return "unset"
    value = field.default
    text = value.human_readable() if hasattr(value, "human_readable") else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _metrics_page() -> str:
    registry = CollectorRegistry()
    Metrics(registry)
    rows = []
    for family in registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        labels = getattr(registry._names_to_collectors[family.name], "_labelnames", ())
        label_text = ", ".join(f"`{label}`" for label in labels) or "-"
        rows.append((f"`{family.name}{suffix}`", family.type, label_text, family.documentation))
    return (
        f"{_NOTE}\n# Metrics\n\n"
        "At `/metrics`, beside vLLM's `vllm:*` families and BentoML's `bentoml_service_*` (of the "
        "native routes alone). How to read them: [monitoring.md](monitoring.md).\n\n"
        + _table(("Family", "Type", "Labels", "Meaning"), rows)
    )


def _errors_page() -> str:
    rows = [
        (
            str(int(error.status)),
            f"`{error.type}`",
            f"`{error.code}`" if error.code else "-",
            _doc(error),
        )
        for error in sorted(_errors(Phi3Error), key=lambda error: (error.status, error.__name__))
    ]
    return (
        f"{_NOTE}\n# Errors\n\n"
        'Every error body is `{"error": {"message", "type", "param", "code"}}`. 429 and 503 carry '
        "`retry-after` and `retry-after-ms` where waiting helps.\n\n"
        + _table(("Status", "Type", "Code", "Meaning"), rows)
    )


def _errors(base: type[Phi3Error]) -> Iterator[type[Phi3Error]]:
    for error in base.__subclasses__():
        if error is not StartFailure:
            yield error
            yield from _errors(error)


def _doc(error: type[Phi3Error]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
