"""Sums over the ledger: what was used, by whom, and when."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, String, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.errors import InvalidRequest
from phi3_bento.tables import usage

OK = "ok"

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Grouping(StrEnum):
    """What a sum is made for."""

    TENANT = "tenant"
    KEY = "key"
    DAY = "day"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What one tenant, key, day (in UTC) or model has used."""

    name: str
    requests: int
    failed: int
    """Requests of these that did not end well, those given up by their client among them."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON and CSV."""
        return asdict(self)


def read_moment(text: str, now: datetime) -> datetime:
    """A time ago, as in `12h`, `30d` or `4w`, or a date or time of ISO 8601, in UTC by default.

    Raises `InvalidRequest`.
    """
    if match := re.fullmatch(r"(\d{1,4})([hdw])", text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"'{text[:40]}' is neither a time ago such as 30d nor a date such as 2026-01-31.",
            param="since",
        ) from None


async def summarise(
    database: AsyncEngine,
    *,
    by: Grouping = Grouping.KEY,
    since: datetime | None = None,
    until: datetime | None = None,
    tenant: str | None = None,
) -> list[UsageSum]:
    """The sums of requests received in [`since`, `until`), by name."""
    statement = _statement(database.dialect.name, by)
    if since is not None:
        statement = statement.where(usage.c.received_at >= since)
    if until is not None:
        statement = statement.where(usage.c.received_at < until)
    if tenant is not None:
        statement = statement.where(usage.c.tenant == tenant)
    async with database.connect() as connection:
        rows = (await connection.execute(statement)).mappings().all()
    return [_sum(row) for row in rows]


def _statement(dialect: str, by: Grouping) -> Select[Any]:
    name = _name(dialect, by).label("name")
    return (
        select(
            name,
            func.count().label("requests"),
            func.sum(case((usage.c.outcome == OK, 0), else_=1)).label("failed"),
            func.sum(usage.c.prompt_tokens).label("prompt_tokens"),
            func.sum(usage.c.cached_tokens).label("cached_tokens"),
            func.sum(usage.c.completion_tokens).label("completion_tokens"),
        )
        .group_by(name)
        .order_by(name)
    )


def _name(dialect: str, by: Grouping) -> ColumnElement[Any]:
    if by is Grouping.DAY:
        # Stored in UTC by SQLite, as text; PostgreSQL would use the session's zone.
        received = usage.c.received_at
        if dialect == "postgresql":
            return func.to_char(func.timezone("UTC", received), "YYYY-MM-DD")
        return func.substr(cast(received, String), 1, 10)
    return {
        Grouping.TENANT: usage.c.tenant,
        Grouping.KEY: usage.c.key_id,
        Grouping.MODEL: usage.c.model,
    }[by]


def _sum(row: Mapping[Any, Any]) -> UsageSum:
    counts = {name: int(value) for name, value in row.items() if name != "name"}
    return UsageSum(name=str(row["name"]), **counts)
