"""Which KV blocks a request may share: its tenant's, and those of public system prompts."""

from collections.abc import Mapping
from typing import Any

from phi3_bento.engine.public_prompts import NO_PROMPTS, PublicPrompts
from phi3_bento.prefix_salt import PrefixSalt
from phi3_bento.secret import derive


class Salts:
    """Derives each tenant's salt from the deployment's secret."""

    def __init__(self, secret: bytes, public: PublicPrompts = NO_PROMPTS) -> None:
        self._secret = secret
        self._public = public

    def salt_of(self, tenant: str, body: Mapping[str, Any]) -> PrefixSalt:
        """The salt of a request of `tenant`."""
        public = self._public.beginning_of(body)
        return PrefixSalt.of(derive(self._secret, "cache-salt", tenant).hex(), public)
