"""Calls of Tryton's JSON-RPC, always signed in."""

from __future__ import annotations

import base64
from collections.abc import Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

from tieout.connectors.tryton import wire
from tieout.connectors.tryton.errors import of_error, of_status, unclear
from tieout.connectors.tryton.manifest import SPENDS, Settings
from tieout.domain.errors import SettingsError
from tieout.ports.connector import Context
from tieout.ports.http import Answer, Request
from tieout.transport.passwords import PasswordSignIn

# The server ends a transaction after 60 seconds. Source: trytond 8.2.1, `config.py`, [request] timeout.
_TIMEOUT_SECONDS = 65
_SAID = ("company", "companies", "company_filter", "employee", "employees", "groups", "administrator")
_ALL = ["active", "in", [True, False]]


class Client:
    """Sends calls of one connection.

    Args:
        sessions: Headers of this process by a digest of address, database, user name and password. Shared by all
            connectors, as a server keeps every session; whoever does not know the password does not find one.
    """

    def __init__(self, context: Context, settings: Settings, sessions: MutableMapping[str, str]) -> None:
        self._context = context
        self._url = f"{settings.base_url}/{settings.database}/rpc/"
        self._sign_in = PasswordSignIn(context, title="Tryton", place=(self._url,), ask=self._begun, kept=sessions)
        self._company = settings.company
        self._known: Mapping[str, Any] | None = None

    def context(self) -> Mapping[str, Any]:
        """What every call says of its user, as Tryton's own client does: rights hang on the groups in it.

        Raises:
            SettingsError: If neither the connection nor the user has a company.
        """
        if self._known is None:
            found = self.call("model.res.user.get_preferences", True, context={})
            preferences = found if isinstance(found, dict) else {}
            known = {name: preferences[name] for name in _SAID if name in preferences}
            company = self._company or known.get("company")
            if not isinstance(company, int):
                raise SettingsError(
                    "The Tryton user of this connection has no company.",
                    next_step="Give the user a company in Tryton, or set `company` in the connection document.",
                )
            self._known = {**known, "company": company, "language": "en"}
        return self._known

    def rows(
        self,
        model: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        *,
        limit: int | None = None,
        order: Sequence[Any] = (("id", "ASC"),),
        inactive: bool = False,
    ) -> list[wire.Row]:
        """Records that fulfil the domain; inactive ones only if asked, of models that have them."""
        whole = [list(domain), _ALL] if inactive else list(domain)
        found = self.call(f"model.{model}.search_read", whole, 0, limit, list(order), list(fields))
        if not isinstance(found, list) or not all(isinstance(row, dict) and "id" in row for row in found):
            raise unclear(f"a list of {model}", write=False)
        return found

    def create(self, model: str, values: wire.Row) -> int:
        """A new record; its id."""
        made = self.write(f"model.{model}.create", [values])
        if not isinstance(made, list) or len(made) != 1 or not isinstance(made[0], int):
            raise unclear(f"a new {model} without an id", write=True)
        return made[0]

    def write(self, method: str, *params: object, versions: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
        """The result of a call that changes something, in one transaction.

        `versions` has by `model,id` the version that a record must still have.
        """
        context = {**self.context(), **({"_timestamp": dict(versions)} if versions else {})}
        return self.call(method, *params, write=True, context=context)

    def call(self, method: str, *params: object, write: bool = False, context: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """The result of a call.

        Raises:
            ProviderError: If there is none; see the table in `errors`.
        """
        body = wire.encode(method, [*params, dict(context) if context is not None else self.context()])
        answer = self._send(body, write=write, session=self._sign_in.current())
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # An old session, or one that is too old for what needs a fresh one: nothing was done.
            self._sign_in.forget()
            answer = self._send(body, write=write, session=self._sign_in.current())
        return _result(answer, write=write)

    def _begun(self, secrets: Mapping[str, str]) -> str:
        """The header of a new session."""
        params = [secrets["username"], {"password": secrets["password"]}, "en"]
        answer = self._send(wire.encode("common.db.login", params), write=False, session="")
        return _header(secrets["username"], _result(answer, write=False))

    def _send(self, body: bytes, *, write: bool, session: str) -> Answer:
        return self._context.http.send(
            Request(
                "POST",
                self._url,
                write=write,
                spends=SPENDS,
                headers={"Content-Type": "application/json", **({"Authorization": session} if session else {})},
                body=body,
                timeout_seconds=_TIMEOUT_SECONDS,
            )
        )


def _header(username: str, result: Any) -> str:  # noqa: ANN401 - JSON is anything
    """What every call carries. Newer releases add elements behind the two."""
    if not isinstance(result, list) or len(result) < 2 or not isinstance(result[1], str):  # noqa: PLR2004 - id, session
        raise unclear("a sign-in without a session", write=False)
    return "Session " + base64.b64encode(f"{username}:{result[0]}:{result[1]}".encode()).decode()


def _result(answer: Answer, *, write: bool) -> Any:  # noqa: ANN401 - JSON is anything
    if answer.status != HTTPStatus.OK:
        raise of_status(answer.status, write=write)
    try:
        content = wire.decode(answer.json())
    except ValueError:
        raise unclear("no JSON", write=write) from None
    if not isinstance(content, dict) or not {"result", "error"} & content.keys():
        raise unclear("neither a result nor an error", write=write)
    if "error" in content:
        raise of_error(content["error"], write=write)
    return content["result"]
