"""The first answers of an engine, made before any client asks."""

from contextlib import aclosing

from phi3_bento.core import Operation
from phi3_bento.engine.base import Engine


async def make_first_answers(engine: Engine) -> None:
    """Answer a few chats, so that no client pays for what the engine sets up lazily.

    They are also the steps from which admission first learns the engine's speed.
    """
    body = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4}
    constrained = body | {"response_format": {"type": "json_object"}}
    for request in (body, body | {"stream": True}, constrained):
        job = engine.parse(Operation.CHAT, request, "warm-up")
        async with aclosing(engine.run(job)) as pieces:
            async for _ in pieces:
                pass
