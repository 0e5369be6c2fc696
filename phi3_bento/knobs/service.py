"""Knobs of the service: its model, its address, its keys, and where it writes."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from phi3_bento.knobs.defaults import DEFAULT_PORT, default_data_dir, default_model


class ServiceKnobs(BaseModel):
    """What is served, where, and to whom."""

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
    stream_ender: Path | None = Field(
        None,
        description="The socket of a process that ends the streams of this one if it is killed. A "
        "fleet sets it; unset: one of its own.",
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
    def is_loopback(self) -> bool:
        """Only this machine can reach the service's address."""
        return ip_address(self.host).is_loopback
