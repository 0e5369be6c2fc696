"""The semantic cache, as the settings want it."""

from importlib import import_module

from phi3_bento.cache.semantic.audit import Vigilance
from phi3_bento.cache.semantic.index import SemanticIndex
from phi3_bento.cache.semantic.tier import SemanticTier
from phi3_bento.semantic_audit import SemanticAudit
from phi3_bento.settings import Settings
from phi3_bento.usage.metrics import Metrics

MAX_QUESTIONS = 50_000
"""About 120 MB in SQLite."""


def build_semantic(
    settings: Settings, secret: bytes, metrics: Metrics
) -> tuple[SemanticTier, SemanticAudit]:
    """The tier, with its model loaded, and its audit. Raises `StartFailure`."""
    # They import torch, which takes seconds, and packages that only this tier needs.
    embedding = import_module("phi3_bento.cache.semantic.embedding")
    # Two would take 5 ms instead of 7, and both cores from the engine.
    import_module("torch").set_num_threads(1)
    vectors = import_module("phi3_bento.cache.semantic.vectors")
    embed = embedding.load_mini_lm().embed
    vigilance = Vigilance(settings.semantic_threshold, settings.semantic_false_hits)
    index = SemanticIndex(
        embed,
        vectors.open_vectors(settings.vectors, cap_rows=MAX_QUESTIONS),
        secret,
        on_alert=lambda reason: metrics.cache_alerts.labels(reason).inc(),
    )

    def publish(result: str | None = None) -> None:
        if result is not None:
            metrics.semantic_audits.labels(result).inc()
        metrics.semantic_threshold.set(vigilance.threshold)
        metrics.semantic_false_ratio.labels("lower").set(vigilance.bounds.lower)
        metrics.semantic_false_ratio.labels("upper").set(vigilance.bounds.upper)

    publish()
    metrics.semantic_false_limit.set(settings.semantic_false_hits)
    share = settings.semantic_audit_share
    audit = SemanticAudit(vigilance, embed, share=share, on_result=publish)
    return SemanticTier(index, vigilance), audit
