"""What the lines of a pack hold, and what is said of them: see `pack.py`."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from phi3_bento.cache.replay import Recording

MAX_LINE_BYTES = 16 * 2**20
_MAX_PIECES = 2**18
MAX_TTL_S = 10 * 365 * 86_400.0

_Count = Annotated[int, Field(ge=0, le=2**31)]
_Seconds = Annotated[float, Field(ge=0, le=MAX_TTL_S, allow_inf_nan=False)]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Json = Annotated[
    str, StringConstraints(min_length=2, max_length=MAX_LINE_BYTES, pattern=r"^[^\n]*$")
]


class Line(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Header(Line):
    """The first line."""

    format: Literal["phi3-cache-pack"] = "phi3-cache-pack"
    version: Literal[1] = 1
    made_at: Annotated[int, Field(ge=0, description="Unix time in seconds.")]


class AnswerLine(Line):
    """One answer."""

    identity: _Json
    prompt_tokens: _Count
    completion_tokens: _Count
    pieces: Annotated[list[_Json], Field(min_length=1, max_length=_MAX_PIECES)]
    created_at: Annotated[float, Field(ge=0, le=2**40, allow_inf_nan=False)]
    ttl_s: _Seconds
    engine_ms: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class Identity(BaseModel):
    """What a pack needs to know of an identity; the rest is compared as it is."""

    operation: Literal["chat", "completion"]
    model: str
    revision: str


class Piece(BaseModel):
    """What is needed to give a piece to another request."""

    id: str
    choices: list[Any]


class End(Line):
    """The last line."""

    answers: _Count
    models: dict[str, _Count] = Field(description="Answers by model and revision.")
    sha256: _Digest


@dataclass(frozen=True, slots=True)
class PackedAnswer:
    """One answer of a pack."""

    recording: Recording
    created_at: float
    """Unix time in seconds."""
    ttl_s: float
    engine_ms: float

    @property
    def model(self) -> tuple[str, str]:
        """Name and revision of the model that gave it."""
        identity = orjson.loads(self.recording.identity)
        return str(identity["model"]), str(identity["revision"])


def name_of(model: tuple[str, str]) -> str:
    """Name and revision of a model, for people."""
    return " ".join(model).strip()
