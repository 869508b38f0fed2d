"""QuickBooks Online's calls: a method each. An answer that is not what was asked for is raised as one of our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tieout.connectors.quickbooks_online import wire
from tieout.connectors.quickbooks_online.errors import parse_fault, to_error
from tieout.connectors.quickbooks_online.manifest import (
    BATCH_SPENDS,
    MINOR_VERSION,
    QUERY_ROWS_MAX,
    REQUEST_SPENDS,
    Settings,
)
from tieout.domain.errors import UnavailableError
from tieout.ports.http import Answer, Request
from tieout.transport.oauth import Tokens
from tieout.transport.redact import request_id
from tieout.transport.wire import Moment, encode
from tieout.transport.wire import unreadable as of_another_form

_OK = 200
# The service gives a batch up after 120 seconds. Source: limits-and-throttles, read 2026-11-22.
_BATCH_TIMEOUT_SECONDS = 125
_MOMENT = TypeAdapter(Moment)


@dataclass(frozen=True, slots=True)
class Query:
    """One of several questions: the first rows (`rows_max` at most) that fulfil the condition, by id."""

    entity: str
    where: str
    rows_max: int

    @property
    def text(self) -> str:
        """The statement."""
        return f"SELECT * FROM {self.entity} WHERE {self.where} ORDERBY Id STARTPOSITION 1 MAXRESULTS {self.rows_max}"  # noqa: S608 - no SQL, as below


class Client:
    """One company's API."""

    def __init__(self, settings: Settings, realm: str, tokens: Tokens) -> None:
        self._base = f"{settings.api_url}/v3/company/{realm}"
        self._realm = realm
        self._tokens = tokens

    def company_info(self) -> wire.CompanyInfo:
        """The company's name."""
        return wire.CompanyInfo.model_validate(self._get(f"/companyinfo/{self._realm}").get("CompanyInfo", {}))

    def preferences(self) -> wire.Preferences:
        """The company's preferences."""
        return wire.Preferences.model_validate(self._get("/preferences").get("Preferences", {}))

    def query(
        self, entity: str, where: str = "", *, order: str = "", start: int = 1
    ) -> tuple[list[wire.Json], datetime]:
        """One page of at most 1,000 rows from the 1-based `start`, and the server's time."""
        parts = [f"SELECT * FROM {entity}"]  # noqa: S608 - no SQL: Intuit's query language, which only reads
        parts += [f"WHERE {where}"] if where else []
        parts += [f"ORDERBY {order}"] if order else []
        parts += [f"STARTPOSITION {start} MAXRESULTS {QUERY_ROWS_MAX}"]
        # The statement goes in the body: no limit of length, and no names in anybody's access log.
        body = self._call(
            "POST", "/query", write=False, content_type="application/text", content=" ".join(parts).encode()
        )
        return _list(body.get("QueryResponse", {}), entity), _time(body)

    def changed_since(self, entity: str, since: datetime) -> tuple[list[wire.Json], datetime]:
        """Change data capture: rows changed and stubs of those deleted, and the server's time."""
        body = self._get("/cdc", {"entities": entity, "changedSince": moment_text(since)})
        rows: list[wire.Json] = []
        for answer in _list(body, "CDCResponse"):
            for part in _list(answer, "QueryResponse"):
                rows += _list(part, entity)
        return rows, _time(body)

    def queries(self, asked: Sequence[Query]) -> list[list[wire.Json]]:
        """The rows of each query, in one batch call of 30 queries at most; if one fails, all do.

        Source: developer.intuit.com .../batch, read 2026-11-22: a batch item may be a query.
        """
        items = [{"bId": str(number), "Query": query.text} for number, query in enumerate(asked)]
        answer = self._tokens.send(
            Request(
                "POST",
                f"{self._base}/batch",
                write=False,
                spends=BATCH_SPENDS,
                params={"minorversion": MINOR_VERSION},
                headers={"Content-Type": "application/json"},
                body=encode({"BatchItemRequest": items}),
                timeout_seconds=_BATCH_TIMEOUT_SECONDS,
            )
        )
        responses = {str(each.get("bId")): each for each in _list(_content(answer, write=False), "BatchItemResponse")}
        rows = []
        for item, query in zip(items, asked, strict=True):
            response = responses.get(item["bId"], {})
            if (fault := parse_fault(response)) is not None or "QueryResponse" not in response:
                raise to_error(fault, status=answer.status, write=False, request_id=request_id(answer.headers))
            rows.append(_list(response["QueryResponse"], query.entity))
        return rows

    def batch(self, items: Sequence[wire.Json], key: str) -> tuple[dict[str, wire.Json], str]:
        """The answers by `bId`, and the provider's id of the call. `key` is the `requestid`.

        Raises:
            UncertainError: If the answer cannot be understood, too.
        """
        answer = self._tokens.send(
            Request(
                "POST",
                f"{self._base}/batch",
                write=True,
                spends=BATCH_SPENDS,
                params={"minorversion": MINOR_VERSION, "requestid": key},
                headers={"Content-Type": "application/json"},
                body=encode({"BatchItemRequest": list(items)}),
                timeout_seconds=_BATCH_TIMEOUT_SECONDS,
            )
        )
        body = _content(answer, write=True)
        responses = (each for each in _list(body, "BatchItemResponse") if isinstance(each, dict))
        return {str(each.get("bId")): each for each in responses}, request_id(answer.headers)

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> wire.Json:
        return self._call("GET", path, write=False, params=params or {})

    def _call(
        self,
        method: str,
        path: str,
        *,
        write: bool,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        content: bytes | None = None,
    ) -> wire.Json:
        answer = self._tokens.send(
            Request(
                method,
                f"{self._base}{path}",
                write=write,
                spends=REQUEST_SPENDS,
                params={"minorversion": MINOR_VERSION, **(params or {})},
                headers={"Content-Type": content_type},
                body=content,
            )
        )
        return _content(answer, write=write)


def moment_text(moment: datetime) -> str:
    """A moment as queries take it: whole seconds, rounded down, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def quoted(value: str) -> str:
    """A value of a query. Source: data-queries, read 2026-11-22: quotes are escaped with a backslash."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def any_of(field: str, values: Sequence[str]) -> str:
    """A condition of a query: the field equals one of the values."""
    return f"{field} IN ({', '.join(quoted(value) for value in values)})"


def like(field: str, pattern: str) -> str:
    """A condition of a query: the field fits the pattern, in which `%` stands for anything, without regard to case."""
    return f"{field} LIKE {quoted(pattern)}"


def _content(answer: Answer, *, write: bool) -> wire.Json:
    """The answer's JSON object. A fault is raised, whatever the status: a 200 may hold one."""
    content: Any
    try:
        content = answer.json()
    except ValueError:
        content = answer.body.decode(errors="replace")
    fault = parse_fault(content)
    if answer.status == _OK and fault is None and isinstance(content, dict):
        return content
    raise to_error(fault, status=answer.status, write=write, request_id=request_id(answer.headers))


def _list(content: Any, name: str) -> list[Any]:  # noqa: ANN401 - JSON is anything
    """The list under the name; empty if there is none: Intuit leaves empty lists out."""
    rows = content.get(name, []) if isinstance(content, dict) else []
    return rows if isinstance(rows, list) else []


def _time(body: wire.Json) -> datetime:
    try:
        return _MOMENT.validate_python(body["time"])
    except (KeyError, ValidationError):
        raise unreadable("it does not say the time") from None


def unreadable(what: str) -> UnavailableError:
    """A read whose answer is not of the form that we know."""
    return of_another_form("QuickBooks", what)
