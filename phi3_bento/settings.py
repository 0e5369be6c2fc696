"""Every knob of the service: `PHI3_*`, its default, one sentence; the docs page is made from it.

Settings are read once, by `app.py` and `cli.py`; the parts take plain values.
"""

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from phi3_bento.errors import StartFailure

DEMO_MODEL = "phi3-demo"
DEFAULT_PORT = 11403
PACKED_MODEL = Path(__file__).resolve().parent.parent / "packed_model"
"""Beside service.py, in the repository and in a Bento: the model that a Bento carries."""

_INSTALLER_VARIABLES = {"PHI3_VENV"}


def default_data_dir() -> Path:
    """The user's data directory by the XDG convention."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "phi3-bento"


def default_model() -> str:
    """What is served where nothing else is said: the model that lies beside service.py, if any."""
    return str(PACKED_MODEL) if PACKED_MODEL.is_dir() else DEMO_MODEL


class Settings(BaseSettings):
    """The settings of one service process, from the environment."""

    model_config = SettingsConfigDict(env_prefix="PHI3_", extra="ignore", frozen=True)

    model: str = Field(
        default_factory=default_model,
        min_length=1,
        description="The model to serve: `phi3-demo` (carried by the package), a local directory, "
        "or a hub name such as `microsoft/Phi-3-mini-4k-instruct`.",
    )
    served_name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._:/-]{1,96}$",
        description="The model's name in the API; unset: `phi3-demo`, `phi-3-mini`, or the name of "
        "the model's directory.",
    )
    host: str = Field(
        "127.0.0.1",
        description="The IP address to listen on; any but a loopback address needs an API key.",
    )
    port: int = Field(DEFAULT_PORT, ge=1, le=65535, description="The TCP port to listen on.")
    api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="A key with all scopes and no limits that clients send as `Authorization: "
        "Bearer …`, beside those of `phi3-bento keys`; without any key the service is open, to "
        "this machine alone.",
    )
    secret: SecretStr | None = Field(
        None,
        min_length=32,
        description="The deployment's secret, from which key digests and what separates tenants "
        "are derived; the same for all replicas. Unset: made once, kept in the data directory.",
    )
    database_url: str | None = Field(
        None,
        description="The database of keys and usage: `sqlite:///PATH` or "
        "`postgresql://USER:PASSWORD@HOST/NAME`; unset: SQLite in the data directory.",
    )
    limits_url: str = Field(
        "memory://",
        pattern=r"^(memory://|rediss?://.+)$",
        description="Where rate limits are counted: `memory://` for one replica, or "
        "`redis://HOST:PORT/NUMBER` for several.",
    )
    open_metrics: bool = Field(
        False, description="Whether `/metrics` is read without a key; else it needs the scope."
    )
    failed_attempts_per_minute: int = Field(
        30,
        ge=1,
        description="Requests with a missing or wrong key after which an address must wait.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may call the API from a browser, comma-separated.",
    )
    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="The directory under which the service writes everything it writes.",
    )
    engine: Literal["vllm", "echo"] = Field(
        "vllm",
        description="What runs requests: vLLM, or the echo engine, which has no model and repeats "
        "the prompt.",
    )
    echo_word_s: float = Field(
        0.0, ge=0, description="Seconds that the echo engine takes for each word of an answer."
    )
    memory: ByteSize = Field(
        ByteSize(8 * 2**30),
        ge=2**30,
        description="The memory of the whole service; weights, KV cache and processes are planned "
        "inside it.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="Compute threads of the engine; unset: as many as the process may use cores, "
        "at most 2.",
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="The number format of the computation; `auto`: the checkpoint's own."
    )
    kv_dtype: Literal["auto", "fp8"] = Field(
        "auto",
        description="The number format of the KV cache; `fp8` holds twice the tokens in the same "
        "memory, see docs/performance.md for what it costs.",
    )
    compile: bool = Field(
        False,
        description="Compile the model with torch.compile; the first start takes about a minute "
        "longer, later ones reuse the cache.",
    )
    max_context_tokens: int | None = Field(
        None,
        ge=64,
        description="The longest context, prompt and answer together; unset: the model's own, "
        "as far as the KV cache holds it.",
    )
    max_sequences: int = Field(
        32, ge=1, le=256, description="Sequences that the engine works on at the same time."
    )
    prefill_chunk_tokens: int = Field(
        512,
        ge=64,
        le=8192,
        description="Tokens per engine step; smaller lets running streams go on during a long "
        "prefill, larger makes the prefill faster.",
    )
    max_body_bytes: ByteSize = Field(
        ByteSize(2**20), ge=1024, description="The largest request body that is read."
    )
    max_connections: int = Field(
        512,
        ge=1,
        description="Connections that may be open at the same time; more get 503 and are closed.",
    )
    max_choices: int = Field(
        16, ge=1, le=128, description="The largest `n`, and the most prompts of one completion."
    )
    max_waiting: int = Field(
        64,
        ge=0,
        description="Requests that may wait beside those the engine works on; more get 503.",
    )
    first_piece_limit_s: float = Field(
        300.0,
        gt=0,
        description="Seconds an answer may take to begin before it is given up with 504; one that "
        "is not streamed begins when it is complete.",
    )
    stall_limit_s: float = Field(
        60.0,
        gt=0,
        description="Seconds without one engine step, while requests wait, after which the service "
        "is not ready.",
    )
    replace_after_s: float = Field(
        60.0,
        gt=0,
        description="Seconds for which the engine may be stalled before it is killed and started "
        "again.",
    )
    engine_restarts: int = Field(
        5,
        ge=0,
        description="How often within ten minutes an engine that ended is started again; then the "
        "service gives up and is not alive.",
    )
    drain_limit_s: float = Field(
        30.0, ge=0, description="Seconds that running requests may take to finish after SIGTERM."
    )
    keep_alive_s: float = Field(
        15.0,
        gt=0,
        description="Seconds of silence in a stream after which a comment keeps it open.",
    )
    public_prompts: Path | None = Field(
        None,
        description="A JSON file with a list of system prompts that all tenants share: the engine "
        "reads them once, before the service is ready.",
    )
    cache: bool = Field(
        True,
        description="Whether answers that would come out the same again are kept and shared, each "
        "tenant's for itself.",
    )
    cache_url: str | None = Field(
        None,
        pattern=r"^(memory://|sqlite:///.+|rediss?://.+)$",
        description="Where answers are kept beyond this process's memory: `sqlite:///PATH`, "
        "`redis://HOST:PORT/NUMBER`, or `memory://` for nowhere; unset: SQLite in the data "
        "directory.",
    )
    cache_memory: ByteSize = Field(
        ByteSize(32 * 2**20),
        ge=2**20,
        description="Memory for kept answers in this process.",
    )
    cache_disk: ByteSize = Field(
        ByteSize(2**30), ge=2**20, description="Disk space for kept answers in SQLite."
    )
    cache_ttl_s: float = Field(86_400.0, gt=0, description="Seconds for which an answer is kept.")
    warm_cache: Path | None = Field(
        None,
        description="A pack of `phi3-bento cache export` whose answers every tenant is given; read "
        "before the service is ready, into at most half of `PHI3_CACHE_MEMORY`.",
    )
    semantic_cache: bool = Field(
        False,
        description="Whether a question may get the answer to an earlier one that means the same, "
        "for keys and requests that ask for it; needs `make install-semantic`.",
    )
    vectors_url: str | None = Field(
        None,
        pattern=r"^(sqlite:///.+|postgres(ql)?(\+asyncpg)?://.+)$",
        description="The vector database of the semantic cache: `sqlite:///PATH`, or "
        "`postgresql://…` with pgvector; unset: SQLite in the data directory.",
    )
    semantic_threshold: float = Field(
        0.8,
        gt=0,
        le=1,
        description="How similar (cosine) a question must be to one whose answer it gets.",
    )
    semantic_false_hits: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="The share of false semantic hits that is tolerated: when more is proved, the "
        "threshold rises, and at last the tier switches itself off.",
    )
    semantic_audit_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The share of semantic hits that the idle engine answers anew, to count false "
        "ones.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe message that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="How it is logged: JSON, an object a line, or text for people; `auto`: text on "
        "a terminal, else JSON.",
    )
    log_requests: bool = Field(
        True, description="Whether every request is logged, in one line, without what it says."
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://.+$",
        description="Where traces are sent, the base URL of an OTLP collector over HTTP such as "
        "`http://127.0.0.1:4318`; unset: nowhere.",
    )
    trace_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="The share of requests whose traces are sent, where their sender has not "
        "decided (`traceparent`); beside it always those that failed here or took over 300 ms.",
    )

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        host = "127.0.0.1" if value == "localhost" else value
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"'{value}' is not an IP address; use 127.0.0.1 or 0.0.0.0") from None
        return host

    @field_validator("api_key")
    @classmethod
    def _check_api_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("use letters, digits and signs of ASCII alone, without spaces")
        return value

    @field_validator("data_dir")
    @classmethod
    def _expand_data_dir(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

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

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach the service's address."""
        return ip_address(self.host).is_loopback


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
