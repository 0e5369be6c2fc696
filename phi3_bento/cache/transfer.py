"""Kept answers from a store into a pack, and from a pack into a store."""

from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from phi3_bento.cache.base import Store
from phi3_bento.cache.entry import Entry, TamperedEntry, unwrap, wrap
from phi3_bento.cache.pack import PackWriter, read_pack
from phi3_bento.cache.pack_format import PackedAnswer, name_of
from phi3_bento.cache.policy import key_of, scope_of
from phi3_bento.cache.replay import pack, unpack


@dataclass(slots=True)
class Exported:
    """What became of a tenant's answers; `models` counts what was written."""

    answers: int
    models: dict[str, int]
    damaged: int = 0
    """Not what this deployment has sealed, or of an older format."""
    too_long: int = 0


@dataclass(slots=True)
class Imported:
    """What became of a pack's answers; `models` counts what was put."""

    answers: int
    models: dict[str, int]
    expired: int = 0


async def export_answers(
    store: Store, secret: bytes, tenant: str, path: Path, *, now: float
) -> Exported:
    """Write a tenant's answers into a pack. `now`: Unix time in seconds.

    Raises `StoreFailure`, and `StartFailure` where the file cannot be written.
    """
    seen: set[str] = set()
    done = Exported(0, {})
    with PackWriter(path, made_at=now) as writer:
        async with aclosing(store.entries(scope_of(secret, tenant))) as entries:
            async for key, wrapped in entries:
                if key in seen:
                    continue
                seen.add(key)
                try:
                    entry, _ = unwrap(wrapped, key, secret)
                except TamperedEntry:
                    done.damaged += 1
                    continue
                done.too_long += not writer.add(_packed(entry))
        done.answers, done.models = writer.models.total(), dict(writer.models)
    return done


async def import_answers(
    store: Store, secret: bytes, tenant: str, path: Path, *, now: float
) -> Imported:
    """Keep a pack's answers for a tenant. `now`: Unix time in seconds.

    Raises `StartFailure` for a pack that is damaged, of which nothing is kept then, and
    `StoreFailure`.
    """
    for _ in read_pack(path):  # all of it is judged before any of it is kept
        pass
    scope, done = scope_of(secret, tenant), Imported(0, {})
    for answer in read_pack(path):
        entry = Entry(pack(answer.recording), answer.created_at, answer.ttl_s, answer.engine_ms)
        if not entry.is_fresh(now):
            done.expired += 1
            continue
        key = key_of(scope, answer.recording.identity)
        sealed = wrap(entry, scope, key, secret)
        await store.put(key, sealed, ttl_s=entry.ttl_s - entry.age_s(now), scope=scope)
        name = name_of(answer.model)
        done.models[name] = done.models.get(name, 0) + 1
        done.answers += 1
    return done


def _packed(entry: Entry) -> PackedAnswer:
    return PackedAnswer(unpack(entry.body), entry.created_at, entry.ttl_s, entry.engine_ms)
