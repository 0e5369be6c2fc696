"""Knobs of what the service tells of itself: logs and traces."""

from typing import Literal

from pydantic import BaseModel, Field


class TelemetryKnobs(BaseModel):
    """What is logged and traced."""

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
