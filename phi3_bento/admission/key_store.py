"""Stored API keys: made, found, listed, revoked and rotated in the database."""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from phi3_bento.admission.keys import digest_of, key_id_of, new_token
from phi3_bento.caller import Caller, Quota, Scope
from phi3_bento.errors import InvalidRequest, NotFound
from phi3_bento.secret import mark_of
from phi3_bento.tables import insert_missing, keys, tenants

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_NAME = 200
_MAX_NUMBER = 2**31 - 1
_MAX_TOKENS_PER_DAY = 2**63 - 1


class KeyStatus(StrEnum):
    """Whether a key opens the door."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """For whom a key is, and what it may do. Raises `InvalidRequest` for terms that cannot be."""

    tenant: str
    name: str = ""
    """What a person calls the key."""
    scopes: frozenset[Scope] = frozenset({Scope.INFERENCE})
    models: frozenset[str] | None = None
    """Names of the models that may be asked; None: all."""
    quota: Quota = field(default_factory=Quota)
    priority: int = 0
    slo_ttft_ms: int | None = None
    semantic_cache: bool = False
    """A question that means the same as an earlier one may get its answer."""
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse, by its name, a term that no key can have."""
        for name, is_wrong, rule in self._rules():
            if is_wrong:
                raise InvalidRequest(f"A key's '{name}' {rule}.", param=name)

    def _rules(self) -> Iterator[tuple[str, bool, str]]:
        named = "is 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
        yield "tenant", not _TENANT.fullmatch(self.tenant), named
        is_text = len(self.name) <= _MAX_NAME and self.name.isprintable()
        yield "name", not is_text, f"is at most {_MAX_NAME} characters that can be printed"
        yield "scopes", not self.scopes, "are at least one"
        yield "models", self.models is not None and not self.models, "are at least one, or all"
        yield "expires_at", bool(self.expires_at and not self.expires_at.tzinfo), "has a time zone"
        yield "priority", abs(self.priority) > _MAX_NUMBER, f"is at most {_MAX_NUMBER}"
        for name, number in {**asdict(self.quota), "slo_ttft_ms": self.slo_ttft_ms}.items():
            most = _MAX_TOKENS_PER_DAY if name == "tokens_per_day" else _MAX_NUMBER
            is_wrong = number is not None and not 1 <= number <= most
            yield name, is_wrong, f"is from 1 to {most}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey(KeyTerms):
    """A key as the database knows it: everything but the key itself."""

    id: str
    """The key's public name."""
    digest: str = field(repr=False)
    created_at: datetime
    revoked_at: datetime | None = None
    replaces: str | None = None
    """The id of the key that this one was rotated from."""
    secret_mark: str | None = None
    """`mark_of` the secret that it was made under; under another it opens nothing."""

    def status(self, now: datetime) -> KeyStatus:
        """What the key is at `now`."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyStatus.EXPIRED
        return KeyStatus.ACTIVE

    def caller(self) -> Caller:
        """Who sends a request with this key."""
        return Caller(
            tenant=self.tenant,
            key_id=self.id,
            scopes=self.scopes,
            models=self.models,
            quota=self.quota,
            priority=self.priority,
            slo_ttft_ms=self.slo_ttft_ms,
            semantic_cache=self.semantic_cache,
        )


def unknown_key(key_id: str) -> NotFound:
    """What to raise for an id that no key has."""
    return NotFound(f"There is no key '{key_id[:64]}'; 'phi3-bento keys list' shows all.")


def utc_now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


class KeyStore:
    """The keys in the database. Every method raises `database.DATABASE_ERRORS` when that fails.

    Changes are for good when a method returns. `secret` is the deployment's.
    """

    def __init__(
        self, engine: AsyncEngine, secret: bytes, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine = engine
        self._secret = secret
        self._clock = clock

    async def create(self, terms: KeyTerms) -> tuple[StoredKey, str]:
        """Store a new key; the token beside it is shown here and never again."""
        async with self._engine.begin() as connection:
            return await self._add(connection, terms)

    async def find(self, key_id: str) -> StoredKey | None:
        """The key of that id; None where there is none."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(keys).where(keys.c.id == key_id))
        row = rows.mappings().one_or_none()
        return _from_row(row) if row else None

    async def list(self, tenant: str | None = None) -> tuple[StoredKey, ...]:
        """All keys or those of one tenant, oldest first."""
        query = select(keys).order_by(keys.c.created_at, keys.c.id)
        if tenant is not None:
            query = query.where(keys.c.tenant == tenant)
        async with self._engine.connect() as connection:
            rows = await connection.execute(query)
        return tuple(_from_row(row) for row in rows.mappings())

    async def revoke(self, key_id: str) -> StoredKey:
        """End a key at once; a second time changes nothing. Raises `NotFound`."""
        async with self._engine.begin() as connection:
            key = await _lock(connection, key_id)
            if key.revoked_at is not None:
                return key
            return await _change(connection, replace(key, revoked_at=self._clock()))

    async def rotate(self, key_id: str, grace: timedelta) -> tuple[StoredKey, str]:
        """A new key on the same terms; the old one expires after `grace`.

        Raises `NotFound`, and `InvalidRequest` for a key that has ended already.
        """
        now = self._clock()
        async with self._engine.begin() as connection:
            old = await _lock(connection, key_id)
            status = old.status(now)
            if status is not KeyStatus.ACTIVE:
                raise InvalidRequest(f"The key '{key_id}' is {status}; create a new one instead.")
            end = min(now + grace, old.expires_at or now + grace)
            await _change(connection, replace(old, expires_at=end))
            return await self._add(connection, KeyTerms(**_attributes(old)), replaces=key_id)

    async def any_active(self, now: datetime) -> bool:
        """Some key opens the door at `now`."""
        lasts = or_(keys.c.expires_at.is_(None), keys.c.expires_at > now)
        query = select(keys.c.id).where(keys.c.revoked_at.is_(None), lasts).limit(1)
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).first() is not None

    async def any_stored(self) -> bool:
        """A key was made some time, be it active or ended."""
        async with self._engine.connect() as connection:
            return (await connection.execute(select(keys.c.id).limit(1))).first() is not None

    async def _add(
        self, connection: AsyncConnection, terms: KeyTerms, replaces: str | None = None
    ) -> tuple[StoredKey, str]:
        token, now = new_token(), self._clock()
        key = StoredKey(
            **_attributes(terms),
            id=key_id_of(token) or "",
            digest=digest_of(token, self._secret),
            created_at=now,
            replaces=replaces,
            secret_mark=mark_of(self._secret),
        )
        tenant = insert_missing(tenants, self._engine.dialect.name)
        await connection.execute(tenant.values(id=key.tenant, created_at=now))
        try:
            await connection.execute(insert(keys).values(_to_row(key)))
        except IntegrityError as error:
            raise InvalidRequest(f"The key id '{key.id}' is taken already; try again.") from error
        return key, token


async def _lock(connection: AsyncConnection, key_id: str) -> StoredKey:
    """The key, which nobody else changes before the transaction ends."""
    # SQLite knows no SELECT FOR UPDATE; an UPDATE that changes nothing locks in both databases.
    touch = update(keys).where(keys.c.id == key_id).values(name=keys.c.name).returning(keys)
    row = (await connection.execute(touch)).mappings().one_or_none()
    if row is None:
        raise unknown_key(key_id)
    return _from_row(row)


async def _change(connection: AsyncConnection, key: StoredKey) -> StoredKey:
    await connection.execute(update(keys).where(keys.c.id == key.id).values(_to_row(key)))
    return key


def _attributes(terms: KeyTerms) -> dict[str, Any]:
    return {part.name: getattr(terms, part.name) for part in fields(KeyTerms)}


def _to_row(key: StoredKey) -> dict[str, Any]:
    row = {part.name: getattr(key, part.name) for part in fields(key)}
    row.update(asdict(row.pop("quota")))
    row["scopes"] = sorted(key.scopes)
    row["models"] = None if key.models is None else sorted(key.models)
    return row


def _from_row(row: RowMapping) -> StoredKey:
    values = dict(row)
    values["quota"] = Quota(**{limit.name: values.pop(limit.name) for limit in fields(Quota)})
    values["scopes"] = frozenset(Scope(scope) for scope in values["scopes"])
    values["models"] = None if values["models"] is None else frozenset(values["models"])
    return StoredKey(**values)
