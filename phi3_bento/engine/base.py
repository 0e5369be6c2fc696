"""What an engine is: four methods at the level of OpenAI's API.

vLLM's serving layer already speaks that API, so nothing above an engine builds prompts, sampling
parameters or chunks.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from phi3_bento.core import Job, Operation
from phi3_bento.engine.state import Health, ModelCard


class Engine(Protocol):
    """A model that is loaded and can be asked."""

    @property
    def card(self) -> ModelCard:
        """The served model."""
        ...

    def parse(self, operation: Operation, body: Mapping[str, Any], request_id: str) -> Job:
        """Turn the JSON body of a request into a Job.

        Changes nothing, the body included. Raises `InvalidRequest` that names the parameter for a
        body that the operation does not allow, and `ModelNotFound` for a model that is not served.
        What needs the tokenizer (a prompt over the context, say) is found by `run`.
        """
        ...

    def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        """Yield the answer in JSON documents: one, or the chunks of a stream, without framing.

        Errors come as exceptions, before the first piece if the request could not start:
        `InvalidRequest`, `ContextLengthExceeded`, `EngineFailure`, `Unavailable`. Closing the
        generator, or cancelling its task, stops the engine's work on the job before it returns.
        """
        ...

    def health(self) -> Health:
        """Whether the engine answers now. Cheap: reads what the engine last reported."""
        ...

    async def close(self) -> None:
        """End the engine and its processes; running jobs raise `Unavailable`. Idempotent."""
        ...
