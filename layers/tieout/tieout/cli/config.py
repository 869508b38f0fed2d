"""`tieout config`: documents are checked, then put to work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tieout.cli.beside import is_let_in
from tieout.cli.desk import Desk
from tieout.cli.documents import Written, check_sides, known_manifests, read_documents, refuse
from tieout.cli.talk import Answer, Problem, Talk
from tieout.domain.connections import Connection, ConnectionState
from tieout.domain.errors import SettingsError
from tieout.domain.words import counted
from tieout.mapping import ConnectionDocument, SyncDocument
from tieout.ports.connector import Manifest, Reachability, reached
from tieout.ports.state import StoredSync

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_SIGNED_IN = "Nobody has signed in to it yet."
CREATED, CHANGED, UNCHANGED = "created", "changed", "unchanged"


def check(files: Sequence[Path]) -> Answer:
    """What stands in the files, if all of it is right; needs no AWS.

    Raises:
        AnswerError: With every problem.
    """
    from tieout.connectors import provider  # noqa: PLC0415 - loads every connector

    written = read_documents(files, provider)
    names = [one.name for one in written]

    def view() -> Iterator[RenderableType]:
        for one in written:
            yield f"{one.file}: {one.name} is right."
        if not written:
            yield "There are no documents in these files."

    return Answer({"documents": names, "problems": []}, view)


@dataclass(frozen=True, slots=True)
class _Applied:
    """What became of one document.

    Attributes:
        may_rewrite: How many documents stand that a changed sync may write again; `rewrites` of them a day at most.
    """

    name: str
    end: str
    version: int = 0
    webhook: str = ""
    poll: str = ""
    sign_in: str = ""
    may_rewrite: int = 0
    rewrites: int = 0


def apply(desk: Desk, talk: Talk, files: Sequence[Path]) -> Answer:
    """Put the files' documents to work: connections first, then syncs. One problem anywhere, and nothing is changed.

    Raises:
        AnswerError: With every problem.
        ClaimedError: If somebody else stored a version of the same sync meanwhile.
    """
    deployment, tenant = desk.deployment, desk.tenant
    written = read_documents(files, deployment.provider)
    stored = {one.id: one for one in deployment.config.connections(tenant)}
    manifests = known_manifests(written, list(stored.values()), deployment.provider)
    refuse([*check_sides(written, manifests, complete=True), *_moved(written, stored)])
    talk.resume = "Run `tieout config apply` with the same files again; what is done already stays as it is."
    applied = [
        _connection(desk, one.document, stored.get(one.document.id))
        for one in written
        if isinstance(one.document, ConnectionDocument)
    ]
    applied += [_sync(desk, one.document) for one in written if isinstance(one.document, SyncDocument)]

    def view() -> Iterator[RenderableType]:
        for one in applied:
            version = f", version {one.version}" if one.version else ""
            yield f"{one.name}: {one.end}{version}"
            if one.webhook:
                yield f"  webhooks go to     {one.webhook}"
            if one.poll:
                yield f"  asked for changes  {one.poll}"
            if one.sign_in:
                yield f"  next: {one.sign_in}"
            if one.may_rewrite:
                name = one.name.partition(" ")[2]
                yield (
                    f"  {counted(one.may_rewrite, 'document')} may be written again by it, {one.rewrites:,} a day at "
                    f"most without approval; `tieout plan {name} --tenant {tenant}` shows which"
                )

    return Answer({"tenant": tenant, "applied": [_data(one) for one in applied]}, view)


def _data(one: _Applied) -> dict[str, object]:
    kind, _, name = one.name.partition(" ")
    if kind == "sync":
        return {
            "kind": kind,
            "name": name,
            "end": one.end,
            "version": one.version,
            "may_rewrite": one.may_rewrite,
        }
    return {"kind": kind, "name": name, "end": one.end, "webhook": one.webhook, "poll": one.poll, "next": one.sign_in}


def _moved(written: Sequence[Written], stored: dict[str, Connection]) -> list[Problem]:
    problems = []
    for one in written:
        document = one.document
        if not isinstance(document, ConnectionDocument) or document.id not in stored:
            continue
        former = stored[document.id]
        own_name = "Give the new connection a name of its own."
        if former.provider != document.provider:
            problems.append(
                one.problem(("provider",), f"`{document.id}` is a connection to {former.provider} already.", own_name)
            )
        elif document.account and former.account and document.account != former.account:
            problems.append(
                one.problem(("account",), f"`{document.id}` reaches the account {former.account} already.", own_name)
            )
    return problems


def _connection(desk: Desk, document: ConnectionDocument, former: Connection | None) -> _Applied:
    manifest = desk.deployment.provider(document.provider).manifest
    fresh = former is None
    if former is None:
        former = Connection(desk.tenant, document.id, document.provider)
    signed_in = _signed_in(desk, replace(former, through_agent=document.through_agent), manifest)
    if fresh and not signed_in:
        former = replace(
            former,
            state=ConnectionState.PAUSED,
            paused_because=NOT_SIGNED_IN,
            paused_at=desk.deployment.clock.now(),
        )
    wanted = replace(
        former,
        account=document.account or former.account,
        settings=document.settings,
        poll=document.poll,
        through_agent=document.through_agent,
    )
    if fresh or wanted != former:
        desk.deployment.config.put_connection(wanted)
    rate = document.poll or desk.poll_default
    moved = desk.schedules.put(wanted, rate, enabled=signed_in)
    return _Applied(
        name=f"connection {document.id}",
        end=CREATED if fresh else CHANGED if moved or wanted != former else UNCHANGED,
        webhook=desk.webhook_address(wanted) if manifest.webhooks else "",
        poll=rate if signed_in else f"{rate}, once somebody has signed in",
        sign_in="" if signed_in else f"tieout connect {document.id} --tenant {desk.tenant}",
    )


def _signed_in(desk: Desk, connection: Connection, manifest: Manifest) -> bool:
    if reached(connection, manifest) is not Reachability.CLOUD:
        return is_let_in(desk, connection.id)
    try:
        desk.deployment.secrets.read(desk.tenant, connection.id, fresh=True)
    except SettingsError:
        return False
    return True


def _sync(desk: Desk, document: SyncDocument) -> _Applied:
    config = desk.deployment.config
    former = next((sync for sync in config.syncs(desk.tenant) if sync.name == document.name), None)
    if former is not None and former.text.strip() == document.text.strip():
        return _Applied(f"sync {document.name}", UNCHANGED, former.version)
    version = former.version + 1 if former is not None else 1
    config.put_sync(StoredSync(desk.tenant, document.name, version, document.text, desk.deployment.clock.now()))
    if former is None:
        return _Applied(f"sync {document.name}", CREATED, version)
    return _Applied(
        f"sync {document.name}",
        CHANGED,
        version,
        may_rewrite=_standing(desk, document),
        rewrites=document.caps.rewrites,
    )


def _standing(desk: Desk, document: SyncDocument) -> int:
    """How many documents stand that the sync wrote."""
    links = desk.deployment.links
    return sum(
        link.target_id is not None and link.withdrawn is None
        for step in document.steps
        for link in links.all(desk.tenant, document.name, step)
    )
