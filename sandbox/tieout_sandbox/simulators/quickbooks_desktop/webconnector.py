"""The QuickBooks Web Connector: the program that asks a service what to do in QuickBooks, and brings back the answers.

Source: QuickBooks Web Connector Programmer's Guide 2.0 for the order of its calls; recorded calls
(tests/data/quickbooks_desktop) for their form. It is written from these alone, not from Tieout's side of the service.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import requests

from tieout.transport.xml import parse_xml
from tieout_sandbox.simulators.quickbooks_desktop.company import Company, Session
from tieout_sandbox.simulators.quickbooks_desktop.messages import ResultError

_NAMESPACE = "http://developer.intuit.com/"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_VERSION = "2.3.0.215"
_STEPS_MAX = 10_000
_TIMEOUT_SECONDS = 60
_OK, _DONE = 200, 100


class Cut(StrEnum):
    """Where a run is cut off: by the network, or because somebody ends the program.

    ANSWER: QuickBooks did the work, and its answer is never brought. REQUEST: the request was fetched, and QuickBooks
    never saw it.
    """

    ANSWER = "answer"
    REQUEST = "request"


class ServiceError(Exception):
    """The service did not answer in the form that the Web Connector takes."""


@dataclass(slots=True)
class Run:
    """What happened in one run.

    Attributes:
        end: `nvu`, `none`, `busy`, `closed`, `cut`, `connection error` or `broken`.
        requests: How many requests QuickBooks answered.
        errors: What `getLastError` said, without requests to come again.
        percent: What the answers to `receiveResponseXML` were.
    """

    end: str = ""
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    percent: list[int] = field(default_factory=list)
    said: str = ""


class WebConnector:
    """Runs against one service, for one company file.

    Args:
        address: Of the service, as the AppURL of a QWC file.
        pause: Called when the service asks to come again later.
        cut: Asked before each request is worked on, with its text; where it says so, the run ends there without a word.
    """

    def __init__(
        self,
        company: Company,
        address: str,
        user: str,
        password: str,
        *,
        pause: Callable[[], None],
        cut: Callable[[str], Cut | None] = lambda _: None,
    ) -> None:
        self._company, self._address = company, address
        self._user, self._password = user, password
        self._pause, self._cut = pause, cut
        self._session = requests.Session()
        self._session.trust_env = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the run before its next step."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections to the service."""
        self._session.close()

    def run(self) -> Run:
        """One run, to its end."""
        run = Run()
        try:
            self._run(run)
        except (requests.RequestException, ServiceError) as error:
            run.end, run.said = "broken", str(error)
        return run

    def _run(self, run: Run) -> None:
        self._text("serverVersion")
        said = self._text("clientVersion", strVersion=_VERSION)
        if said.startswith("E:"):
            run.end, run.said = "refused", said
            return
        ticket, first, *_ = [*self._texts("authenticate", strUserName=self._user, strPassword=self._password), "", ""]
        if first in {"none", "nvu", "busy"}:
            run.end = first
            return
        file = self._company.settings.company_file
        if first and first.casefold() != file.casefold():
            run.said = self._text(
                "connectionError",
                ticket=ticket,
                hresult="0x80040403",
                message="Could not open the specified QuickBooks company data file.",
            )
            run.end = "connection error"
            return
        self._work(run, ticket, file)

    def _work(self, run: Run, ticket: str, file: str) -> None:
        session, told = Session(), self._about()
        for _ in range(_STEPS_MAX):
            if self._stopped.is_set():
                run.end = "cut"
                return
            request = self._text(
                "sendRequestXML",
                ticket=ticket,
                strHCPResponse=told,
                strCompanyFileName=file,
                qbXMLCountry="US",
                qbXMLMajorVers="16",
                qbXMLMinorVers="0",
            )
            told = ""
            if not request:
                error = self._text("getLastError", ticket=ticket)
                if error == "NoOp":
                    self._pause()
                    continue
                run.errors += [error] if error else []
                break
            if not self._answer(run, ticket, request, session):
                return
            if run.percent[-1] < 0:
                run.errors.append(self._text("getLastError", ticket=ticket))
                break
            if run.percent[-1] >= _DONE:
                break
        run.said = self._text("closeConnection", ticket=ticket)
        run.end = "closed"

    def _answer(self, run: Run, ticket: str, request: str, session: Session) -> bool:
        """Have the request processed and bring the answer; False if the run is cut off."""
        cut = self._cut(request)
        if cut is Cut.REQUEST:
            run.end = "cut"
            return False
        response, result, message = "", "", ""
        try:
            response = self._company.process(request, session)
            run.requests += 1
        except ResultError as error:
            result, message = error.result, error.message
        if cut is Cut.ANSWER:
            run.end = "cut"
            return False
        text = self._text("receiveResponseXML", ticket=ticket, response=response, hresult=result, message=message)
        run.percent.append(int(text))
        return True

    def _about(self) -> str:
        """What is told of host, company and preferences in the first call."""
        asked = "<HostQueryRq/><CompanyQueryRq/><PreferencesQueryRq/>"
        try:
            return self._company.process(
                '<?xml version="1.0"?><?qbxml version="13.0"?>'
                f'<QBXML><QBXMLMsgsRq onError="continueOnError">{asked}</QBXMLMsgsRq></QBXML>',
                Session(),
            )
        except ResultError:
            return ""

    def _text(self, call: str, **parameters: str) -> str:
        return self._called(call, parameters).text or ""

    def _texts(self, call: str, **parameters: str) -> list[str]:
        return [each.text or "" for each in self._called(call, parameters) if each.tag == f"{{{_NAMESPACE}}}string"]

    def _called(self, call: str, parameters: dict[str, str]) -> Element:
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in parameters.items())
        body = (
            f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{_ENVELOPE}"><soap:Body>'
            f'<{call} xmlns="{_NAMESPACE}">{inner}</{call}></soap:Body></soap:Envelope>'
        )
        answer = self._session.post(
            self._address,
            data=body.encode(),
            headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{_NAMESPACE}{call}"'},
            timeout=_TIMEOUT_SECONDS,
        )
        if answer.status_code != _OK:
            raise ServiceError(f"{call}: status {answer.status_code}")
        try:
            result = parse_xml(answer.content).find(
                f"{{{_ENVELOPE}}}Body/{{{_NAMESPACE}}}{call}Response/{{{_NAMESPACE}}}{call}Result"
            )
        except ValueError as error:
            raise ServiceError(f"{call}: response is not well-formed XML ({error})") from None
        if result is None:
            raise ServiceError(f"{call}: no result")
        return result


class Background:
    """Lets the Web Connector come by itself, while the settings name a service.

    Attributes:
        cut: Of the Web Connector.
    """

    def __init__(self, company: Company) -> None:
        self.cut: Callable[[str], Cut | None] = lambda _: None
        self._company = company
        self._ended = threading.Event()
        self._running: WebConnector | None = None
        self._thread = threading.Thread(target=self._loop, name="web-connector", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        running = self._running
        if running is not None:
            running.stop()
        self._thread.join()

    def _loop(self) -> None:
        settings = self._company.settings
        while not self._ended.wait(settings.run_every_seconds):
            if not settings.service_url:
                continue
            self._running = WebConnector(
                self._company,
                settings.service_url,
                settings.username,
                settings.password,
                pause=self._pause,
                cut=self.cut,
            )
            self._running.run()
            self._running.close()

    def _pause(self) -> None:
        self._ended.wait(self._company.settings.pause_seconds)
