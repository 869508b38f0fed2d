"""How Microsoft Graph says no."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

JSON = "application/json"

_CODES = {
    400: "ErrorInvalidRequest",
    401: "InvalidAuthenticationToken",
    403: "ErrorAccessDenied",
    404: "ErrorItemNotFound",
    405: "ErrorInvalidRequest",
    409: "ErrorItemSave",
    410: "SyncStateNotFound",
    412: "ErrorIrresolvableConflict",
    429: "ApplicationThrottled",
    500: "InternalServerError",
    503: "ServiceUnavailable",
    507: "ErrorQuotaExceeded",
}


class GraphError(Exception):
    """An answer that is not a success."""

    def __init__(
        self, status: int, message: str = "", *, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES.get(status, "UnknownError")
        self.message = message or "The request cannot be served."
        self.headers = dict(headers or {})


def body_of(error: GraphError) -> dict[str, Any]:
    """The error's body."""
    inner = {
        "date": "2026-01-05T10:00:00",
        "request-id": "8f1c3f6e-0000-4c55-9a7e-0d6f2f7b9a11",
        "client-request-id": "8f1c3f6e-0000-4c55-9a7e-0d6f2f7b9a11",
    }
    return {"error": {"code": error.code, "message": error.message, "innerError": inner}}


def error_body(status: int) -> tuple[bytes, str]:
    """The body and content type for a status."""
    return json.dumps(body_of(GraphError(status))).encode(), JSON
