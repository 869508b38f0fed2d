"""What of a call may be logged: method, path without ids, status and the provider's id of the call. Nothing else.

Query values, headers and bodies hold names, mail addresses, amounts and tokens, so they have no way through here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

# A word of the interface: letters, at most one digit at the end (`v3`, `oauth2`). Everything else may name a record.
_WORD = re.compile(r"[A-Za-z][A-Za-z._-]{0,39}\d?")
_REQUEST_ID_HEADERS = ("intuit_tid", "x-request-id", "request-id", "x-ms-request-id")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")


def path_template(url: str) -> str:
    """The URL's path with `{id}` in place of everything that is not a word: `/v3/company/{id}/query`."""
    segments = urlsplit(url).path.split("/")
    return "/".join(segment if not segment or _WORD.fullmatch(segment) else "{id}" for segment in segments)


def request_id(headers: Mapping[str, str]) -> str:
    """The provider's id of the call, from an answer's headers (names lower case); empty if it gave none."""
    for name in _REQUEST_ID_HEADERS:
        value = headers.get(name, "")
        if _REQUEST_ID.fullmatch(value):
            return value
    return ""


def call(method: str, url: str) -> str:
    """The call in words that may be logged: `POST quickbooks.api.intuit.com/v3/company/{id}/batch`."""
    return f"{method} {urlsplit(url).hostname or ''}{path_template(url)}"
