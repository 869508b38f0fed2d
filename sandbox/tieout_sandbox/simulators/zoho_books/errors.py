"""How Zoho Books says no: a code and a message, with an HTTP status.

Source: www.zoho.com/books/api/v3/errors and .../introduction, read 2026-11-22. Codes that no page names are our own
choice: 1001 for a number or SKU that exists, 1038 for a locked period, 1050 for a state that does not allow it, 15 for
a custom field that is not there. 6041, for an organisation that is not the user's, was reported by users.
"""

from __future__ import annotations

import json

JSON = "application/json;charset=UTF-8"
_BY_STATUS = {
    400: (4, "Invalid value passed."),
    401: (57, "You are not authorized to perform this operation"),
    404: (1002, "Resource does not exist."),
    405: (37, "The HTTP method is not allowed for the requested resource."),
    429: (44, "You have exceeded the maximum number of requests per minute."),
}


class ZohoError(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def error_body(status: int) -> tuple[bytes, str]:
    """The body and content type for a status; a gateway's page where Zoho itself is not reached."""
    if status in {502, 503, 504}:
        return b"<html><body><h1>Service Unavailable</h1></body></html>", "text/html"
    code, message = _BY_STATUS.get(status, (1000, "Internal Error"))
    return json.dumps({"code": code, "message": message}).encode(), JSON


def missing(what: str) -> ZohoError:
    """A record that is not there."""
    return ZohoError(1002, f"{what} does not exist.", 404)


def invalid(field: str) -> ZohoError:
    """A value that is missing or wrong."""
    return ZohoError(4, f"Invalid value passed for {field}.")


def exists(what: str) -> ZohoError:
    """A number that is taken."""
    return ZohoError(1001, f"{what} already exists.")


def not_now(message: str) -> ZohoError:
    """What the record's state does not allow."""
    return ZohoError(1050, message)
