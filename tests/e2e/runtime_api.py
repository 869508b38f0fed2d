"""Lambda's Runtime API on loopback, so that Lambda's own client runs what `sam build` made.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes", read 2026-11-22.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tieout_sandbox.local_aws import ROOT

CLIENT = ROOT / ".tools" / "awslambdaric" / "bin" / "python"
ANSWER_SECONDS_MAX = 30
_ARN = "arn:aws:lambda:eu-west-1:000000000000:function:sample"


class Runtime(ThreadingHTTPServer):
    """Hands out events, and keeps what is answered: the last part of the path, and the JSON."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[tuple[str, Any] | None] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()

    def handle_error(self, *_: object) -> None:
        """The client is killed at the end of a test, and its line is cut."""

    def invoke(self, event: Any) -> tuple[str, Any]:
        """`response` and the answer, or `error` and what is said of it."""
        self.events.put(("7d1fcb1e-1ca4-4f4a-9c29-000000000001", event))
        return self.answers.get(timeout=ANSWER_SECONDS_MAX)


class _Handler(BaseHTTPRequestHandler):
    server: Runtime
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each answer costs 40 ms

    def do_GET(self) -> None:
        waiting = self.server.events.get()
        if waiting is None:
            self.close_connection = True
            return
        request, event = waiting
        deadline = round((time.time() + ANSWER_SECONDS_MAX) * 1000)
        headers = {"Aws-Request-Id": request, "Deadline-Ms": str(deadline), "Invoked-Function-Arn": _ARN}
        self._answer(200, json.dumps(event).encode(), {f"Lambda-Runtime-{name}": headers[name] for name in headers})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answers.put((self.path.rsplit("/", 1)[-1], json.loads(body)))
        self._answer(202, b'{"status":"OK"}', {})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def runtime(folder: Path, layers: Sequence[Path], variables: Mapping[str, str], handler: str) -> Iterator[Runtime]:
    """Lambda's client running a built function, with nothing beside it but the layers and these variables."""
    with Runtime() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        environment = {
            **variables,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "sample",
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": ":".join(str(layer) for layer in layers),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with subprocess.Popen(
            [str(CLIENT), "-m", "awslambdaric", handler],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as client:
            try:
                yield server
            finally:
                client.kill()
                server.events.put(None)
                server.shutdown()
                serving.join()
