"""The door to a system whose own program fetches requests: what is sent through it is answered over the bridge."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from tieout.bridge.calls import UnreadableError, read_as
from tieout.bridge.line import Line
from tieout.domain.packing import pack
from tieout.ports.http import Answer, Request

CALL = "request"
REFUSED_HEADER = "hresult"
"""Of an answer 502: the program's own code for why the system did not take the request; the body is its message."""


class BridgedDoor:
    """Implements `tieout.ports.http.Http`: only bodies travel, as text in UTF-8."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def send(self, request: Request) -> Answer:
        """The system's answer: 200 with its text, or 502 with why it was not taken.

        Raises:
            UnavailableError: Not done: nobody fetched it, or it was a read and no answer came.
            UncertainError: It was a write and no answer came.
        """
        text = self._line.call(CALL, pack({"body": (request.body or b"").decode()}), write=request.write)
        try:
            return read_as(text, _answer)
        except UnreadableError:
            raise self._line.unreadable(write=request.write) from None


def answered(body: str) -> str:
    """The result of a request that the system answered."""
    return pack({"body": body})


def refused(code: str, message: str) -> str:
    """The result of a request that the system did not take."""
    return pack({"body": message, "refused": code})


def body_of(job_body: str) -> str:
    """The text that is to be sent to the system.

    Raises:
        UnreadableError: If the job is none of a door's.
    """
    return read_as(job_body, _body)


def _body(given: Any) -> str:  # noqa: ANN401 - what was queued
    match given:
        case {"body": str(body)}:
            return body
    raise ValueError("the job is no request")


def _answer(given: Any) -> Answer:  # noqa: ANN401 - what was reported
    match given:
        case {"body": str(message), "refused": str(code)}:
            return Answer(HTTPStatus.BAD_GATEWAY, {REFUSED_HEADER: code}, message.encode())
        case {"body": str(body), **more} if not more:
            return Answer(HTTPStatus.OK, {}, body.encode())
    raise ValueError("the report is no answer")
