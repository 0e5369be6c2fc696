"""Several tenants, each with a key of another quota: nobody gets more than theirs, nobody less."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge

from loadtests.arrivals import constant
from loadtests.judgement import Threshold
from loadtests.prompts import ticket
from loadtests.records import Record
from loadtests.scenario import CHAT_PATH, Load, Scenario, Shot, chat
from loadtests.tables import Table, number
from phi3_bento.caller import Quota

WINDOW_S = 60.0
_POPULAR = 5
_ANSWER_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks, what they may, and which part of all requests is theirs."""

    name: str
    quota: Quota
    part: float
    is_unique: bool = False
    """Asks what nobody asked: what the cache answers costs no tokens."""


TENANTS = (
    Tenant("small", Quota(requests_per_minute=20), 0.2),
    Tenant("large", Quota(requests_per_minute=40), 0.3),
    Tenant("modest", Quota(requests_per_minute=200), 0.2),
    Tenant("tokens", Quota(tokens_per_minute=400), 0.2, is_unique=True),
    Tenant("unlimited", Quota(), 0.1),
)
"""`modest` asks for less than it may, `unlimited` may everything, the others ask for too much."""


def _shots_of(tenant: Tenant, load: Load) -> Iterator[Shot]:
    times = constant(load.rate * tenant.part, load.seconds)
    for index, at_s in enumerate(times):
        text = ticket(load.first_new + index if tenant.is_unique else index % _POPULAR)
        body = chat(text, max_tokens=_ANSWER_TOKENS)
        yield Shot(at_s, tenant.name, CHAT_PATH, body, tenant=tenant.name)


def _shots(load: Load) -> Iterator[Shot]:
    return merge(*(_shots_of(each, load) for each in TENANTS), key=lambda shot: shot.at_s)


def _warm(_: Load) -> list[Shot]:
    """By the tenant without limits: the others' windows begin with the load."""
    bodies = [chat(ticket(text), max_tokens=_ANSWER_TOKENS) for text in range(_POPULAR)]
    return [Shot(0, "warm", CHAT_PATH, body, tenant="unlimited") for body in bodies]


def used(record: Record, quota: Quota) -> float:
    """What an answer took of a quota: its tokens, or one request."""
    if quota.tokens_per_minute is None:
        return 1.0
    return 0.0 if record.cache == "hit" else record.prompt_tokens + record.completion_tokens


def fair_share(records: Sequence[Record], quota: Quota) -> float:
    """What a tenant must get of a quota by the minute, for what it asked.

    A window begins with the first request that is let in, and lasts a minute.
    """
    limit = quota.requests_per_minute or quota.tokens_per_minute
    answers = [used(record, quota) for record in records if record.is_ok]
    cost = sum(answers) / len(answers) if answers else 1.0
    if limit is None:
        return len(records) * cost
    total, window_ends, left = 0.0, 0.0, 0.0
    for record in sorted(records, key=lambda record: record.intended_s):
        if record.intended_s >= window_ends:
            window_ends, left = record.intended_s + WINDOW_S, float(limit)
        taken = min(cost, left)
        total, left = total + taken, left - taken
    return total


def _shares(records: Sequence[Record]) -> dict[str, tuple[float, float]]:
    """What each tenant got, and what it should have got."""
    shares = {}
    for tenant in TENANTS:
        own = [record for record in records if record.name == tenant.name]
        got = sum(used(record, tenant.quota) for record in own if record.is_ok)
        shares[tenant.name] = (got, fair_share(own, tenant.quota))
    return shares


def _figures(records: Sequence[Record], _: Load) -> dict[str, float]:
    ratios = [got / fair for got, fair in _shares(records).values() if fair]
    if not ratios:
        return {}
    return {"most_of_share_ratio": max(ratios), "least_of_share_ratio": min(ratios)}


def _tables(records: Sequence[Record], _: Load) -> list[Table]:
    shares = _shares(records)
    rows = []
    for tenant in TENANTS:
        own = [record for record in records if record.name == tenant.name]
        got, fair = shares[tenant.name]
        answered = str(sum(record.is_ok for record in own))
        row = (
            tenant.name,
            _terms(tenant.quota),
            str(len(own)),
            answered,
            number(got),
            number(fair),
        )
        rows.append(row)
    header = ("tenant", "quota", "requests sent", "answered", "got", "should get")
    return [Table("Tenants", header, rows)]


def _terms(quota: Quota) -> str:
    if quota.requests_per_minute is not None:
        return f"{quota.requests_per_minute} requests per minute"
    if quota.tokens_per_minute is not None:
        return f"{quota.tokens_per_minute} tokens per minute"
    return "none"


LIMITS = Scenario(
    name="limits",
    summary="Five tenants with keys of different quotas ask at even distances. Some ask for more "
    "than they may, one for less, one may everything. What a tenant should get is what its "
    "quota lets through of what it asked, window by window.",
    rate=5.0,
    minutes=2.5,
    shots=_shots,
    warm=_warm,
    figures=_figures,
    tables=_tables,
    tenants={tenant.name: tenant.quota for tenant in TENANTS},
    thresholds=(
        Threshold("most_of_share_ratio", 1.0),
        # Tokens are reserved for the longest answer that may come: a little of them stays unused.
        Threshold("least_of_share_ratio", 0.85, is_ceiling=False),
        Threshold("errors", 0),
    ),
)
