"""The service that the QuickBooks Web Connector asks for work: it fetches the same jobs as an agent, by SOAP.

A session is one run of the Web Connector. It asks for a request, has QuickBooks answer it, brings the answer, and asks
for the next. A request that is not answered when the next one is asked for, or another session begins, may have been
done: its job ends as lost, and the engine looks it up. Source: Web Connector Programmer's Guide 2.0.
"""

from __future__ import annotations

import hmac
import json
import secrets as random_secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from tieout.bridge import soap
from tieout.bridge.calls import UnreadableError
from tieout.bridge.door import answered, body_of, refused
from tieout.bridge.outbox import Counter, changed
from tieout.bridge.presence import Presence
from tieout.domain.bridge import Ended, Installation
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.domain.packing import time_of, time_text
from tieout.ports.bridge import InstallationStore, Outbox
from tieout.ports.clock import Clock
from tieout.ports.connector import Manifest, Reachability
from tieout.ports.secrets import Secrets
from tieout.ports.state import ConfigStore

USER, PASSWORD = "username", "password"
NOT_LET_IN, COME_AGAIN = "nvu", "NoOp"
HOLD_SECONDS = 10
PATIENCE = timedelta(seconds=40)
"""A session without work goes on for so long: what waits was queued when it began, and workers need a moment."""

GOES_ON, ENDS_HERE = 50, -1
_SHOWN_MAX = 500

type _InSession = soap.SendRequest | soap.ReceiveResponse | soap.LastError | soap.ConnectionFailed | soap.Close


@dataclass(frozen=True, slots=True)
class _Session:
    """What is known of a run of the Web Connector.

    Attributes:
        active_at: When it began, or brought its last answer.
        job: Id of the job that it has in hand; empty if none.
        error: What `getLastError` says.
    """

    ticket: str
    active_at: str
    job: str = ""
    error: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @property
    def began(self) -> datetime:
        return time_of(self.active_at)


class ServeWebConnector:
    """Answers the Web Connector."""

    def __init__(
        self,
        *,
        config: ConfigStore,
        secrets: Secrets,
        outbox: Outbox,
        installations: InstallationStore,
        presence: Presence,
        manifest: Callable[[str], Manifest],
        clock: Clock,
        version: str,
    ) -> None:
        self._config, self._secrets, self._outbox = config, secrets, outbox
        self._installations, self._presence, self._manifest = installations, presence, manifest
        self._clock, self._version = clock, version
        self._counter = Counter(outbox, installations, clock)

    def answer(self, address: str, body: bytes) -> bytes:
        """The answer's body.

        Raises:
            soap.SoapError: If it is no call of the Web Connector.
        """
        call = soap.parse_call(body)
        return soap.answer(call, self._result(address, call))

    def _result(self, address: str, call: soap.Call) -> soap.Result:
        match call:
            case soap.ServerVersion():
                return self._version
            case soap.Authenticate():
                return self._authenticate(address, call)
            case soap.ClientVersion() | soap.InteractiveUrl() | soap.InteractiveRejected() | soap.InteractiveDone():
                return ""
        there, session = self._session(address, call.ticket)
        if there is None or session is None:
            return _without_session(call)
        return self._in_session(there, session, call)

    def _in_session(self, there: Installation, session: _Session, call: _InSession) -> soap.Result:
        match call:
            case soap.SendRequest():
                return self._send(there, session, call)
            case soap.ReceiveResponse():
                return self._receive(there, session, call)
            case soap.LastError():
                return session.error
        self._keep(there, session, None)  # a job in hand is lost; the next session says so
        return "done" if isinstance(call, soap.ConnectionFailed) else "OK"

    def _authenticate(self, address: str, call: soap.Authenticate) -> list[str]:
        tenant, dot, name = address.partition(".")
        connection = self._config.connection(tenant, name) if dot else None
        there = self._installations.installation(tenant, name) if connection is not None else None
        if connection is None or there is None or there.enrolled_at is None or not self._is_known(connection, call):
            return ["", NOT_LET_IN]
        self._counter.end_lost(there)
        now = self._clock.now()
        session = _Session(random_secrets.token_hex(16), time_text(now))
        changed(
            self._installations,
            there,
            lambda one: replace(one, seen_at=now, told_at=None, instance=session.ticket[:8], session=session.text()),
        )
        self._presence.wake(connection)
        return [session.ticket, str(connection.settings.get("company_file", ""))]

    def _is_known(self, connection: Connection, call: soap.Authenticate) -> bool:
        if self._manifest(connection.provider).reachability is not Reachability.WEB_CONNECTOR:
            return False
        try:
            kept = self._secrets.read(
                connection.tenant, connection.id, fresh=True
            )  # one that was replaced opens nothing
        except SettingsError:
            return False
        user = hmac.compare_digest(kept.get(USER, "").encode(), call.user.encode())
        password = hmac.compare_digest(kept.get(PASSWORD, "").encode(), call.password.encode())
        return bool(kept.get(USER) and kept.get(PASSWORD) and user and password)

    def _session(self, address: str, ticket: str) -> tuple[Installation | None, _Session | None]:
        """The installation and its session, if the ticket is of the one that runs."""
        tenant, dot, name = address.partition(".")
        there = self._installations.installation(tenant, name) if dot else None
        if there is None or there.enrolled_at is None or not there.session:
            return there, None
        session = _Session(**json.loads(there.session))
        return there, session if _is_same(session.ticket, ticket) else None

    def _send(self, there: Installation, session: _Session, call: soap.SendRequest) -> str:
        self._counter.end_lost(there)  # whoever asks for the next one has none in hand
        session = replace(session, job="")
        connection = self._config.connection(there.tenant, there.connection)
        wanted = str(connection.settings.get("company_file", "")) if connection is not None else ""
        if wanted and call.company_file and call.company_file.casefold() != wanted.casefold():
            self._keep(there, session, replace(session, error=_WRONG_FILE))
            return ""
        self._keep(there, session, session)  # it is there: workers wait for it
        job = self._counter.lease(there, hold_seconds=HOLD_SECONDS)
        if job is None:
            goes_on = self._clock.now() - session.began < PATIENCE
            self._keep(there, session, replace(session, error=COME_AGAIN if goes_on else ""))
            return ""
        try:
            text = body_of(job.body)
        except UnreadableError:  # it stood beside the table, and is not there any more
            text = ""
        if not text or not self._keep(there, session, replace(session, job=job.id, error="")):
            self._counter.report(job, Ended.NOT_BEGUN, None)
            return ""
        return text

    def _receive(self, there: Installation, session: _Session, call: soap.ReceiveResponse) -> int:
        failed = bool(call.hresult)
        job = self._outbox.job(there.tenant, there.connection, session.job) if session.job else None
        if job is not None:
            result = refused(call.hresult, call.message) if failed else answered(call.response)
            self._counter.report(job, Ended.DONE, result)
        why = f"({call.hresult[:_SHOWN_MAX]}): {call.message[:_SHOWN_MAX]}"
        error = f"QuickBooks did not take a request {why}" if failed else ""
        now = time_text(self._clock.now())
        self._keep(there, session, replace(session, job="", active_at=now, error=error))
        return ENDS_HERE if failed else GOES_ON

    def _keep(self, there: Installation, session: _Session, kept: _Session | None) -> bool:
        """Store what the session is now, None if it is over; False if another one began, or it was let in anew."""
        now, text = self._clock.now(), kept.text() if kept is not None else ""
        mine: list[bool] = []

        def change(one: Installation) -> Installation:
            mine.append(bool(one.session) and _is_same(json.loads(one.session)["ticket"], session.ticket))
            return replace(one, session=text, seen_at=now, told_at=None) if mine[-1] else one

        changed(self._installations, there, change)
        return mine[-1]


def _is_same(ticket: str, other: str) -> bool:
    return hmac.compare_digest(ticket.encode(), other.encode())


def _without_session(call: _InSession) -> soap.Result:
    match call:
        case soap.SendRequest():
            return ""
        case soap.ReceiveResponse():
            return ENDS_HERE
        case soap.LastError():
            return _TAKEN_OVER
    return "done" if isinstance(call, soap.ConnectionFailed) else "OK"


_TAKEN_OVER = "This session is over: another one began, or this connection is no longer let in."
_WRONG_FILE = (
    "Another company file is open than this connection is for. Nothing was done. Open the right one, or name this "
    "one in the settings of the connection."
)
