"""The BentoML service class: resources, port, and the native API beside the OpenAI app."""

import logging
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Any

import bentoml
from _bentoml_impl.server import app as bentoml_server
from bentoml._internal.marshal.dispatcher import CorkDispatcher, NonBlockSema
from bentoml.exceptions import BentoMLException
from pydantic import Field, ValidationError
from starlette.requests import ClientDisconnect

from phi3_bento.admission.connections import ConnectionLimits, guard_connections
from phi3_bento.admission.door import Door, logged_call
from phi3_bento.admission.reply import FAILURE_KEY
from phi3_bento.app import Application
from phi3_bento.ender.streams import StreamEnder
from phi3_bento.errors import StartFailure
from phi3_bento.native import Decision, DecisionFailure, DecisionItem, Generation
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.responses import ClientGone, last_words, run_while_connected
from phi3_bento.settings import load_settings
from phi3_bento.usage.log import format_for, set_up_logging

try:
    settings = load_settings()
except StartFailure as failure:
    raise SystemExit(f"phi3-bento: {failure.message}") from failure

# Before the application, whose parts may have something to say; BentoML has set up its own already.
output = set_up_logging(
    format_for(settings.log_format),
    settings.log_level,
    secrets=settings.secrets(),
    context=logged_call,
    # `bentoml build --output tag` imports this file too, and its answer is standard output.
    target=sys.stderr if sys.argv[1:2] == ["build"] else None,
)
try:
    application = Application(settings, output=output)
except StartFailure as failure:
    raise SystemExit(f"phi3-bento: {failure.message}") from failure

guard_connections(
    ConnectionLimits(connections=settings.max_connections, idle_s=settings.idle_limit_s),
    StreamEnder(last_words(), settings.stream_ender),
)


class ContinuousDispatcher(CorkDispatcher[Any, Any]):
    """BentoML's adaptive batching, with as many batches under way as the engine runs sequences.

    BentoML has one under way, as suits a model that computes a batch at once. vLLM takes up what
    comes at its next step: a decision need not wait for those that came before it (ADR 23).
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        under_way = NonBlockSema(settings.max_sequences)
        super().__init__(*arguments, **options, shared_sema=under_way)


bentoml_server.CorkDispatcher = ContinuousDispatcher

Prompt = Annotated[str, Field(min_length=1, description="What the user says.")]
MaxTokens = Annotated[int, Field(ge=1, description="The most tokens to generate.")]
Temperature = Annotated[
    float, Field(ge=0, le=2, description="0: always the likeliest token; higher: more varied.")
]
System = Annotated[str | None, Field(description="What the model is told before the prompt.")]


class Reported(BentoMLException):
    """A `Phi3Error` on its way through BentoML."""


@contextmanager
def reported(ctx: bentoml.Context) -> Iterator[None]:
    """Leave a `Phi3Error` where the door finds it: BentoML's own error body would hide it."""
    try:
        yield
    except Phi3Error as error:
        ctx.request.scope[FAILURE_KEY] = error
        raise Reported(error.message, error_code=error.status) from error
    except ClientGone as gone:
        raise Reported("The client hung up.") from gone


_ANSWERS = (Reported, Phi3Error, ValidationError, ClientDisconnect)


def is_worth_a_traceback(record: logging.LogRecord) -> bool:
    """False for what a client got as an answer: BentoML logs every one as an exception."""
    return not (record.exc_info and isinstance(record.exc_info[1], _ANSWERS))


logging.getLogger("bentoml._internal.server.http_app").addFilter(is_worth_a_traceback)


@bentoml.service(
    name="phi3-bento",
    resources={"cpu": "2", "memory": "8Gi"},
    http={"host": settings.host, "port": settings.port},
    # BentoML's limit on concurrent requests would answer /v1 with a body that OpenAI clients cannot
    # read, and its time limit leaves a timer behind for every request: ours stand in the pipeline.
    traffic={"timeout": 3600},
    workers=1,
    # Ours has a line for each request, of the API and of the native operations alike.
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(application.api, name="openai")
class Phi3Service:
    """Phi-3-Mini behind OpenAI's API, and behind typed native operations."""

    @bentoml.api
    async def generate(
        self,
        ctx: bentoml.Context,
        prompt: Prompt,
        max_tokens: MaxTokens = 256,
        temperature: Temperature = 0.0,
        system: System = None,
    ) -> Generation:
        """Answer a prompt."""
        with reported(ctx):
            return await run_while_connected(
                ctx.request.receive,
                application.native.generate(
                    prompt, max_tokens=max_tokens, temperature=temperature, system=system
                ),
            )

    @bentoml.api
    async def generate_stream(
        self,
        ctx: bentoml.Context,
        prompt: Prompt,
        max_tokens: MaxTokens = 256,
        temperature: Temperature = 0.0,
        system: System = None,
    ) -> AsyncGenerator[str, None]:
        """Answer a prompt piece by piece."""
        answer = application.native.generate_stream(
            prompt, max_tokens=max_tokens, temperature=temperature, system=system
        )
        with reported(ctx):
            async with aclosing(answer) as pieces:
                async for piece in pieces:
                    yield piece

    # What would wait longer than the first number allows is refused by BentoML's dispatcher, and
    # after a slow start it foresees too much: the limit is the one of all other answers.
    @bentoml.api(
        batchable=True, max_batch_size=64, max_latency_ms=int(settings.first_piece_limit_s * 1000)
    )
    async def classify(self, items: list[DecisionItem]) -> list[Decision | DecisionFailure]:
        """Pick a label for each text, with the probability of every label."""
        return await application.native.classify(items)

    async def __is_ready__(self) -> bool:
        return application.health().is_ready

    async def __is_alive__(self) -> bool:
        return application.health().is_alive


# A parameter that nobody reads is refused. vllm-router takes /generate for SGLang's, drops what it
# does not know, max_tokens for one, and adds its own: without this the answer would be another one.
for operation in Phi3Service.apis.values():  # type: ignore[attr-defined]  # as below
    operation.input_spec.model_config["extra"] = "forbid"
    operation.input_spec.model_rebuild(force=True)

Phi3Service.add_asgi_middleware(  # type: ignore[attr-defined]  # the decorator made it a Service
    Door,
    native_paths=("/generate", "/generate_stream", "/classify"),
    **application.door_options(),
)
