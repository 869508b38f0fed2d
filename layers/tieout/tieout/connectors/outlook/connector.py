"""Outlook behind the port."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tieout.connectors.outlook import translate, wire
from tieout.connectors.outlook.catalogue import Catalogue
from tieout.connectors.outlook.client import Client, Part
from tieout.connectors.outlook.errors import Reply, error_of
from tieout.connectors.outlook.feed import Cursor, Feed
from tieout.connectors.outlook.mailbox import LIST_SIZE, Mailbox
from tieout.connectors.outlook.manifest import MANIFEST, OutlookSettings
from tieout.connectors.outlook.subscriptions import Subscriptions
from tieout.connectors.outlook.wire import EXTENSION
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, Match, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import NotFoundError, ProviderError, RejectedError, UnavailableError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Context, Manifest

type Json = Mapping[str, Any]

_SEARCHABLE = {
    Kind.COMPANY: ("name",),
    Kind.CONTACT: ("name", "email"),
    Kind.DEAL: ("name",),
    Kind.PRODUCT: ("name",),
}


class OutlookConnector:
    """An open connection to one mailbox."""

    def __init__(self, context: Context, settings: OutlookSettings) -> None:
        self._context = context
        self._settings = settings
        self._client = Client(context, settings)
        self._mailbox = Mailbox(self._client, settings, context.clock)
        self._catalogue = Catalogue(settings.products)

    @property
    def manifest(self) -> Manifest:
        """What Outlook can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The person who signed in, or the mailbox that an application reads."""
        self._client.get(f"{self._settings.root}/contacts?$select=id&$top=1")
        if self._settings.mailbox:
            return Account(self._settings.mailbox.lower(), self._settings.mailbox)
        me = self._client.get("/me?$select=id,displayName,userPrincipalName")
        if not isinstance(me.get("id"), str):
            raise UnavailableError("Microsoft Graph does not say who signed in.")
        return Account(me["id"], str(me.get("userPrincipalName") or me.get("displayName") or me["id"]))

    # Reading

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with our extension, 20 contacts or 10 deals in a call."""
        if kind is Kind.PRODUCT:
            return self._catalogue.read(ids)
        return [self._record(kind, row, extension) for row, extension in self._fetch(kind, ids).values()]

    def _record(self, kind: Kind, row: Json, extension: Json | None) -> Record:
        if kind is Kind.DEAL:
            return translate.deal_record(row, extension, self._settings, self._mailbox.customer)
        return translate.contact_record(kind, row)

    def _fetch(self, kind: Kind, ids: Sequence[str]) -> dict[str, tuple[Json, Json | None]]:
        """By id, the record as Graph sends it, and the extension where it comes apart; without those that are gone."""
        wanted = list(dict.fromkeys(ids))
        asked = [self._mailbox.read_parts(kind, one) for one in wanted]
        replies = iter(self._client.many([part for parts in asked for part in parts], write=False))
        found: dict[str, tuple[Json, Json | None]] = {}
        for one, parts in zip(wanted, asked, strict=True):
            bodies = [self._body_unless_gone(next(replies)) for _ in parts]
            if bodies[0] is not None:
                found[one] = (bodies[0], bodies[1] if len(bodies) > 1 else None)
        return found

    def _body_unless_gone(self, reply: Reply) -> Json | None:
        try:
            return self._client.body_of(reply)
        except NotFoundError:
            return None

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values; compared here, since Exchange's filters know no companies."""
        if field not in _SEARCHABLE[kind]:
            raise RejectedError(
                f"A {kind.value} in Outlook cannot be looked up by `{field}`.",
                field=field,
                next_step=f"Use one of: {', '.join(_SEARCHABLE[kind])}.",
            )
        if kind is Kind.PRODUCT:
            return self._catalogue.named(values)
        wanted = {value.casefold() for value in values}
        rows = self._tasks() if kind is Kind.DEAL else self._mailbox.contacts(fresh=True)
        hits = [row["id"] for row in rows if wanted & {name.casefold() for name in _names(kind, field, row)}]
        return self.read(kind, hits)

    def _tasks(self) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            rows, after = self._listed(Kind.DEAL, after)
            yield from rows
            if after is None:
                return

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """One page of one folder; without our extension's fields and deals' customers: read the records again.

        Graph gives changes in no order, and some more than once.
        """
        if kind is Kind.PRODUCT:
            return self._catalogue.changes(cursor)
        page = self._feed(kind).page(Cursor() if cursor is None else Cursor.of(cursor))
        if kind is Kind.DEAL:
            records = [translate.deal_record(row, None, self._settings, None) for row in page.rows]
        else:
            records = [translate.contact_record(kind, row) for row in page.rows]
        return ChangePage(records, page.cursor.text, bool(page.cursor.pending), page.gone, deletions_unsure=page.unsure)

    def cursor_now(self, kind: Kind) -> str:
        """The end of the feed, which has to be read whole for that: Outlook knows no `from now on`."""
        return self._catalogue.cursor_now() if kind is Kind.PRODUCT else self._feed(kind).end().text

    def _feed(self, kind: Kind) -> Feed:
        return Feed(
            self._client,
            lambda: self._mailbox.collections(kind),
            lambda collection: self._mailbox.path(kind, collection),
        )

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of ids, folder by folder."""
        if kind is Kind.PRODUCT:
            return self._catalogue.ids(), None
        rows, further = self._listed(kind, after)
        return [row["id"] for row in rows], further

    def _listed(self, kind: Kind, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """One page of a plain list over all folders; `after` has what is still to come of it."""
        if after is None:
            pending, link = list(self._mailbox.collections(kind)), ""
        else:
            pending, link = _listing_of(after)
        size = f"$top={LIST_SIZE}" if kind is Kind.DEAL else f"$select=id&$top={LIST_SIZE}"
        body = self._client.follow(link) if link else self._client.get(f"{self._mailbox.path(kind, pending[0])}?{size}")
        further = body.get("@odata.nextLink")
        if not isinstance(further, str):
            further, pending = "", pending[1:]
        left = json.dumps({"pending": pending, "link": further}) if pending else None
        return self._client.rows_of(body), left

    # Notifications

    def subscribe(self) -> Sequence[str]:
        """Keep the notifications of this mailbox alive; see `subscriptions`. What was made or renewed, for the log."""
        return Subscriptions(self._context, self._settings, self._client, self._mailbox).keep()

    # Writing

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:  # noqa: ARG002 - the port's form
        """Nothing: we create no records in Outlook, and an update knows its record."""
        return {}

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """Read the records, patch what differs, then our extension, read them back and compare.

        The extension comes after the record, because writing it changes the record's ETag.
        """
        outcomes: list[Outcome] = []
        seen: Counter[tuple[bool, str]] = Counter()
        rounds: dict[tuple[Kind, int], list[Effect]] = {}
        for effect in effects:
            if effect.operation is Operation.UPDATE and effect.target_id and isinstance(effect.document, RecordUpdate):
                # Two effects on one record go one after the other; a company and its contact are one record.
                target = effect.kind is Kind.DEAL, effect.target_id
                rounds.setdefault((effect.kind, seen[target]), []).append(effect)
                seen[target] += 1
            else:
                outcomes.append(NotDone(effect.id, _only_updates(effect)))
        for kind, number in sorted(rounds, key=lambda key: key[1]):
            outcomes += self._update(kind, rounds[kind, number])
        return outcomes

    def _update(self, kind: Kind, effects: Sequence[Effect]) -> Iterator[Outcome]:
        try:
            found = self._fetch(kind, [effect.target_id or "" for effect in effects])
        except ProviderError as error:
            yield from (NotDone(effect.id, error) for effect in effects)
            return
        planned: list[_Planned] = []
        for effect in effects:
            try:
                planned.append(self._plan(effect, found.get(effect.target_id or "")))
            except ProviderError as error:
                yield NotDone(effect.id, error)
        for of_record in (True, False):
            due = [each for each in planned if (each.record if of_record else each.extension) is not None]
            failed = dict(self._sent(due, [each.record if of_record else each.extension for each in due]))
            yield from failed.values()
            planned = [each for each in planned if each.effect.id not in failed]
        yield from self._read_back(kind, planned)

    def _plan(self, effect: Effect, found: tuple[Json, Json | None] | None) -> _Planned:
        """What has to be sent for one effect.

        Raises:
            NotFoundError: If the record is gone.
            RejectedError: Naming the field that cannot be written.
        """
        kind = effect.kind
        if found is None:
            raise NotFoundError(f"Outlook has no such {kind.value}, or it is in another list or mailbox.")
        row = _whole(*found)
        patch, extension = translate.updated(kind, row, effect.document.as_fields(), self._settings)
        path = self._mailbox.record_path(kind, str(effect.target_id))
        etag = str(row.get("@odata.etag", "")) if kind is not Kind.DEAL else ""
        record = Part("PATCH", path, patch, etag) if patch else None
        known = any(wire.is_ours(each) for each in row.get("extensions") or ())
        holder = Part("PATCH", f"{path}/extensions/{EXTENSION}", extension) if known else None
        holder = holder or Part("POST", f"{path}/extensions", extension)
        return _Planned(effect, record, holder if extension is not None else None)

    def _sent(self, planned: Sequence[_Planned], parts: Sequence[Part | None]) -> Iterator[tuple[str, Outcome]]:
        """The outcomes of what did not end well, by effect id."""
        if not planned:
            return
        try:
            replies = self._client.many([part for part in parts if part is not None], write=True)
        except ProviderError as error:
            yield from ((each.effect.id, _not_well(each.effect, error)) for each in planned)
            return
        for each, reply in zip(planned, replies, strict=True):
            if not reply.is_success:
                yield each.effect.id, _not_well(each.effect, error_of(reply, write=True))
            elif not reply.understood:
                lost = UncertainError("What answered the change was not Microsoft Graph.")
                yield each.effect.id, Unknown(each.effect.id, lost)

    def _read_back(self, kind: Kind, planned: Sequence[_Planned]) -> Iterator[Outcome]:
        effects = [each.effect for each in planned]
        try:
            found = self._fetch(kind, [effect.target_id or "" for effect in effects])
            records = {one: self._record(kind, *pair) for one, pair in found.items()}
        except ProviderError as error:
            lost = UncertainError(f"What Outlook wrote could not be read back: {error.message}", detail=error.detail)
            yield from (Unknown(effect.id, lost) for effect in effects)
            return
        for each in planned:
            target = each.effect.target_id or ""
            if target not in found:
                gone = NotFoundError(f"The {kind.value} vanished from Outlook while it was written.")
                yield NotDone(each.effect.id, gone)
                continue
            path = translate.differing(
                _whole(*found[target]),
                (each.record.body if each.record else None) or {},
                each.extension.body if each.extension else None,
            )
            if path is None:
                yield Done(each.effect.id, records[target])
            else:
                yield NotDone(each.effect.id, _not_taken(kind, path))


@dataclass(frozen=True, slots=True)
class _Planned:
    """What one effect sends: for the record, and for our extension; None where nothing changes."""

    effect: Effect
    record: Part | None
    extension: Part | None


def _whole(row: Json, extension: Json | None) -> Json:
    """The record with the extension in its place, wherever it came from."""
    return row if extension is None else {**row, "extensions": [extension]}


def _listing_of(after: str) -> tuple[list[str], str]:
    try:
        stored = json.loads(after)
        return [str(one) for one in stored["pending"]], str(stored["link"])
    except (ValueError, KeyError, TypeError):
        raise UnavailableError("The stored place in Outlook's list cannot be read.") from None


def _names(kind: Kind, field: str, row: Json) -> list[str]:
    if kind is Kind.DEAL:
        names = [row.get("title")]
    elif field == "email":
        names = [each.get("address") for each in (row.get("emailAddresses") or ())[:1]]
    else:
        names = [(row.get("companyName") or row.get("displayName")) if kind is Kind.COMPANY else row.get("displayName")]
    return [name for name in names if isinstance(name, str)]


def _not_well(effect: Effect, error: ProviderError) -> Outcome:
    return Unknown(effect.id, error) if isinstance(error, UncertainError) else NotDone(effect.id, error)


def _only_updates(effect: Effect) -> RejectedError:
    return RejectedError(
        f"Tieout does not create a {effect.kind.value} in Outlook; it updates fields of records that are there.",
        next_step="Let the step write back to the record that it came from (`pairs`).",
    )


def _not_taken(kind: Kind, path: str) -> RejectedError:
    return RejectedError(
        f"Outlook accepted the change of a {kind.value} but did not keep `{path}`.",
        field=path,
        next_step=f"Check in Outlook that `{path}` of the record takes the value, then retry.",
    )
