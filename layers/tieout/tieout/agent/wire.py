"""The bridge's wire, version 1, from the agent's side: signed calls, and what the answers say."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from tieout.domain.errors import ProviderError, SettingsError, TieoutError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.http import Answer, Http, Request
from tieout.transport.settings import is_loopback

VERSION = "1"
TIMEOUT_SECONDS = 30
PARCEL_TIMEOUT_SECONDS = 60
BODY_BYTES_MAX = 256_000
"""A report's body that is larger is uploaded first."""

UPLOAD_BYTES_MAX = 20_000_000
_PATH = re.compile(r"(/[^/?#\s]+)*/bridge/[a-z0-9-]+\.[a-z0-9-]+")
_SETTLED = frozenset({(404, "unknown_job"), (409, "not_yours"), (409, "closed")})
_UNREADABLE = frozenset({(400, "bad_request"), (413, "too_large")})


class RefusedError(TieoutError):
    """The bridge answered, and says no.

    Attributes:
        code: The wire's name for why.
        facts: The whole answer.
    """

    def __init__(self, status: int, facts: Mapping[str, Any]) -> None:
        super().__init__(str(facts.get("message", "")), next_step=str(facts.get("next_step", "")))
        self.status = status
        self.code = str(facts["error"])
        self.facts = facts

    @property
    def settles_report(self) -> bool:
        """True if the report that was told need not be told again."""
        return (self.status, self.code) in _SETTLED

    @property
    def is_of_content(self) -> bool:
        """True if the same call will never be accepted, while others may be."""
        return (self.status, self.code) in _UNREADABLE


class StrangeAnswerError(UnavailableError):
    """Something answered that is not the bridge, such as the office's proxy, or nothing of it could be read."""


def address_of(text: str) -> str:
    """The address of a connection's bridge, as it was typed.

    Raises:
        SettingsError: If it is none.
    """
    text = text.strip().rstrip("/")
    parts = urlsplit(text)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    has_more = parts.query or parts.fragment or parts.username
    if parts.hostname and is_safe and _PATH.fullmatch(parts.path) and not has_more:
        return text
    raise SettingsError(
        "This is not the address of a bridge.",
        next_step="Copy the whole address that `tieout connect` printed: it begins with https:// and ends with "
        "/bridge/, the tenant, a dot and the connection, such as https://example.com/bridge/acme.tally.",
    )


def enrol(http: Http, address: str, *, code: str, key: str, agent: Mapping[str, str]) -> Mapping[str, Any]:
    """What the bridge tells of the connection. The same code and key may be sent again.

    Raises:
        RefusedError: If the code is not good.
        UnavailableError: If no answer came.
    """
    body = json.dumps({"code": code, "key": key, "agent": agent}).encode()
    return _sent(http, f"{address}/enrol", {}, body)


class Bridge:
    """Signed calls of one enrolment. They are sent one at a time.

    Args:
        address: Such as https://example.com/bridge/acme.tally.
        key: 64 hexadecimal digits.
        next_sequence: Gives a number that is larger than every one before, and on the disk.
    """

    def __init__(self, http: Http, address: str, *, key: str, next_sequence: Callable[[], int], clock: Clock) -> None:
        self._http, self._address, self._clock = http, address, clock
        self._key, self._next_sequence = bytes.fromhex(key), next_sequence
        self._name = address.rpartition("/")[2]
        self.sequence = 0

    def call(self, call: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """The bridge's answer.

        Raises:
            RefusedError: If it says no.
            UnavailableError: If it did not answer; whether the call reached it is unknown.
            SpoolError: Not sent: the number could not be stored.
        """
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        self.sequence = self._next_sequence()
        time = str(int(self._clock.now().timestamp()))
        told = (VERSION, f"{self._name}/{call}", time, str(self.sequence), hashlib.sha256(body).hexdigest())
        headers = {
            "tieout-version": VERSION,
            "tieout-time": time,
            "tieout-sequence": str(self.sequence),
            "tieout-signature": hmac.new(self._key, "\n".join(told).encode(), hashlib.sha256).hexdigest(),
        }
        return _sent(self._http, f"{self._address}/{call}", headers, body)

    def fetch(self, address: str) -> str:
        """A job's body that is too large for an answer.

        Raises:
            UnavailableError: If it is not there.
        """
        request = Request("GET", address, write=False, timeout_seconds=PARCEL_TIMEOUT_SECONDS)
        try:
            return _parcel(self._http, request).body.decode()
        except UnicodeDecodeError:
            raise StrangeAnswerError("A job's content could not be read.") from None

    def upload(self, body: bytes, content: Mapping[str, Any]) -> str:
        """The name under which a large body was put.

        Args:
            body: Of the report.
            content: What else the bridge has to know: the job's id, and who asks.

        Raises:
            RefusedError: If the bridge says no.
            UnavailableError: If it could not be put.
            SpoolError: Not sent.
        """
        given = self.call("upload", {**content, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
        try:
            address, headers, key = str(given["url"]), dict(given["headers"]), str(given["key"])
        except (KeyError, TypeError, ValueError):
            raise StrangeAnswerError("The bridge did not say where a large report goes.") from None
        _parcel(
            self._http,
            Request("PUT", address, write=True, headers=headers, body=body, timeout_seconds=PARCEL_TIMEOUT_SECONDS),
        )
        return key


def _parcel(http: Http, request: Request) -> Answer:
    answer = _exchanged(http, request)
    if answer.status not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT}:
        raise StrangeAnswerError(
            "The store for large contents did not take or give one.", detail=f"{request.method} {answer.status}"
        )
    return answer


def _sent(http: Http, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    # Marked as a write, so that the door sends it once: a repetition would need a number of its own.
    headers = {"Content-Type": "application/json", **headers}
    answer = _exchanged(
        http, Request("POST", url, write=True, headers=headers, body=body, timeout_seconds=TIMEOUT_SECONDS)
    )
    try:
        given = json.loads(answer.body)  # nothing in it is money: what is packed is text
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise _strange(answer)
    if answer.status == HTTPStatus.OK:
        return given
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or "error" not in given:
        raise _strange(answer)
    raise RefusedError(answer.status, given)


def _exchanged(http: Http, request: Request) -> Answer:
    try:
        return http.send(request)
    except UnavailableError:
        raise
    except ProviderError as error:  # no whole answer: whether it arrived is unknown, and every call may be repeated
        raise UnavailableError(error.message, detail=error.detail) from None


def _strange(answer: Answer) -> UnavailableError:
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError("The bridge is not well just now.", detail=f"status {answer.status}")
    return StrangeAnswerError(
        "What answered at the bridge's address is not the bridge.",
        next_step="See whether this computer gets out to the internet without a sign-in page, and whether it needs a "
        "proxy (`tieout agent install --proxy …`).",
        detail=f"status {answer.status}",
    )
