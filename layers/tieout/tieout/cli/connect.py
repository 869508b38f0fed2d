"""`tieout connect`: sign a connection in, by the provider's consent page or with keys."""

from __future__ import annotations

import secrets as random_secrets
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import typer

from tieout.cli import asking
from tieout.cli.beside import Beside, let_in, reach, revoke
from tieout.cli.desk import Desk
from tieout.cli.loopback import listening, state_fits
from tieout.cli.talk import Answer, AnswerError, Code, Talk, moment
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import SettingsError
from tieout.engine.health import Standing
from tieout.engine.patient import PatientConnector
from tieout.ports.connector import Account, Consent, Grant, Manifest, Provider, Reachability, reached

if TYPE_CHECKING:
    from rich.console import RenderableType

FILLED_IN = "(filled in by consent)"
"""How a manifest's question ends if nobody is asked it: consent brings the secret."""

STATE_BYTES = 32

REDIRECT = "redirect_address"
"""Beside the secrets: the address that the last consent came back to, if one was named. The next one needs it too."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the person signs in.

    Attributes:
        secrets_file: JSON object of secrets by name; `-` is the standard input. Then nobody is asked.
        ask: Ask for every secret again, not only for those that are missing.
        port: Of the local address that the browser comes back to; 0 takes a free one. None: none was named.
        redirect: Another registered address to come back to; the person then pastes where they ended. Without it and
            without a port it is that of the last consent.
        browser: Open the browser.
        beside: For a system in an office: how its installation is let in.
    """

    secrets_file: str = ""
    ask: bool = False
    port: int | None = None
    redirect: str = ""
    browser: bool = True
    beside: Beside = field(default_factory=Beside)


def connect(desk: Desk, talk: Talk, name: str, way: Way) -> Answer:
    """Sign the connection in, prove that it works, and let it go on.

    Raises:
        SettingsError: If there is no such connection.
        RejectedError: If consent was refused.
        ReconnectError: If the provider does not accept the sign-in.
        AnswerError: If another account was signed in than the connection is of.
    """
    deployment = desk.deployment
    connection = desk.connection(name)
    provider = deployment.provider(connection.provider)
    manifest, consent = provider.manifest, provider.consent
    if reached(connection, manifest) is not Reachability.CLOUD:
        return _connect_beside(desk, talk, connection, provider, way.beside)
    if way.beside.revoke or way.beside.new_code:
        raise AnswerError(
            f"{name} is reached from the cloud; nothing is installed for it that could be let in.", code=Code.USAGE
        )
    known = _known(desk, connection, manifest, way, paused_keys=consent is None)
    if consent is not None:
        redirect = way.redirect or (known.get(REDIRECT, "") if way.port is None else "")
        known = {name: value for name, value in known.items() if name != REDIRECT}
        way = replace(way, redirect=redirect)
        grant = _grant(desk, talk, connection, consent=consent, known=known, way=way)
        _same_account(connection, grant.account)
        connection = replace(connection, account=grant.account)
        # A refresh token that rotates is stored before it is used.
        kept = {REDIRECT: redirect} if redirect else {}
        deployment.secrets.write(desk.tenant, name, {**known, **grant.secrets, **kept})
        account = PatientConnector(deployment.connect(connection), deployment.clock).probe()
    else:
        tried = _Tried(known)
        account = PatientConnector(deployment.connect(connection, secrets=tried), deployment.clock).probe()
        _same_account(connection, account.id)
        connection = replace(connection, account=account.id)
        deployment.secrets.write(desk.tenant, name, tried.secrets)
    connection = replace(connection, state=ConnectionState.ACTIVE, paused_because="", paused_at=None)
    deployment.config.put_connection(connection)
    desk.schedules.put(connection, connection.poll or desk.poll_default, enabled=True)
    return _answer(desk, connection, manifest, account, deployment.health.signed_in(connection))


def _connect_beside(desk: Desk, talk: Talk, connection: Connection, provider: Provider, wanted: Beside) -> Answer:
    """Let the installation in, and have it prove that the system can be asked."""
    if wanted.revoke:
        return revoke(desk, connection)
    waits = let_in(desk, talk, connection, provider, wanted)
    if waits is not None:
        return waits
    account = reach(desk, connection, provider.manifest.title, wait=wanted.wait)
    _same_account(connection, account.id)
    connection = replace(
        connection, account=account.id, state=ConnectionState.ACTIVE, paused_because="", paused_at=None
    )
    desk.deployment.config.put_connection(connection)
    desk.schedules.put(connection, connection.poll or desk.poll_default, enabled=True)
    return _answer(desk, connection, provider.manifest, account, Standing(None, None))


def _answer(desk: Desk, connection: Connection, manifest: Manifest, account: Account, standing: Standing) -> Answer:
    webhook = desk.webhook_address(connection) if manifest.webhooks else ""

    def view() -> Iterator[RenderableType]:
        currency = f", home currency {account.currency}" if account.currency else ""
        yield f"{connection.id} is connected to {manifest.title}: {account.name} (account {account.id}{currency})."
        if standing.ends_at is not None:
            yield f"The sign-in is good until {moment(standing.ends_at)}; you get an e-mail before it ends."
        if webhook:
            yield f"To hear of changes at once, enter this webhook address at {manifest.title}:"
            yield f"  {webhook}"

    return Answer(
        {
            "connection": connection.id,
            "provider": connection.provider,
            "account": account.id,
            "account_name": account.name,
            "currency": account.currency,
            "state": connection.state,
            "sign_in_ends_at": standing.ends_at,
            "webhook": webhook,
        },
        view,
    )


def _same_account(connection: Connection, account: str) -> None:
    """Return if the connection may have this account: its links belong to one account for ever."""
    if connection.account and account != connection.account:
        raise AnswerError(
            f"This is the account {account}, but {connection.id} is of the account {connection.account}; "
            "nothing was stored.",
            code=Code.NO,
            next_step=f"Sign in to {connection.account}, or add a connection of another name for {account}.",
        )


# Secrets


class _Tried:
    """Implements `tieout.ports.secrets.Secrets` for secrets that are not stored yet; shown by no `repr`."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = dict(secrets)

    def read(self, tenant: str, connection: str, *, fresh: bool = False) -> Mapping[str, str]:  # noqa: ARG002 - the port
        """Those that are tried."""
        return dict(self.secrets)

    def write(self, tenant: str, connection: str, secrets: Mapping[str, str]) -> None:  # noqa: ARG002 - the port
        """Try these from now on."""
        self.secrets = dict(secrets)


def _known(desk: Desk, connection: Connection, manifest: Manifest, way: Way, *, paused_keys: bool) -> dict[str, str]:
    """The secrets to sign in with: given ones before stored ones, and the person is asked for the rest."""
    try:
        stored = dict(desk.deployment.secrets.read(desk.tenant, connection.id, fresh=True))
    except SettingsError:
        stored = {}
    given = asking.given(manifest, way.secrets_file)
    known = stored | given
    if way.secrets_file:
        return known
    # A paused connection whose keys are stored: they are what stopped working, so they are asked for again.
    again = way.ask or (paused_keys and connection.state is ConnectionState.PAUSED and not given)
    for name, question in manifest.secrets.items():
        if question.endswith(FILLED_IN) or name in given or (name in known and not again):
            continue
        typed = asking.ask(question, name, kept=name in known)
        if typed:
            known[name] = typed
    return known


# Consent


def _grant(
    desk: Desk, talk: Talk, connection: Connection, *, consent: Consent, known: Mapping[str, str], way: Way
) -> Grant:
    state = random_secrets.token_urlsafe(STATE_BYTES)
    talk.resume = f"Nothing was stored. Run `tieout connect {connection.id} --tenant {desk.tenant}` again."
    if way.redirect:
        redirect = way.redirect
        _send_to(talk, _page(consent, connection, known, redirect, state), redirect, browser=way.browser)
        query = _pasted(state)
    else:
        with listening(way.port or 0, state) as loopback:
            redirect = loopback.redirect
            _send_to(talk, _page(consent, connection, known, redirect, state), redirect, browser=way.browser)
            query = dict(loopback.wait())
    return consent.finish(
        settings=connection.settings,
        secrets=known,
        redirect=redirect,
        query=query,
        http=desk.deployment.http(connection),
        clock=desk.deployment.clock,
    )


def _page(consent: Consent, connection: Connection, known: Mapping[str, str], redirect: str, state: str) -> str:
    return consent.address(settings=connection.settings, secrets=known, redirect=redirect, state=state)


def _send_to(talk: Talk, address: str, redirect: str, *, browser: bool) -> None:
    talk.say(f"The provider must know this redirect address: {redirect}")
    talk.say("Sign in and agree on this page:")
    talk.say(f"  {address}")
    if browser:
        webbrowser.open(address)


def _pasted(state: str) -> dict[str, str]:
    """The query of the address that the person ended on."""
    try:
        pasted: str = typer.prompt("Paste the whole address of the page that you end on", hide_input=True, err=True)
    except typer.Abort:
        raise AnswerError("Nobody pasted the address.", code=Code.USAGE) from None
    query = dict(parse_qsl(urlsplit(pasted.strip()).query, keep_blank_values=True))
    if not state_fits(state, query):
        raise AnswerError(
            "This address is not the answer to this sign-in.",
            code=Code.NO,
            next_step="Run the command again, and paste the address that the newly printed page leads to.",
        )
    return query
