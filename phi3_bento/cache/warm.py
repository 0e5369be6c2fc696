"""The warm cache: answers of a pack that the operator gives to every tenant; read-only."""

import logging
from collections import Counter
from hashlib import sha256
from pathlib import Path

from phi3_bento.cache.entry import Entry, Found, Tier
from phi3_bento.cache.pack import read_pack
from phi3_bento.cache.pack_format import name_of
from phi3_bento.cache.replay import pack
from phi3_bento.engine.state import ModelCard
from phi3_bento.errors import StartFailure

logger = logging.getLogger("bentoml.phi3")


class WarmCache:
    """Answers by what they are answers to; empty until `load`."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._models: dict[bytes, tuple[str, str]] = {}
        self.bytes_used = 0
        """The sizes of all entries together."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, identity: bytes) -> Found | None:
        """The answer to `identity`."""
        entry = self._entries.get(_digest(identity)) if self._entries else None
        return None if entry is None else Found(entry, Tier.WARM)

    def load(self, path: Path, *, cap_bytes: int, ttl_s: float) -> None:
        """Read the whole pack; its answers are then given for `ttl_s` seconds at a time.

        Blocks. Raises `StartFailure` for a pack that is damaged, or needs more than `cap_bytes` of
        memory; then nothing is kept.
        """
        entries: dict[bytes, Entry] = {}
        models: dict[bytes, tuple[str, str]] = {}
        size_bytes = 0
        for answer in read_pack(path):
            entry = Entry(pack(answer.recording), answer.created_at, ttl_s, answer.engine_ms)
            size_bytes += entry.size_bytes
            if size_bytes <= cap_bytes:
                digest = _digest(answer.recording.identity)
                entries[digest], models[digest] = entry, answer.model
        if size_bytes > cap_bytes:
            raise StartFailure(
                f"The warm cache {path} needs {size_bytes / 2**20:.1f} MiB of memory and may take "
                f"{cap_bytes / 2**20:.1f} MiB, half of PHI3_CACHE_MEMORY. Raise that, or carry "
                "fewer answers."
            )
        self._entries, self._models = entries, models
        self.bytes_used = sum(entry.size_bytes for entry in entries.values())

    def keep_only(self, card: ModelCard) -> None:
        """Drop the answers of other models and revisions, and say so in the log."""
        own = (card.name, card.revision)
        others = Counter(model for model in self._models.values() if model != own)
        self._entries = {
            digest: entry for digest, entry in self._entries.items() if self._models[digest] == own
        }
        self._models = dict.fromkeys(self._entries, own)
        self.bytes_used = sum(entry.size_bytes for entry in self._entries.values())
        if self._entries:
            logger.info("The warm cache has %d answers.", len(self._entries))
        if others:
            logger.warning(
                "%d answers of the warm cache are of another model or revision (%s) than %s, "
                "and are not used.",
                *(others.total(), ", ".join(map(name_of, others)), name_of(own)),
            )


def _digest(identity: bytes) -> bytes:
    return sha256(identity).digest()
