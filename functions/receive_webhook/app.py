"""POST /webhooks/{connection}: proves who sent it, queues the hints, answers; says nothing else to anybody."""

from __future__ import annotations

import base64
import re
from http import HTTPStatus

from tieout import bootstrap, edge
from tieout.domain.errors import UnavailableError
from tieout.engine.receive import Received
from tieout.ports.connector import Webhook

BODY_BYTES_MAX = 256 * 1024
_ADDRESS = re.compile(r"[a-z0-9-]{1,64}\.[a-z0-9-]{1,64}")
_STATUS = {
    Received.ACCEPTED: HTTPStatus.OK,  # the only answer that QuickBooks takes for received
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
def handler(event: edge.Event, _context: edge.Context) -> dict[str, int]:
    """The answer to the provider: a status and no body."""
    status = _receive(event)
    edge.count(**{_COUNTED[status]: 1})
    return {"statusCode": status.value}


def _receive(event: edge.Event) -> HTTPStatus:
    if _size(event) > BODY_BYTES_MAX:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    address = event.get("pathParameters", {}).get("connection", "")
    if not _ADDRESS.fullmatch(address):
        return HTTPStatus.NOT_FOUND
    try:
        webhook = _webhook(event)
    except ValueError:
        return HTTPStatus.BAD_REQUEST
    tenant, _, connection = address.partition(".")
    with edge.logger.append_context_keys(tenant=tenant, connection=connection):
        return _answer(address, webhook)


def _answer(address: str, webhook: Webhook) -> HTTPStatus:
    try:
        receipt = bootstrap.deployment().receive_webhook().receive(address, webhook)
    except UnavailableError as error:
        # The provider sends it again.
        edge.log_failure("The queue did not store a webhook's changes.", error)
        return HTTPStatus.SERVICE_UNAVAILABLE
    edge.logger.info("A webhook came in.", outcome=receipt.received, changes=receipt.changes)
    edge.count(ChangesReceived=receipt.changes)
    return _STATUS[receipt.received]


def _size(event: edge.Event) -> int:
    """Bytes of the body, without decoding it."""
    body = event.get("body") or ""
    return len(body) * 3 // 4 - body[-2:].count("=") if event.get("isBase64Encoded") else len(body.encode())


def _webhook(event: edge.Event) -> Webhook:
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    body = event.get("body") or ""
    return Webhook(headers, base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode())
