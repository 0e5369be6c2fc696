"""vLLM's exceptions and error values, made our errors."""

from vllm.entrypoints.serve import create_error_response
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.v1.engine.exceptions import EngineDeadError

from phi3_bento.engine.failures import failure_from_status
from phi3_bento.errors import Unavailable
from phi3_bento.phi3_error import Phi3Error


def failure_from(error: Exception) -> Phi3Error:
    """vLLM's own translation of its exceptions to a status, made one of our errors."""
    if isinstance(error, EngineDeadError):
        return ended()
    return failure_from_response(create_error_response(error))


def ended() -> Unavailable:
    """The engine's process is gone."""
    return Unavailable("The engine has ended; the service starts it again.", retry_after_s=10)


def failure_from_response(response: ErrorResponse) -> Phi3Error:
    """The error value of vLLM's serving layer, made one of our errors."""
    error = response.error
    return failure_from_status(error.code, error.message, error.param)
