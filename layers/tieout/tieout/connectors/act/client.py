"""Calls of the Web API: alone or many in one batch, always signed in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from tieout.connectors.act import batch, wire
from tieout.connectors.act.auth import Token, sign_in_of
from tieout.connectors.act.batch import Part
from tieout.connectors.act.errors import error_of, is_success, seconds_to_reset
from tieout.connectors.act.manifest import BATCH_PARTS_MAX, SPENDS, ActSettings
from tieout.domain.errors import ThrottledError, UnavailableError, UncertainError
from tieout.domain.records import Kind
from tieout.ports.connector import Context
from tieout.ports.http import Answer, Request

PATHS: Mapping[Kind, str] = {
    Kind.COMPANY: "/api/companies",
    Kind.CONTACT: "/api/contacts",
    Kind.DEAL: "/api/opportunities",
    Kind.PRODUCT: "/api/products",
}
_BATCH_TIMEOUT_SECONDS = 60


class Client:
    """Sends requests of one connection and keeps to the limit that the server tells."""

    def __init__(self, context: Context, settings: ActSettings, tokens: MutableMapping[str, Token]) -> None:
        self._context = context
        self._settings = settings
        self._sign_in = sign_in_of(context, settings, tokens)
        self._closed_until = 0.0

    def version(self) -> str:
        """Version of the Web API; needs no sign-in.

        Raises:
            ProviderError: If no Web API answers.
        """
        answer = self._context.http.send(
            Request("GET", f"{self._settings.base_url}/api/system", write=False, spends=SPENDS)
        )
        body = self.json(answer)
        return str(body.get("apiVersion", "")) if isinstance(body, dict) else ""

    def rows(self, part: Part) -> list[dict[str, Any]]:
        """The records of one list.

        Raises:
            ProviderError: If there is no list.
        """
        return self.rows_of(self.many([part], write=False)[0])

    def rows_of(self, answer: Answer) -> list[dict[str, Any]]:
        """The records of a list's answer.

        Raises:
            ProviderError: If there is no list.
        """
        try:
            return wire.rows_of(self.json(answer))
        except ValueError:
            raise UnavailableError("Act! sent a list that Tieout does not understand.") from None

    def json(self, answer: Answer) -> Any:  # noqa: ANN401 - JSON is anything
        """The body of an answer to a read.

        Raises:
            ProviderError: If the answer is not a success, or no JSON.
        """
        if not is_success(answer):
            raise error_of(answer, write=False, now_seconds=self.now_seconds())
        try:
            return answer.json()
        except ValueError:
            raise UnavailableError("Act! sent an answer that Tieout does not understand.") from None

    def many(self, parts: Sequence[Part], *, write: bool) -> list[Answer]:
        """The answers to up to 100 requests, in their order, in one call; what each says is not judged here.

        Raises:
            ProviderError: If the call as a whole did not end well.
        """
        if len(parts) > BATCH_PARTS_MAX:
            raise ValueError(f"{len(parts)} parts are more than a batch may have")
        if len(parts) <= 1:
            return [self._send(part.method, part.target, part.body, "application/json", write=write) for part in parts]
        boundary = _boundary(parts)
        base = urlsplit(self._settings.base_url)
        body = batch.encode(parts, base_path=base.path, host=base.netloc, boundary=boundary)
        answer = self._send("POST", "/api/$batch", body, f'multipart/mixed; boundary="{boundary}"', write=write)
        if not is_success(answer):
            raise error_of(answer, write=write, now_seconds=self.now_seconds())
        try:
            answers = batch.decode(answer)
        except ValueError:
            answers = []
        if len(answers) != len(parts):
            message = "Act! did not answer every part of a batch."
            raise UncertainError(message) if write else UnavailableError(message)
        return answers

    def now_seconds(self) -> float:
        """The time, as the error table needs it."""
        return self._context.clock.now().timestamp()

    def _send(self, method: str, target: str, body: bytes | None, content_type: str, *, write: bool) -> Answer:
        """The answer; a refused token is replaced once, since nothing was done with it."""
        answer = self._send_once(method, target, body, content_type, write=write)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._sign_in.forget()
            answer = self._send_once(method, target, body, content_type, write=write)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.INTERNAL_SERVER_ERROR}:
            # Act! also answers 500 where it misses a token, so the next call brings a new one.
            self._sign_in.forget()
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise error_of(answer, write=write, now_seconds=self.now_seconds())
        if answer.headers.get("x-ratelimit-remaining") == "0":
            self._closed_until = self.now_seconds() + seconds_to_reset(answer, self.now_seconds())
        return answer

    def _send_once(self, method: str, target: str, body: bytes | None, content_type: str, *, write: bool) -> Answer:
        left = self._closed_until - self.now_seconds()
        if left > 0:
            raise ThrottledError("Act! allows no more calls in this minute.", retry_after_seconds=int(left) + 1)
        token = self._sign_in.current()
        headers = {"Authorization": f"Bearer {token.text}", "Act-Database-Name": self._settings.database}
        if body is not None:
            headers["Content-Type"] = content_type
        return self._context.http.send(
            Request(
                method,
                self._settings.base_url + target,
                write=write,
                spends=SPENDS,
                headers={**headers, "Accept": "application/json"},
                body=body,
                timeout_seconds=_BATCH_TIMEOUT_SECONDS if method == "POST" else 30,
            )
        )


def _boundary(parts: Sequence[Part]) -> str:
    """Computed from the parts, so that no value in them can hold it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.target.encode())
        digest.update(part.body or b"")
    return f"batch_{digest.hexdigest()}"
