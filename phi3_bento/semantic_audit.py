"""Looks, when the engine has nothing to do, whether semantic hits said what it would have said."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing

import numpy as np
import orjson

from phi3_bento.admission.gate import Gate
from phi3_bento.cache.semantic.audit import Vigilance
from phi3_bento.cache.semantic.base import NotEmbeddableError
from phi3_bento.cache.semantic.guards import refusal
from phi3_bento.cache.semantic.index import Embed
from phi3_bento.call import Call
from phi3_bento.caller import Caller
from phi3_bento.core import Operation
from phi3_bento.engine.base import Engine
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.shared_answers import AS_STREAM, Sample

logger = logging.getLogger("bentoml.phi3")

MAX_WAITING = 64
PAUSE_S = 1.0
SAME_SIMILARITY = 0.85
"""Answers of some length that are less alike say different things."""

SHORT_WORDS = 4
"""Shorter answers are the same only word for word: `positive` is much like `negative`."""


class SemanticAudit:
    """Takes a share of the hits as samples, and has the engine answer them anew, behind all else.

    The answers cost nobody's tokens. `on_result` hears of each: `same`, `false` or `unclear`.
    """

    def __init__(
        self,
        vigilance: Vigilance,
        embed: Embed,
        *,
        share: float,
        on_result: Callable[[str], None] = lambda _: None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._vigilance = vigilance
        self._embed = embed
        self._share = share
        self._on_result = on_result
        self._pause_s = pause_s
        self._samples: deque[Sample] = deque(maxlen=MAX_WAITING)

    def consider(self, sample: Sample) -> None:
        """Perhaps take a sample; of too many that wait, the oldest go."""
        if random.random() < self._share:  # noqa: S311  # a sample, and no secret
            self._samples.append(sample)

    async def run(self, engine: Engine, gate: Gate) -> None:
        """Work on the samples until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s)
            if self._samples and gate.backlog.is_empty:
                try:
                    await self._check(self._samples.popleft(), engine, gate)
                except Phi3Error as error:
                    logger.debug("A sample of the semantic cache was given up: %s", error)

    async def _check(self, sample: Sample, engine: Engine, gate: Gate) -> None:
        caller = Caller(tenant=sample.tenant, key_id="semantic-audit")
        call = Call(caller, "semantic-audit", is_idle=True)
        body = {**sample.body, **AS_STREAM}
        job = engine.parse(Operation.CHAT, body, call.request_id)
        async with gate.let_in(job, body, call) as ticket, aclosing(engine.run(ticket.job)) as run:
            fresh = [piece async for piece in run]
        verdict = await asyncio.to_thread(self._says_the_same, _text(sample.pieces), _text(fresh))
        self._on_result({None: "unclear", True: "same", False: "false"}[verdict])
        if verdict is not None and self._vigilance.note(is_false=not verdict):
            logger.warning(
                "Semantic hits were false too often: their threshold is %.2f now%s.",
                self._vigilance.threshold,
                "" if self._vigilance.is_on else ", which switches them off",
            )

    def _says_the_same(self, *texts: str) -> bool | None:
        """Whether two answers mean the same; None where that cannot be told."""
        words = [text.lower().strip(" .!\n").split() for text in texts]
        if words[0] == words[1]:
            return True
        if min(len(each) for each in words) < SHORT_WORDS:
            return False
        if refusal(*texts) in ("number", "negation"):
            return False
        try:
            vectors = self._embed(texts)
        except NotEmbeddableError:
            return None
        return float(np.dot(vectors[0], vectors[1])) >= SAME_SIMILARITY


def _text(pieces: Sequence[bytes]) -> str:
    """What a stream said, its choices one after the other."""
    said: dict[int, str] = {}
    for piece in pieces:
        for choice in orjson.loads(piece)["choices"]:
            content = choice["delta"].get("content") or ""
            said[choice["index"]] = said.get(choice["index"], "") + content
    return "\n".join(said[index] for index in sorted(said))
