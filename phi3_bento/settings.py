"""Every knob of the service: `PHI3_*`, its default, one sentence; the docs page is made from it.

Settings are read once, by `app.py` and `cli.py`; the parts take plain values.
"""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from phi3_bento.errors import StartFailure
from phi3_bento.knobs.cache import CacheKnobs
from phi3_bento.knobs.engine import EngineKnobs
from phi3_bento.knobs.limits import LimitKnobs
from phi3_bento.knobs.service import ServiceKnobs
from phi3_bento.knobs.telemetry import TelemetryKnobs

_INSTALLER_VARIABLES = {"PHI3_VENV"}


# The docs page lists the last base's knobs first.
class Settings(TelemetryKnobs, CacheKnobs, LimitKnobs, EngineKnobs, ServiceKnobs, BaseSettings):
    """The settings of one service process, from the environment."""

    model_config = SettingsConfigDict(env_prefix="PHI3_", extra="ignore", frozen=True)

    @property
    def database(self) -> str:
        """The URL of the database of keys and usage."""
        return self.database_url or f"sqlite:///{self.data_dir / 'phi3.db'}"

    @property
    def cache_store(self) -> str:
        """The URL of the cache's second tier."""
        return self.cache_url or f"sqlite:///{self.data_dir / 'cache.db'}"

    @property
    def vectors(self) -> str:
        """The URL of the vector database."""
        return self.vectors_url or f"sqlite:///{self.data_dir / 'vectors.db'}"

    def secrets(self) -> list[str]:
        """What no log may show: the values of secret settings, and passwords in URLs."""
        hidden = [each.get_secret_value() for each in (self.api_key, self.secret) if each]
        urls = (self.database_url, self.limits_url, self.cache_url, self.vectors_url)
        passwords = [password for url in urls if url and (password := urlsplit(url).password)]
        return [*hidden, *passwords, *(unquote(password) for password in passwords)]


def load_settings() -> Settings:
    """The settings from the environment.

    Raises `StartFailure` that names the variable, says what is wrong with its value, and how it
    is meant.
    """
    for problem in _unknown(os.environ):
        raise StartFailure(problem)
    try:
        settings = Settings()  # type: ignore[call-arg, unused-ignore]  # values: the environment
    except ValidationError as error:
        raise StartFailure(f"A setting cannot be used. {'; '.join(_reasons(error))}.") from error
    return settings


def usable_settings() -> tuple[Settings, list[str]]:
    """The settings, with the default for each that cannot be used, and what is wrong with those."""
    problems = list(_unknown(os.environ))
    try:
        return Settings(), problems  # type: ignore[call-arg, unused-ignore]
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors()}
        fields = Settings.model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in wrong}
        return Settings(**defaults), problems + list(_reasons(error))


def _reasons(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"]).upper()
        yield f"PHI3_{name}: {problem['msg']}"


def _unknown(names: Iterable[str]) -> Iterator[str]:
    """A misspelt variable would otherwise change nothing, silently."""
    known = {f"PHI3_{name.upper()}" for name in Settings.model_fields} | _INSTALLER_VARIABLES
    for name in names:
        if name.startswith("PHI3_") and name not in known:
            similar = get_close_matches(name, known, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            yield f"There is no setting {name}.{hint} See docs/configuration.md."
