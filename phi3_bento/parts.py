"""The parts around the engine, chosen by the settings: keys, limits, ledger, and their database."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission.deadline import SpeedMeter
from phi3_bento.admission.doorkeeper import Doorkeeper
from phi3_bento.admission.gate import Gate
from phi3_bento.admission.key_store import KeyStore
from phi3_bento.admission.keyring import Keyring
from phi3_bento.admission.limits import Limiter
from phi3_bento.admission.salts import Salts
from phi3_bento.admission.throttle import AttemptThrottle
from phi3_bento.cache.answers import AnswerCache
from phi3_bento.cache.memory import MemoryCache
from phi3_bento.cache.semantic.tier import SemanticTier
from phi3_bento.cache.store import open_store
from phi3_bento.cache.tiers import Tiers
from phi3_bento.database import open_database, upgrade
from phi3_bento.engine.public_prompts import NO_PROMPTS, PublicPrompts
from phi3_bento.engine.state import ModelCard
from phi3_bento.errors import StartFailure
from phi3_bento.secret import load_secret
from phi3_bento.semantic_audit import SemanticAudit
from phi3_bento.semantic_choice import build_semantic
from phi3_bento.settings import Settings
from phi3_bento.usage.journal import Journal
from phi3_bento.usage.ledger import Ledger
from phi3_bento.usage.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Parts:
    """What one service process has beside its engine; nothing is connected before `open`."""

    settings: Settings
    secret: bytes
    database: AsyncEngine
    keys: KeyStore
    limiter: Limiter
    meter: SpeedMeter
    ledger: Ledger
    cache: AnswerCache
    doorkeeper: Doorkeeper
    audit: SemanticAudit | None
    """Of the semantic cache, where there is one."""

    async def open(self) -> None:
        """Bring the database to this version, and begin to write the ledger.

        Raises `StartFailure` without a usable database, for an address that others can reach
        while there is no key, and for a warm cache that is damaged or too large.
        """
        await upgrade(self.database)
        settings = self.settings
        is_reachable = not settings.is_loopback
        if is_reachable and not settings.api_key and not await self._has_key():
            raise StartFailure(
                f"PHI3_HOST={settings.host} can be reached from other machines, and there is no "
                "API key. Create one with 'phi3-bento keys create', set PHI3_API_KEY to at least "
                "16 characters, or listen on 127.0.0.1."
            )
        if settings.warm_cache is not None and settings.cache:
            await asyncio.to_thread(
                self.cache.warm.load,
                settings.warm_cache.expanduser(),
                cap_bytes=int(settings.cache_memory) // 2,
                ttl_s=settings.cache_ttl_s,
            )
        self.ledger.start()

    def gate(self, card: ModelCard, public: PublicPrompts = NO_PROMPTS) -> Gate:
        """The gate before an engine."""
        return Gate(
            card,
            salts=Salts(self.secret, public),
            limiter=self.limiter,
            meter=self.meter,
            max_waiting=self.settings.max_waiting,
            chunk_tokens=self.settings.prefill_chunk_tokens,
        )

    async def _has_key(self) -> bool:
        return await self.keys.any_active(datetime.now(UTC))

    async def close(self) -> None:
        """Write what is pending, then close all connections."""
        await self.cache.close()
        await self.ledger.close()
        await self.limiter.close()
        await self.database.dispose()


def build_parts(settings: Settings, metrics: Metrics) -> Parts:
    """Choose the parts that the settings name. Raises `StartFailure` for an unusable URL."""
    secret = load_secret(
        settings.secret.get_secret_value() if settings.secret else None, settings.data_dir
    )
    database = open_database(settings.database)
    keys = KeyStore(database, secret)
    limiter = Limiter.from_url(settings.limits_url)
    api_key = settings.api_key.get_secret_value() if settings.api_key else None
    doorkeeper = Doorkeeper(
        Keyring(keys, secret, api_key=api_key),
        limiter=limiter,
        throttle=AttemptThrottle(settings.failed_attempts_per_minute),
        open_metrics=settings.open_metrics,
    )
    ledger = Ledger(database, Journal(settings.data_dir / "usage-journal"))
    tier, audit = (
        build_semantic(settings, secret, metrics) if settings.semantic_cache else (None, None)
    )
    cache = _build_cache(settings, secret, metrics, tier)
    return Parts(
        settings, secret, database, keys, limiter, SpeedMeter(), ledger, cache, doorkeeper, audit
    )


def _build_cache(
    settings: Settings, secret: bytes, metrics: Metrics, semantic: SemanticTier | None
) -> AnswerCache:
    tiers = Tiers(
        MemoryCache(int(settings.cache_memory)),
        open_store(settings.cache_store, cap_bytes=int(settings.cache_disk)),
        secret,
        on_alert=lambda reason: metrics.cache_alerts.labels(reason).inc(),
    )
    return AnswerCache(
        tiers, secret, ttl_s=settings.cache_ttl_s, is_on=settings.cache, semantic=semantic
    )
