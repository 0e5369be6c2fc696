"""A pack: kept answers in a file of JSON lines, to be carried elsewhere.

The first line names the format, then comes a line for each answer, and the last line has their
number and the SHA-256 of all bytes before it. A pack is all right or of no use at all.

It is not sealed: whoever may write the file decides what is answered.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from phi3_bento.cache.pack_format import (
    MAX_LINE_BYTES,
    MAX_TTL_S,
    AnswerLine,
    End,
    Header,
    Identity,
    Line,
    PackedAnswer,
    Piece,
    name_of,
)
from phi3_bento.cache.replay import Recording
from phi3_bento.core import TokenCount
from phi3_bento.errors import StartFailure

_L = TypeVar("_L", bound=BaseModel)


class PackWriter:
    """Writes a pack beside its place, and puts it there when all of it is written.

    As a context manager; left by an exception, it leaves nothing. Raises `StartFailure` where the
    file cannot be written.
    """

    def __init__(self, path: Path, *, made_at: float) -> None:
        self._path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._made_at = int(made_at)
        self._digest = hashlib.sha256()
        self.models: Counter[str] = Counter()
        """Answers so far, by model and revision."""

    def __enter__(self) -> Self:
        try:
            # Answers are their owner's alone to read.
            self._file: IO[bytes] = os.fdopen(
                os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o600), "wb"
            )
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._write(Header(made_at=self._made_at))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._aside.unlink(missing_ok=True)

    def add(self, answer: PackedAnswer) -> bool:
        """Write one answer; False: it is too long for a pack."""
        recording = answer.recording
        try:
            line = AnswerLine(
                identity=recording.identity.decode(),
                prompt_tokens=recording.tokens.prompt,
                completion_tokens=recording.tokens.completion,
                pieces=[piece.decode() for piece in recording.pieces],
                created_at=answer.created_at,
                ttl_s=min(answer.ttl_s, MAX_TTL_S),
                engine_ms=max(answer.engine_ms, 0.0),
            )
        except ValidationError:
            return False
        if not self._write(line):
            return False
        self.models[name_of(answer.model)] += 1
        return True

    def _finish(self) -> None:
        self._write(
            End(
                answers=self.models.total(),
                models=dict(self.models),
                sha256=self._digest.hexdigest(),
            )
        )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._aside.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _write(self, line: Line) -> bool:
        content = orjson.dumps(line.model_dump()) + b"\n"
        if len(content) > MAX_LINE_BYTES:
            return False
        try:
            self._file.write(content)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._digest.update(content)
        return True


def read_pack(path: Path) -> Iterator[PackedAnswer]:
    """Yield the answers of a pack. Believe none before the last one has come.

    Raises `StartFailure` that names the file and, where it can be told, the line, for what is not
    a whole pack as it was written.
    """
    try:
        with path.open("rb") as file:
            yield from _Reader(path, file).answers()
    except OSError as error:
        raise StartFailure(f"The pack {path} cannot be read: {error.strerror}.") from error


class _Reader:
    """Reads the lines of one file, and judges them."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file

    def answers(self) -> Iterator[PackedAnswer]:
        digest, models = hashlib.sha256(), Counter[str]()
        number, line = 1, self._line(1)
        self._parse(Header, number, line, "is not the first line of a pack")
        while following := self._line(number + 1):
            digest.update(line)
            if number > 1:
                answer = self._answer(number, line)
                models[name_of(answer.model)] += 1
                yield answer
            number, line = number + 1, following
        end = self._parse(End, number, line, "is not the end of a pack: the file is cut off")
        if not line.endswith(b"\n"):
            raise self._damage(number, "is cut off")
        told = End(answers=models.total(), models=dict(models), sha256=digest.hexdigest())
        if end != told:
            raise self._damage(number, "counts and sums up other lines than these: one was changed")

    def _line(self, number: int) -> bytes:
        line = self._file.readline(MAX_LINE_BYTES + 1)
        if len(line) > MAX_LINE_BYTES:
            raise self._damage(number, f"is longer than {MAX_LINE_BYTES} bytes")
        return line

    def _answer(self, number: int, line: bytes) -> PackedAnswer:
        answer = self._parse(AnswerLine, number, line, "is not an answer")
        identity = answer.identity.encode()
        self._parse(Identity, number, identity, "has an identity that cannot be")
        pieces = [piece.encode() for piece in answer.pieces]
        for piece in pieces:
            self._parse(Piece, number, piece, "has a piece that cannot be")
        tokens = TokenCount(prompt=answer.prompt_tokens, completion=answer.completion_tokens)
        recording = Recording(identity, pieces, tokens)
        return PackedAnswer(recording, answer.created_at, answer.ttl_s, answer.engine_ms)

    def _parse(self, kind: type[_L], number: int, line: bytes, otherwise: str) -> _L:
        try:
            return kind.model_validate_json(line)
        except ValidationError as error:
            # Not the value: it may be somebody's question.
            problem = error.errors(include_input=False, include_context=False)[0]
            place = ".".join(map(str, problem["loc"]))
            why = problem["msg"].partition(":")[0]
            raise self._damage(
                number, f"{otherwise} ({place + ': ' if place else ''}{why})"
            ) from None

    def _damage(self, number: int, what: str) -> StartFailure:
        return StartFailure(
            f"The pack {self._path} is damaged, and nothing of it is used: line {number} {what}. "
            "Export it again."
        )


def _unwritable(path: Path, error: OSError) -> StartFailure:
    return StartFailure(f"The pack {path} cannot be written: {error.strerror}.")
