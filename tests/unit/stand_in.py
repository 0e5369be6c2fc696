"""What stands in for BentoML: it answers probes as it is told, or fails."""

import json
from typing import Any

import pytest

READY = "/v1/health/ready"
LIVE = "/v1/health/live"
STAND_IN = '''
"""Stands for `python -m bentoml` where BentoML itself cannot be made to behave like this."""
import http.server, json, os, signal, subprocess, sys

if "LAST_WORDS" in os.environ:
    print("first words", os.environ["LAST_WORDS"], sep="\\n", end="")
    sys.exit(3)
if "STUBBORN" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "600"], start_new_session=True)  # as BentoML's workers

answers = json.loads(os.environ["ANSWERS"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        queue = answers.get(self.path) or [[404, ""]]
        status, body = queue.pop(0) if len(queue) > 1 else queue[0]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
'''


def answer(monkeypatch: pytest.MonkeyPatch, **paths: Any) -> None:
    names = {"ready": READY, "live": LIVE, "version": "/version"}
    monkeypatch.setenv("ANSWERS", json.dumps({names[name]: paths[name] for name in paths}))
