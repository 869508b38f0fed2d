"""POST /webhooks/{connection}: proves who sent it, queues the hints, answers; says nothing else to anybody.

Only a provider that first asks whether the address is ours gets its own text back, as plain text.
"""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from typing import Any

from tieout import bootstrap, edge
from tieout.domain.errors import UnavailableError
from tieout.engine.receive import Received
from tieout.ports.connector import Webhook

BODY_BYTES_MAX = 256 * 1024
HANDSHAKE_CHARACTERS_MAX = 1024
# It is the sender's own text: no browser may take it for anything else.
_PLAIN = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
_ADDRESS = re.compile(r"[a-z0-9-]{1,64}\.[a-z0-9-]{1,64}")
_STATUS = {
    Received.ACCEPTED: HTTPStatus.OK,  # the only answer that QuickBooks takes for received
    Received.HANDSHAKE: HTTPStatus.OK,
    Received.UNKNOWN_CONNECTION: HTTPStatus.NOT_FOUND,
    Received.BAD_SIGNATURE: HTTPStatus.UNAUTHORIZED,
    Received.BAD_BODY: HTTPStatus.BAD_REQUEST,
}
_COUNTED = {
    HTTPStatus.OK: "WebhooksAccepted",
    HTTPStatus.BAD_REQUEST: "WebhooksBadBody",
    HTTPStatus.UNAUTHORIZED: "WebhooksBadSignature",
    HTTPStatus.NOT_FOUND: "WebhooksUnknownConnection",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "WebhooksTooLarge",
    HTTPStatus.SERVICE_UNAVAILABLE: "WebhooksNotStored",
}


@edge.function("receive_webhook")
def handler(event: edge.Event, _context: edge.Context) -> dict[str, Any]:
    """The answer to the provider: a status, and a body only to a handshake."""
    status, text = _receive(event)
    edge.count(**{_COUNTED[status]: 1})
    if not text:
        return {"statusCode": status.value}
    return {"statusCode": status.value, "headers": _PLAIN, "body": text, "isBase64Encoded": False}


def _receive(event: edge.Event) -> tuple[HTTPStatus, str]:
    if _size(event) > BODY_BYTES_MAX:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ""
    address = event.get("pathParameters", {}).get("connection", "")
    if not _ADDRESS.fullmatch(address):
        return HTTPStatus.NOT_FOUND, ""
    try:
        webhook = _webhook(event)
    except ValueError:
        return HTTPStatus.BAD_REQUEST, ""
    tenant, _, connection = address.partition(".")
    with edge.logger.append_context_keys(tenant=tenant, connection=connection):
        return _answer(address, webhook)


def _answer(address: str, webhook: Webhook) -> tuple[HTTPStatus, str]:
    try:
        receipt = bootstrap.deployment().receive_webhook().receive(address, webhook)
    except UnavailableError as error:
        # The provider sends it again.
        edge.log_failure("The queue did not store a webhook's changes.", error)
        return HTTPStatus.SERVICE_UNAVAILABLE, ""
    edge.logger.info("A webhook came in.", outcome=receipt.received, changes=receipt.changes)
    edge.count(ChangesReceived=receipt.changes)
    return _STATUS[receipt.received], receipt.answer[:HANDSHAKE_CHARACTERS_MAX]


def _size(event: edge.Event) -> int:
    """Bytes of the body, without decoding it."""
    body = event.get("body") or ""
    return len(body) * 3 // 4 - body[-2:].count("=") if event.get("isBase64Encoded") else len(body.encode())


def _webhook(event: edge.Event) -> Webhook:
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    body = event.get("body") or ""
    raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    return Webhook(headers, raw, dict(event.get("queryStringParameters") or {}))
