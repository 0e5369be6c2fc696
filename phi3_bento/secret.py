"""The deployment's secret, and what is derived from it."""

import hmac
import os
import secrets
from pathlib import Path

from phi3_bento.errors import StartFailure

FILE_NAME = "secret"
MIN_CHARACTERS = 32


def load_secret(given: str | None, data_dir: Path) -> bytes:
    """The secret that was given, or the one of `data_dir`, which is made at the first call.

    Processes that start at once get the same one. Raises `StartFailure` where the file can be
    neither read nor made, or holds no secret.
    """
    if given is not None:
        return given.encode()
    path = data_dir / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartFailure(
            f"The deployment's secret in {path} can be neither read nor made: {error}. Make the "
            "directory writable, or set PHI3_SECRET."
        ) from error
    if len(text) < MIN_CHARACTERS:
        raise StartFailure(
            f"The deployment's secret in {path} is shorter than {MIN_CHARACTERS} characters. "
            "Restore the file; without it, keys that were made before are not accepted."
        )
    return text.encode()


def derive(secret: bytes, purpose: str, name: str) -> bytes:
    """32 bytes that belong to `name` for `purpose`, a word of our own; HMAC-SHA256."""
    return hmac.digest(secret, f"{purpose}\0{name}".encode(), "sha256")


def mark_of(secret: bytes) -> str:
    """Four hex digits by which secrets are told apart, and too few to find one by guessing."""
    return derive(secret, "mark", "").hex()[:4]


def _make(path: Path) -> None:
    """Write the whole file aside and link it into place: nobody sees half, and the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    aside.touch(mode=0o600, exist_ok=False)
    try:
        with aside.open("w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(aside)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
