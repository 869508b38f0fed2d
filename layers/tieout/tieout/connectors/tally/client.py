"""Tally's one door: a request at a time, with a pause, within the time of a call; what no answer means."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from tieout.connectors.tally import errors
from tieout.connectors.tally.errors import said_no
from tieout.connectors.tally.manifest import CALL_SECONDS, IN_FLIGHT, Settings
from tieout.connectors.tally.wire import Imported, decoded, encoded, imported, parsed, text_of
from tieout.domain.errors import ProviderError, RejectedError, ThrottledError, UnavailableError, UncertainError
from tieout.ports.clock import Clock
from tieout.ports.http import Answer, Http, Request
from tieout.transport.http import is_unanswered, is_unreached
from tieout.transport.xml import UnreadableXmlError

# With less left, a write is not begun: its answer, or the reading after it, would come too late.
_WRITE_SECONDS_MIN = 6
_READ_SECONDS_MIN = 1
_SUCCESS, _TOO_MANY = 200, 429
_UNKNOWN_REQUEST = "unknown request"


class Client:
    """One Tally program."""

    def __init__(self, settings: Settings, http: Http, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._one_at_a_time = threading.RLock()
        self._until: datetime | None = None
        self._sent = False

    @property
    def _pause_seconds(self) -> float:
        return self._settings.pause_milliseconds / 1000

    @contextmanager
    def call(self) -> Iterator[None]:
        """All requests within end in time for a bridged call. Calls of several threads come one after the other."""
        with self._one_at_a_time:
            self._until = self._clock.now() + timedelta(seconds=CALL_SECONDS)
            yield

    def export(self, request: Element) -> Element:
        """The answer to an export.

        Raises:
            UnavailableError: If there is none, or one that cannot be read.
            RejectedError: If Tally refuses it with a sentence.
        """
        root = self._read(self._send(request, write=False))
        if root is None:
            raise UnavailableError("Tally gave an answer that cannot be understood.", detail="no XML of an export")
        if root.tag == "RESPONSE" and len(root) == 0:
            raise UnavailableError("Tally did not understand a request.", detail=text_of(root)[:100])
        if (said := text_of(next(root.iter("LINEERROR"), None))) != "":
            raise said_no(said)
        return root

    def post(self, request: Element) -> Imported:
        """What Tally says of an import.

        Raises:
            UncertainError: If it says nothing that can be understood: maybe done.
            RejectedError: If it did not understand the request: not done.
        """
        root = self._read(self._send(request, write=True))
        if root is not None and _UNKNOWN_REQUEST in text_of(root).casefold():
            raise RejectedError("Tally did not understand the record.", detail=text_of(root)[:100])
        counts = imported(root) if root is not None else None
        if counts is None:
            raise UncertainError("Tally did not say whether it was written.", detail="no counters")
        return counts

    def _send(self, request: Element, *, write: bool) -> Answer:
        if self._sent:
            self._clock.sleep(self._pause_seconds)
        self._sent = True
        seconds = self._seconds(write=write)
        body, content_type = encoded(request, self._settings.encoding)
        try:
            answer = self._http.send(
                Request(
                    "POST",
                    self._settings.url.rstrip("/") + "/",
                    write=write,
                    spends=(IN_FLIGHT,),
                    headers={"Content-Type": content_type},
                    body=body,
                    timeout_seconds=seconds,
                    again=False,
                )
            )
        except ThrottledError:
            raise
        except (UnavailableError, UncertainError) as error:
            raise _no_answer(error) from None
        if answer.status != _SUCCESS:
            raise _other(answer.status, write=write)
        return answer

    def _seconds(self, *, write: bool) -> float:
        """How long the next request may take.

        Raises:
            UnavailableError: If there is too little time left for it.
        """
        left = CALL_SECONDS if self._until is None else (self._until - self._clock.now()).total_seconds()
        if left < (_WRITE_SECONDS_MIN + self._pause_seconds if write else _READ_SECONDS_MIN):
            raise UnavailableError("Tally answers slowly, so the rest is left for the next turn.")
        return min(float(self._settings.answer_within_seconds), left)

    def _read(self, answer: Answer) -> Element | None:
        try:
            return parsed(decoded(answer.body, answer.headers.get("content-type", "")))
        except UnreadableXmlError:
            return None


def _no_answer(error: UnavailableError | UncertainError) -> ProviderError:
    if isinstance(error, UncertainError):
        return UncertainError(
            f"{errors.NO_ANSWER} Whether it was written is looked up as soon as Tally answers.",
            next_step=errors.CLOSE_WINDOW,
            detail=error.detail,
        )
    if is_unreached(error):
        return UnavailableError(errors.NOT_OPEN, next_step=errors.OPEN_IT, detail=error.detail)
    if is_unanswered(error):
        return UnavailableError(errors.NO_ANSWER, next_step=errors.CLOSE_WINDOW, detail=error.detail)
    return error


def _other(status: int, *, write: bool) -> ProviderError:
    """Tally answers 200 whatever happens, so this is somebody else, or something on the way."""
    if status == _TOO_MANY:
        return ThrottledError("What stands before Tally asks us to slow down.", code=str(status))
    if write:
        return UncertainError("Tally did not say whether it was written.", code=str(status))
    return UnavailableError(
        f"What listens at Tally's address answers {status}, which Tally never does.", code=str(status)
    )
