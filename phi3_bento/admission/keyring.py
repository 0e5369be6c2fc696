"""Name the caller of a request: by the bootstrap key, a stored key, or as this machine's user."""

import hmac
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from phi3_bento.admission.key_store import KeyStatus, KeyStore, StoredKey, utc_now
from phi3_bento.admission.keys import (
    CLOSED_TO_OTHERS,
    MISSING_OR_WRONG,
    bearer_token,
    digest_of,
    is_equal,
    is_loopback,
    key_id_of,
)
from phi3_bento.admission.recall import Line, Recall
from phi3_bento.caller import LOCAL_CALLER, Caller
from phi3_bento.errors import InvalidApiKey, PermissionDenied

BOOTSTRAP_CALLER = Caller(tenant="default", key_id="bootstrap")

_NOBODY = "0" * 64
"""A digest that no key has: an unknown key takes the same steps as a wrong one."""

_ENDED = {
    KeyStatus.EXPIRED: "This API key has expired.",
    KeyStatus.REVOKED: "This API key was revoked.",
}


class Keyring:
    """The keys that open the door: `api_key`, those of `store`, or none for this machine's user.

    `secret` is the deployment's. A change of a key acts within `ttl_s`. While the database does not
    answer, keys that it confirmed less than `stale_s` ago are honoured. `clock` is monotonic, in
    seconds; `now` is the time of day.
    """

    def __init__(  # noqa: PLR0913 # the last four have defaults that serve all but tests
        self,
        store: KeyStore,
        secret: bytes,
        *,
        api_key: str | None = None,
        ttl_s: float = 3.0,
        stale_s: float = 300.0,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._secret = secret
        self._api_key = api_key
        self._now = now
        line = Line(ttl_s, clock)

        async def find(key_id: str) -> StoredKey | None:
            return await line.ask(lambda: store.find(key_id))

        async def any_key(_: str) -> bool | None:
            return await line.ask(store.any_stored) or None

        self._keys = Recall(find, ttl_s=ttl_s, stale_s=stale_s, clock=clock)
        self._any_key = Recall(any_key, ttl_s=ttl_s, stale_s=stale_s, clock=clock)

    async def authenticate(self, authorization: str | None, local_address: str | None) -> Caller:
        """The caller who sent the `Authorization` header on a connection to `local_address`.

        Raises `InvalidApiKey`; `PermissionDenied` where there is no key at all and the connection
        came from elsewhere; `Unavailable` where the database should tell and does not answer.
        """
        token = bearer_token(authorization)
        if token is not None:
            if self._api_key is not None and is_equal(token, self._api_key):
                return BOOTSTRAP_CALLER
            key = await self._recognise(token)
            if key is not None:
                return self._admit(key)
        if self._api_key is not None or await self._any_key.get("active"):
            raise InvalidApiKey(MISSING_OR_WRONG)
        if not is_loopback(local_address):
            raise PermissionDenied(CLOSED_TO_OTHERS)
        return LOCAL_CALLER

    async def _recognise(self, token: str) -> StoredKey | None:
        """The stored key that `token` is; None for a wrong or an unknown one, in the same time."""
        key_id = key_id_of(token)
        if key_id is None:
            return None
        key = await self._keys.get(key_id)
        expected = _NOBODY if key is None else key.digest
        return key if hmac.compare_digest(digest_of(token, self._secret), expected) else None

    def _admit(self, key: StoredKey) -> Caller:
        status = key.status(self._now())
        if status is not KeyStatus.ACTIVE:
            raise InvalidApiKey(_ENDED[status])
        return key.caller()
