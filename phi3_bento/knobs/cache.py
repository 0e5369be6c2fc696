"""Knobs of what requests share: public prompts, kept answers, and questions that mean the same."""

from pathlib import Path

from pydantic import BaseModel, ByteSize, Field


class CacheKnobs(BaseModel):
    """What is kept, where, and for how long."""

    public_prompts: Path | None = Field(
        None,
        description="A JSON file with a list of system prompts that all tenants share: the engine "
        "reads them once, before the service is ready.",
    )
    cache: bool = Field(
        True,
        description="Whether answers that would come out the same again are kept and shared, each "
        "tenant's for itself.",
    )
    cache_url: str | None = Field(
        None,
        pattern=r"^(memory://|sqlite:///.+|rediss?://.+)$",
        description="Where answers are kept beyond this process's memory: `sqlite:///PATH`, "
        "`redis://HOST:PORT/NUMBER`, or `memory://` for nowhere; unset: SQLite in the data "
        "directory.",
    )
    cache_memory: ByteSize = Field(
        ByteSize(32 * 2**20),
        ge=2**20,
        description="Memory for kept answers in this process.",
    )
    cache_disk: ByteSize = Field(
        ByteSize(2**30), ge=2**20, description="Disk space for kept answers in SQLite."
    )
    cache_ttl_s: float = Field(86_400.0, gt=0, description="Seconds for which an answer is kept.")
    warm_cache: Path | None = Field(
        None,
        description="A pack of `phi3-bento cache export` whose answers every tenant is given; read "
        "before the service is ready, into at most half of `PHI3_CACHE_MEMORY`.",
    )
    semantic_cache: bool = Field(
        False,
        description="Whether a question may get the answer to an earlier one that means the same, "
        "for keys and requests that ask for it; needs `make install-semantic`.",
    )
    vectors_url: str | None = Field(
        None,
        pattern=r"^(sqlite:///.+|postgres(ql)?(\+asyncpg)?://.+)$",
        description="The vector database of the semantic cache: `sqlite:///PATH`, or "
        "`postgresql://…` with pgvector; unset: SQLite in the data directory.",
    )
    semantic_threshold: float = Field(
        0.8,
        gt=0,
        le=1,
        description="How similar (cosine) a question must be to one whose answer it gets.",
    )
    semantic_false_hits: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="The share of false semantic hits that is tolerated: when more is proved, the "
        "threshold rises, and at last the tier switches itself off.",
    )
    semantic_audit_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The share of semantic hits that the idle engine answers anew, to count false "
        "ones.",
    )
