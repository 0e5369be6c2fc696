"""A hub that serves one model from a directory, as far as a download asks; for the real client."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def local_hub(
    directory: Path, name: str, *, claimed_bytes: int | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield the hub's address and the list of files that were downloaded from it so far.

    `claimed_bytes` is the size that it gives for each file of weights.
    """
    downloaded: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # named by the base class
            if self.path.startswith("/api/"):
                self._answer_api()
            else:
                content = self._file().read_bytes()
                downloaded.append(self._file().name)
                self._head(len(content))
                self.wfile.write(content)

        def do_HEAD(self) -> None:  # named by the base class
            size = self._file().stat().st_size
            is_claimed = claimed_bytes is not None and self.path.endswith(".safetensors")
            self._head(claimed_bytes if is_claimed and claimed_bytes else size)

        def log_message(self, *_: object) -> None:
            """A test's output is no place for an access log."""

        def _answer_api(self) -> None:
            files = sorted(path.name for path in directory.iterdir())
            siblings = [{"rfilename": file} for file in files]
            tree = [
                {"type": "file", "path": file, "size": 1, "oid": file.encode().hex()}
                for file in files
            ]
            info = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}
            body = json.dumps(tree if "/tree/" in self.path else info).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self) -> Path:
            return directory / self.path.rpartition("/")[2]

        def _head(self, size: int) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{self._file().name.encode().hex()}"')
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", downloaded
        server.shutdown()
