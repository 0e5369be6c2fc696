"""What separates the KV blocks of tenants, as text that travels with a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class PrefixSalt:
    """What separates the KV blocks of tenants, and the beginning of a prompt that all may share."""

    tenant: str
    """Hexadecimal."""
    public_tokens: int = 0
    """Tokens of the public beginning; whole blocks."""
    public_digest: str = ""

    @classmethod
    def of(cls, tenant: str, public: Sequence[int] = ()) -> "PrefixSalt":
        """The salt of a tenant for prompts that begin with the tokens `public`."""
        return cls(tenant, len(public), _digest(public) if public else "")

    @classmethod
    def read(cls, text: str) -> "PrefixSalt":
        """What `str` has written. Raises `ValueError` for what is not of it."""
        tenant, _, public = text.partition(".")
        count, _, digest = public.partition(".")
        return cls(tenant, int(count or 0), digest)

    def __str__(self) -> str:
        public = f".{self.public_tokens}.{self.public_digest}" if self.public_tokens else ""
        return self.tenant + public

    def covers(self, prompt: Sequence[int]) -> bool:
        """The prompt begins with the public tokens and nothing else: only they are shared."""
        return _digest(prompt[: self.public_tokens]) == self.public_digest


def _digest(tokens: Sequence[int]) -> str:
    text = ",".join(str(token) for token in tokens)
    return sha256(text.encode()).hexdigest()[:32]
