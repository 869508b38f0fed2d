"""Where systems in offices fetch their work: POST /bridge/{connection}/{call}, and the Web Connector's SOAP."""

from __future__ import annotations

import base64
import json
import re
from http import HTTPStatus
from typing import Any

from tieout import bootstrap, edge
from tieout.bridge import soap
from tieout.bridge.serve import Asked, Refusal

BODY_BYTES_MAX = 1024 * 1024
SOAP_BODY_BYTES_MAX = 5 * 1024 * 1024
CALLS = ("enrol", "lease", "report", "upload")
_ADDRESS = re.compile(r"[a-z0-9-]{1,64}\.[a-z0-9-]{1,64}")


@edge.function("serve_bridge")
def handler(event: edge.Event, _context: edge.Context) -> dict[str, Any]:
    """The answer to an agent, or to the Web Connector."""
    parameters = event.get("pathParameters") or {}
    address, call = str(parameters.get("connection", "")), str(parameters.get("call", ""))
    if not _ADDRESS.fullmatch(address):
        return _json(HTTPStatus.NOT_FOUND, {"error": "unknown_call", "message": "There is no such address."})
    tenant, _, connection = address.partition(".")
    with edge.logger.append_context_keys(tenant=tenant, connection=connection):
        if "call" in parameters:
            return _agent(event, address, call)
        return _web_connector(event, address)


def _agent(event: edge.Event, address: str, call: str) -> dict[str, Any]:
    try:
        body = _body(event, BODY_BYTES_MAX)
    except ValueError:
        return _json(
            HTTPStatus.BAD_REQUEST, {"error": "bad_request", "message": "The body is not of the encoding that is said."}
        )
    if body is None:
        return _json(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            {"error": "too_large", "message": f"A request may have {BODY_BYTES_MAX:,} bytes at most."},
        )
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    try:
        answer = bootstrap.deployment().serve_bridge().answer(Asked(address, call, headers, body))
    except Refusal as refusal:
        edge.logger.warning("A request of an agent was refused.", call=_known(call), code=refusal.code)
        edge.count(BridgeRefused=1)
        return _json(refusal.status, refusal.body)
    edge.count(BridgeServed=1)
    return _json(HTTPStatus.OK, answer)


def _web_connector(event: edge.Event, address: str) -> dict[str, Any]:
    method = event.get("requestContext", {}).get("http", {}).get("method", "")
    if method == "GET":
        host = event.get("requestContext", {}).get("domainName", "")
        return _xml(HTTPStatus.OK, soap.wsdl(f"https://{host}/webconnector/{address}"))
    try:
        body = _body(event, SOAP_BODY_BYTES_MAX)
    except ValueError:
        return _unserved("its body is not of the encoding that is said")
    if body is None:
        return _unserved(f"it has more than {SOAP_BODY_BYTES_MAX:,} bytes")
    try:
        answer = bootstrap.deployment().serve_web_connector().answer(address, body)
    except soap.SoapError as error:
        return _unserved(str(error))
    edge.count(BridgeServed=1)
    return _xml(HTTPStatus.OK, answer)


def _unserved(reason: str) -> dict[str, Any]:
    edge.logger.warning("A request of a Web Connector was refused.", reason=reason)
    edge.count(BridgeRefused=1)
    return _xml(HTTPStatus.INTERNAL_SERVER_ERROR, soap.fault(f"This request cannot be served: {reason}."))


def _known(call: str) -> str:
    """For the log, in which nobody else writes."""
    return call if call in CALLS else "unknown"


def _body(event: edge.Event, bytes_max: int) -> bytes | None:
    """The raw body; None if it is too large.

    Raises:
        ValueError: If it is not of the encoding that is said.
    """
    text = event.get("body") or ""
    if len(text) > bytes_max * 4 // 3 + 4:
        return None
    raw = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    return raw if len(raw) <= bytes_max else None


def _json(status: HTTPStatus, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return {"statusCode": status.value, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


def _xml(status: HTTPStatus, body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": soap.CONTENT_TYPE, "Cache-Control": "no-store"}
    return {"statusCode": status.value, "headers": headers, "body": body.decode(), "isBase64Encoded": False}
