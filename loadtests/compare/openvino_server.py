"""OpenVINO GenAI behind as much of OpenAI's API as a comparison asks for: one stream at a time.

    PYTHON -m loadtests.compare.openvino_server DIRECTORY PORT

`PYTHON` is one that has `openvino-genai`; `DIRECTORY` what `optimum-cli export openvino` wrote.
Two threads. Each token is sent as a piece of its own as soon as it is there, as its number.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import openvino_genai

_THREADS = 2


class _Pieces(openvino_genai.StreamerBase):  # type: ignore[misc]  # has no types
    """Sends tokens as they come: a streamer of text would hold some of them back."""

    def __init__(self, handler: "_Handler") -> None:
        super().__init__()
        self._handler = handler

    def write(self, tokens: Any) -> Any:
        for token in tokens if isinstance(tokens, list) else [tokens]:
            self._handler.send_event({"choices": [{"delta": {"content": f"{token} "}}]})
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Nothing is held back."""


class _Handler(BaseHTTPRequestHandler):
    pipeline: Any

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()
        config = openvino_genai.GenerationConfig(
            max_new_tokens=body["max_tokens"],
            ignore_eos=True,
            do_sample=True,
            temperature=body["temperature"],
        )
        chat = openvino_genai.ChatHistory(body["messages"])
        self.pipeline.generate(chat, config, _Pieces(self))
        self.wfile.write(b"data: [DONE]\n\n")

    def send_event(self, event: dict[str, Any]) -> None:
        """Send it at once."""
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """No line for each request."""


def main() -> None:
    """Serve until the process is ended."""
    directory, port = sys.argv[1:]
    _Handler.pipeline = openvino_genai.LLMPipeline(directory, "CPU", INFERENCE_NUM_THREADS=_THREADS)
    HTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main()
