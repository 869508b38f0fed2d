"""Zoho Books' calls: a method each. An answer that is not what was asked for is raised as one of our errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.errors import code_of, to_error
from tieout.connectors.zoho_books.manifest import PAGE_ROWS_MAX, SPENDS, Settings
from tieout.domain.errors import ProviderError, UnavailableError
from tieout.ports.clock import Clock
from tieout.ports.http import Request
from tieout.transport import wire as transport_wire
from tieout.transport.oauth import Tokens
from tieout.transport.wire import encode, object_of

_SUCCESS = range(200, 300)
# No bounded question has so many rows.
_PAGES_MAX = 50


class Client:
    """One organisation's API."""

    def __init__(self, settings: Settings, organization: str, tokens: Tokens, clock: Clock) -> None:
        self._settings = settings
        self._organization = organization
        self._tokens = tokens
        self._clock = clock

    def organization(self) -> wire.Organization:
        """The organisation."""
        return parsed(wire.Organization, self.one(f"organizations/{self._organization}", "organization"))

    def one(self, path: str, name: str) -> wire.Json:
        """The record that the answer holds under its name.

        Raises:
            NotFoundError: If there is none.
        """
        return self._record(self._call("GET", path, write=False), name, write=False)

    def page(self, path: str, name: str, filters: Mapping[str, str], number: int = 1) -> tuple[list[wire.Json], bool]:
        """One page of a list, from 1, and whether there is another."""
        params = {**filters, "page": str(number), "per_page": str(PAGE_ROWS_MAX)}
        content = self._call("GET", path, write=False, params=params)
        rows = content.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise unreadable(f"a list without {name}")
        return rows, parsed(wire.PageContext, content.get("page_context") or {}).more

    def rows(self, path: str, name: str, filters: Mapping[str, str]) -> Iterator[wire.Json]:
        """Every row of a list, however many pages it has."""
        for number in range(1, _PAGES_MAX + 1):
            rows, more = self.page(path, name, filters, number)
            yield from rows
            if not more:
                return
        raise unreadable(f"more than {_PAGES_MAX} pages for a bounded question")

    def payments_of(self, invoice: str) -> list[wire.InvoicePayment]:
        """The payments of an invoice, in a list without pages."""
        rows = self._call("GET", f"invoices/{invoice}/payments", write=False).get("payments")
        if not isinstance(rows, list):
            raise unreadable("no list of payments")
        return [parsed(wire.InvoicePayment, row) for row in rows]

    def upsert(
        self, path: str, name: str, body: wire.Json, key: tuple[str, str], params: Mapping[str, str]
    ) -> wire.Json:
        """The record that bears the value in the unique custom field, with this content; a new one if none does.

        Source: www.zoho.com/books/api/v3/invoices, "Update an invoice using a custom field's unique value", and its
        likes of contacts, items, customer payments and credit notes, read 2026-11-22.
        """
        headers = {"X-Unique-Identifier-Key": key[0], "X-Unique-Identifier-Value": key[1], "X-Upsert": "true"}
        content = self._call("PUT", path, write=True, body=body, headers=headers, params=params)
        return self._record(content, name, write=True)

    def update(self, path: str, name: str, body: wire.Json) -> wire.Json:
        """The record, changed."""
        return self._record(self._call("PUT", path, write=True, body=body), name, write=True)

    def create(self, path: str, name: str, body: wire.Json) -> wire.Json:
        """A new record, where there is no upsert: repeating it makes another one."""
        return self._record(self._call("POST", path, write=True, body=body), name, write=True)

    def act(self, path: str, body: wire.Json | None = None) -> None:
        """Move a record to another state, or add to it."""
        self._call("POST", path, write=True, body=body)

    def _call(
        self,
        method: str,
        path: str,
        *,
        write: bool,
        body: wire.Json | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> wire.Json:
        content_type = {"Content-Type": "application/json;charset=UTF-8"} if body is not None else {}
        answer = self._tokens.send(
            Request(
                method,
                f"{self._settings.api}/books/v3/{path}",
                write=write,
                spends=SPENDS,
                params={"organization_id": self._organization, **(params or {})},
                headers={**content_type, **(headers or {})},
                body=encode(body) if body is not None else None,
            )
        )
        content = dict(object_of(answer))
        if answer.status in _SUCCESS and code_of(content) == "0":
            return content
        raise self._error(content, answer.status, write=write)

    def _record(self, content: wire.Json, name: str, *, write: bool) -> wire.Json:
        record = content.get(name)
        if not isinstance(record, dict):
            raise self._error(None, 200, write=write)
        return record

    def _error(self, content: Any, status: int, *, write: bool) -> ProviderError:  # noqa: ANN401 - JSON is anything
        return to_error(content, status=status, write=write, now=self._clock.now(), zone=self._settings.time_zone)


def parsed[Model: BaseModel](model: type[Model], content: object) -> Model:
    """The content as the model.

    Raises:
        UnavailableError: If it is not of that form.
    """
    return transport_wire.parsed(model, content, "Zoho Books")


def unreadable(what: str) -> UnavailableError:
    """A read whose answer is not of the form that we know."""
    return transport_wire.unreadable("Zoho Books", what)
