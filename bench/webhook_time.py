"""The webhook handler's warm time, as a ratio to one bare `send_message`."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.figure import Figure
from functions.receive_webhook import app
from tests.aws import StillClock, deploy, mocked
from tieout import bootstrap
from tieout.bootstrap import Deployment
from tieout.domain.connections import Connection

ROUNDS = 300
REALM, VERIFIER = "9130350000000001", "verifier"
BODY = json.dumps(
    [
        {
            "specversion": "1.0",
            "id": "6f0c2b1e-0001",
            "source": "intuit.bench",
            "type": "qbo.invoice.updated.v1",
            "datacontenttype": "application/json",
            "time": "2026-11-22T09:00:00.000Z",
            "intuitentityid": "412",
            "intuitaccountid": REALM,
            "data": {},
        }
    ]
)


class _Context:
    aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        return 3000


def measure() -> list[Figure]:
    """Receive 300 webhooks in one warm process, and send 300 messages."""
    with pytest.MonkeyPatch.context() as monkeypatch, mocked(monkeypatch) as clients:
        deployment = Deployment(deploy(clients), clients=clients, clock=StillClock())
        deployment.config.put_connection(Connection("demo", "books", "quickbooks_online", account=REALM))
        deployment.secrets.write("demo", "books", {"webhook_verifier": VERIFIER})
        monkeypatch.setattr(bootstrap, "deployment", lambda: deployment)
        monkeypatch.setattr(app.edge.logger, "info", lambda *_, **__: None)
        signature = base64.b64encode(hmac.new(VERIFIER.encode(), BODY.encode(), hashlib.sha256).digest()).decode()
        event: dict[str, Any] = {
            "pathParameters": {"connection": "demo.books"},
            "headers": {"intuit-signature": signature},
            "body": BODY,
            "isBase64Encoded": False,
        }
        url = deployment.settings.changes_queue_url

        def handle() -> None:
            if app.handler(event, _Context())["statusCode"] != 200:
                raise AssertionError("the webhook was not accepted")

        with contextlib.redirect_stdout(io.StringIO()):  # where its metrics go
            handled = _median(handle)
        sent = _median(lambda: clients.sqs.send_message(QueueUrl=url, MessageBody=BODY))
    return [Figure("webhook handler, warm", handled / sent, "x one send_message")]


def _median(act: Callable[[], object]) -> float:
    act()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
