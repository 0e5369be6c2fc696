"""Knobs of how much a request may ask, how many may wait, and how long things may take."""

from pydantic import BaseModel, ByteSize, Field


class LimitKnobs(BaseModel):
    """Sizes, numbers and times that are not exceeded."""

    max_body_bytes: ByteSize = Field(
        ByteSize(2**20), ge=1024, description="The largest request body that is read."
    )
    max_connections: int = Field(
        512,
        ge=1,
        description="Connections that may be open at the same time; one more takes the place of "
        "the one that has been idle longest, or gets 503 where none is.",
    )
    idle_limit_s: int = Field(
        95,
        ge=1,
        description="Seconds for which a connection stays open between two requests. Keep it above "
        "what proxies and clients have (nginx 60, Go and Rust 90): one that is closed here just as "
        "it is used costs them a failed request.",
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
