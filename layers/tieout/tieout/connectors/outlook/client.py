"""Calls of Microsoft Graph: alone, or up to 20 in one `$batch`; always signed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import batched
from typing import Any

from tieout.connectors.outlook.auth import tokens_of
from tieout.connectors.outlook.errors import Reply, error_of
from tieout.connectors.outlook.manifest import BATCH_PARTS_MAX, BATCH_SPENDS, REQUEST_SPENDS, OutlookSettings
from tieout.domain.errors import UnavailableError, UncertainError
from tieout.ports.connector import Context
from tieout.ports.http import Answer, Request
from tieout.transport.wire import encode

_BATCH_TIMEOUT_SECONDS = 60
IMMUTABLE_IDS = 'IdType="ImmutableId"'
"""Without it, an id changes when its item is moved. Source: learn.microsoft.com/graph/outlook-immutable-id, read
2026-08-13."""

type Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One request; `path` begins behind the base address and has its query in it, encoded."""

    method: str
    path: str
    body: Json | None = field(default=None, repr=False)
    etag: str = ""
    prefer: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Its own, beside those of every call."""
        headers = {"Prefer": f"{IMMUTABLE_IDS}, {self.prefer}" if self.prefer else IMMUTABLE_IDS}
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        if self.etag:
            headers["If-Match"] = self.etag
        return headers


class Client:
    """Sends the requests of one connection."""

    def __init__(self, context: Context, settings: OutlookSettings) -> None:
        self._base = settings.base_url.rstrip("/")
        self._tokens = tokens_of(context, settings)

    def get(self, path: str, *, prefer: str = "") -> Json:
        """The body of one read.

        Raises:
            ProviderError: If it is not a success.
        """
        return self.body_of(self._one(Part("GET", path, prefer=prefer), write=False))

    def follow(self, link: str, *, prefer: str = "") -> Json:
        """The body behind a link that Graph gave.

        Raises:
            ProviderError: If it is not a success, or the link leads elsewhere: our token goes to no other host.
        """
        if not link.startswith(f"{self._base}/"):
            raise UnavailableError("Microsoft Graph sent a link that leads to another address.")
        return self.get(link.removeprefix(self._base), prefer=prefer)

    def body_of(self, reply: Reply) -> Json:
        """The body of the answer to a read.

        Raises:
            ProviderError: If it is not a success.
        """
        if not reply.is_success:
            raise error_of(reply, write=False)
        if not reply.understood or reply.body is None:
            raise UnavailableError("Microsoft Graph sent an answer that Tieout does not understand.")
        return reply.body

    def rows_of(self, body: Json) -> list[dict[str, Any]]:
        """The records of a list.

        Raises:
            UnavailableError: If it is none.
        """
        rows = body.get("value")
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows
        ):
            raise UnavailableError("Microsoft Graph sent a list that Tieout does not understand.")
        return rows

    def many(self, parts: Sequence[Part], *, write: bool) -> list[Reply]:
        """The answer to each part, in their order, in as few calls as can be; what each says is not judged here.

        Raises:
            ProviderError: If a call as a whole did not end well. Of writes, 20 at most may be given: then none of them
                is known to be done.
        """
        if write and len(parts) > BATCH_PARTS_MAX:
            raise ValueError(f"{len(parts)} parts are more than a batch may have")
        replies: list[Reply] = []
        for some in batched(parts, BATCH_PARTS_MAX, strict=False):
            replies += [self._one(some[0], write=write)] if len(some) == 1 else self._batch(some, write=write)
        return replies

    def _one(self, part: Part, *, write: bool) -> Reply:
        content = None if part.body is None else encode(part.body)
        return self._send(part.method, part.path, part.headers, content, write=write, spends=REQUEST_SPENDS)

    def _batch(self, parts: Sequence[Part], *, write: bool) -> list[Reply]:
        """Source: https://learn.microsoft.com/graph/json-batching, read 2026-08-13: answers come in any order."""
        asked = [_asked(number, part) for number, part in enumerate(parts)]
        reply = self._send(
            "POST",
            "/$batch",
            {"Content-Type": "application/json"},
            encode({"requests": asked}),
            write=write,
            spends=BATCH_SPENDS,
        )
        if not reply.is_success:
            raise error_of(reply, write=write)
        given = {each["id"]: each for each in (reply.body or {}).get("responses") or [] if _is_answer(each)}
        if set(given) != {each["id"] for each in asked}:
            message = "Microsoft Graph did not answer every part of a batch."
            raise UncertainError(message) if write else UnavailableError(message)
        return [_part_reply(given[each["id"]]) for each in asked]

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes | None,
        *,
        write: bool,
        spends: tuple[str, ...],
    ) -> Reply:
        answer = self._tokens.send(
            Request(
                method,
                self._base + path,
                write=write,
                spends=spends,
                headers=headers,
                body=content,
                timeout_seconds=_BATCH_TIMEOUT_SECONDS if spends is BATCH_SPENDS else 30,
            )
        )
        reply = _reply(answer)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            raise error_of(reply, write=write)
        return reply


def _asked(number: int, part: Part) -> dict[str, Any]:
    asked: dict[str, Any] = {"id": str(number), "method": part.method, "url": part.path, "headers": part.headers}
    return asked if part.body is None else {**asked, "body": part.body}


def _is_answer(each: object) -> bool:
    return isinstance(each, dict) and isinstance(each.get("id"), str) and isinstance(each.get("status"), int)


def _part_reply(part: Json) -> Reply:
    headers = part.get("headers")
    lower = {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    body = part.get("body")
    return Reply(
        part["status"], lower, body if isinstance(body, dict) else None, body is None or isinstance(body, dict)
    )


def _reply(answer: Answer) -> Reply:
    if not answer.body:
        return Reply(answer.status, answer.headers)
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return Reply(answer.status, answer.headers, None, understood=False)
    return Reply(answer.status, answer.headers, body if isinstance(body, dict) else None, isinstance(body, dict))
