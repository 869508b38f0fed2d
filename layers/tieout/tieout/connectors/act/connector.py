"""Act! behind the port."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched
from typing import Any

from tieout.connectors.act import odata, translate
from tieout.connectors.act.auth import Token
from tieout.connectors.act.batch import Part
from tieout.connectors.act.client import PATHS, Client
from tieout.connectors.act.errors import error_of, is_success
from tieout.connectors.act.manifest import BATCH_PARTS_MAX, IDS_PER_PART, MANIFEST, ActSettings
from tieout.domain.documents import RecordUpdate
from tieout.domain.effects import Done, Effect, Match, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import NotFoundError, ProviderError, RejectedError, UnavailableError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Context, Manifest
from tieout.ports.http import Answer
from tieout.transport.cursors import stored_cursor
from tieout.transport.wire import encode

PAGE_SIZE = 250
IDS_PAGE_SIZE = 500
"""A server may give fewer than asked for (its maximum is not published), so only an empty page is the end."""

type WireRecord = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a feed stands.

    Attributes:
        edited: The time of edit as Act! gave it, to the last digit.
        id: The last record of that time that was given out; None means that the time itself is still to come.
        floor: Where to go back to at the end of the feed, because edits from then on may still become visible.
    """

    edited: str
    id: str | None = None
    floor: str | None = None

    @property
    def text(self) -> str:
        """For storing."""
        return json.dumps({"edited": self.edited, "id": self.id, "floor": self.floor})

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor of a stored text.

        Raises:
            UnavailableError: If it is none of ours.
        """

        def make(stored: Any) -> Cursor:  # noqa: ANN401 - JSON is anything
            odata.moment(stored["edited"])
            return cls(stored["edited"], stored["id"], stored["floor"])

        return stored_cursor(make, text, "Act!")

    @property
    def condition(self) -> str:
        """The `$filter` for what comes next."""
        return f"edited ge {odata.moment(self.edited)}" if self.id is None else odata.after(self.edited, self.id)


class ActConnector:
    """An open connection to one Act! database."""

    def __init__(self, context: Context, settings: ActSettings, tokens: MutableMapping[str, Token]) -> None:
        self._context = context
        self._settings = settings
        self._client = Client(context, settings, tokens)

    @property
    def manifest(self) -> Manifest:
        """What Act! can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The database, after a call that needs the API access permission."""
        self._client.version()
        self._client.rows(Part("GET", PATHS[Kind.CONTACT], {"$select": "id", "$top": "1"}))
        return Account(self._settings.database, self._settings.database)

    # Reading

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records, in one call: deals with their lines, companies with their main contact.

        A company's main contact is its oldest one with an e-mail address, or else its oldest. Companies of which no
        contact has an address take a second call.
        """
        return [self._record(kind, row, extra) for row, extra in self._fetch(kind, ids)]

    def _record(self, kind: Kind, row: WireRecord, extra: list[WireRecord]) -> Record:
        if kind is Kind.DEAL:
            return translate.record_of(kind, row, lines=extra)
        if kind is Kind.COMPANY:
            return translate.record_of(kind, row, main_contact=(extra[0] if extra else None,))
        return translate.record_of(kind, row)

    def _fetch(self, kind: Kind, ids: Sequence[str]) -> list[tuple[WireRecord, list[WireRecord]]]:
        """Each record as Act! sends it, with its lines (a deal) or its main contact (a company)."""
        wanted = list(dict.fromkeys(ids))
        lists = [
            _listing(kind, {"$filter": odata.equals_any("id", portion), "$top": str(IDS_PER_PART)})
            for portion in odata.portions("id", wanted, values_max=IDS_PER_PART)
        ]
        asked = [_extra_part(kind, one) for one in wanted] if kind in {Kind.DEAL, Kind.COMPANY} else []
        if not lists:
            return []
        answers = self._client.many([*lists, *asked], write=False)
        rows = [row for answer in answers[: len(lists)] for row in self._client.rows_of(answer)]
        extras = {
            _fold(one): self._rows_unless_gone(answer)
            for one, answer in zip(wanted, answers[len(lists) :], strict=False)
        }
        if kind is Kind.COMPANY:
            extras |= self._contacts_without_email([row["id"] for row in rows if not extras[_fold(row["id"])]])
        return [(row, extras.get(_fold(row["id"]), [])) for row in rows]

    def _rows_unless_gone(self, answer: Answer) -> list[WireRecord]:
        try:
            return self._client.rows_of(answer)
        except NotFoundError:
            return []

    def _contacts_without_email(self, companies: Sequence[str]) -> dict[str, list[WireRecord]]:
        if not companies:
            return {}
        answers = self._client.many([_oldest_contact(one) for one in companies], write=False)
        return {_fold(one): self._client.rows_of(answer) for one, answer in zip(companies, answers, strict=True)}

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose field equals one of the values. Deals come without lines, companies without contact.

        Whether case matters is the collation of the server's database; by default it does not.
        """
        theirs = translate.SEARCHABLE[kind].get(field)
        if theirs is None:
            raise RejectedError(
                f"A {kind.value} in Act! cannot be looked up by `{field}`.",
                field=field,
                next_step=f"Use one of: {', '.join(translate.SEARCHABLE[kind])}.",
            )
        parts = [
            _listing(kind, {"$filter": odata.equals_any(theirs, portion), "$top": str(IDS_PAGE_SIZE)})
            for portion in odata.portions(theirs, list(dict.fromkeys(values)), values_max=len(values))
        ]
        found = {
            row["id"]: row
            for chunk in batched(parts, BATCH_PARTS_MAX, strict=False)
            for answer in self._client.many(chunk, write=False)
            for row in self._client.rows_of(answer)
        }
        return [translate.record_of(kind, row) for row in found.values()]

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """Records in the order of their edit; deals come without lines and companies without contact: read them again.

        Pages begin behind the last record given out, by time and then id, so equal times lose and repeat nothing.
        Records younger than the overlap setting are given out again after the end of the feed until they are older,
        so an edit that becomes visible late, or at the very time of a page's end, is still found.
        """
        stands = Cursor.of(cursor) if cursor is not None else None
        options = {"$orderby": "edited,id", "$top": str(PAGE_SIZE)}
        if stands is not None:
            options["$filter"] = stands.condition
        safe = self._safe()
        rows = self._client.rows(_listing(kind, options))
        if not rows:
            return ChangePage([], _at_rest(stands, safe).text, more=False)
        last = rows[-1]
        if stands is not None and (last["edited"], last["id"]) == (stands.edited, stands.id):
            raise UnavailableError(
                "Act! lists the same records again and again: its list is not in the order of edit time and id.",
                detail=f"kind {kind.value}",
            )
        floor = stands.floor if stands is not None else None
        behind = Cursor(last["edited"], last["id"], floor or _floor(last["edited"], safe))
        return ChangePage([translate.record_of(kind, row) for row in rows], behind.text, more=True)

    def cursor_now(self, kind: Kind) -> str:
        """Behind the record that was edited last, or the overlap before now if that is earlier."""
        options = {"$select": "id,edited", "$orderby": "edited desc,id desc", "$top": "1"}
        safe = self._safe()
        rows = self._client.rows(_listing(kind, options))
        newest = Cursor(rows[0]["edited"], rows[0]["id"], _floor(rows[0]["edited"], safe)) if rows else None
        return _at_rest(newest, safe).text

    def _safe(self) -> datetime:
        """The time before which every edit is visible by now; taken before a list is read."""
        return self._context.clock.now() - timedelta(minutes=self._settings.overlap_minutes)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of ids, in the server's order of ids."""
        options = {"$select": "id", "$orderby": "id", "$top": str(IDS_PAGE_SIZE)}
        if after is not None:
            options["$filter"] = f"id gt {odata.text(after)}"
        ids = [row["id"] for row in self._client.rows(_listing(kind, options))]
        if ids and ids[-1] == after:
            raise UnavailableError("Act! lists the same ids again and again.", detail=f"kind {kind.value}")
        return ids, ids[-1] if ids else None

    # Writing

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:  # noqa: ARG002 - the port's form
        """Nothing: we create no records in Act!, and an update knows its record."""
        return {}

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """Read the records, replace them whole with the new fields, read them back and compare.

        PATCH is not used: it is known to answer 200 and change nothing. Act! knows no versions, so an edit by someone
        else between our reading and our writing, a moment later, is lost: the last writer wins.
        """
        outcomes: list[Outcome] = []
        seen: Counter[tuple[Kind, str]] = Counter()
        rounds: dict[tuple[Kind, int], list[Effect]] = {}
        for effect in effects:
            if effect.operation is Operation.UPDATE and effect.target_id and isinstance(effect.document, RecordUpdate):
                # Two effects on one record go one after the other: each writes the whole record.
                target = effect.kind, _fold(effect.target_id)
                rounds.setdefault((effect.kind, seen[target]), []).append(effect)
                seen[target] += 1
            else:
                outcomes.append(NotDone(effect.id, _only_updates(effect)))
        for (kind, _), group in rounds.items():
            outcomes += self._update(kind, group)
        return outcomes

    def _update(self, kind: Kind, effects: Sequence[Effect]) -> Iterator[Outcome]:
        try:
            found = {_fold(row["id"]): (row, extra) for row, extra in self._fetch(kind, _targets(effects))}
        except ProviderError as error:
            yield from (NotDone(effect.id, error) for effect in effects)
            return
        puts: list[_Puts] = []
        for effect in effects:
            row, extra = found.get(_fold(effect.target_id or ""), (None, []))
            try:
                if row is None:
                    raise NotFoundError(f"Act! has no {kind.value} {effect.target_id}, or its user may not see it.")
                planned = _puts(effect, row, extra)
            except ProviderError as error:
                yield NotDone(effect.id, error)
                continue
            if planned.parts:
                puts.append(planned)
            else:
                yield Done(effect.id, self._record(kind, row, extra))
        if puts:
            yield from self._put(kind, puts)

    def _put(self, kind: Kind, puts: Sequence[_Puts]) -> Iterator[Outcome]:
        """A company with its contact takes two parts.

        If one is done and the other is not, doing both again is right: the first then finds its values there already.
        """
        try:
            answers = iter(self._client.many([part for each in puts for part in each.parts], write=True))
        except ProviderError as error:
            yield from (_not_well(each.effect, error) for each in puts)
            return
        written: list[_Puts] = []
        for each in puts:
            errors = [wrong for _ in each.parts if (wrong := self._error_of(next(answers))) is not None]
            if errors:
                lost = next((one for one in errors if isinstance(one, UncertainError)), None)
                yield _not_well(each.effect, lost or errors[0])
            else:
                written.append(each)
        yield from self._read_back(kind, written)

    def _error_of(self, answer: Answer) -> ProviderError | None:
        if not is_success(answer):
            return error_of(answer, write=True, now_seconds=self._client.now_seconds())
        return None if _is_record(answer) else UncertainError("What answered the change was not Act!.")

    def _read_back(self, kind: Kind, puts: Sequence[_Puts]) -> Iterator[Outcome]:
        effects = [each.effect for each in puts]
        try:
            found = {_fold(row["id"]): (row, extra) for row, extra in self._fetch(kind, _targets(effects))}
        except ProviderError as error:
            lost = UncertainError(f"What Act! wrote could not be read back: {error.message}", detail=error.detail)
            yield from (Unknown(effect.id, lost) for effect in effects)
            return
        for each in puts:
            effect = each.effect
            row, extra = found.get(_fold(effect.target_id or ""), (None, []))
            if row is None:
                yield NotDone(effect.id, NotFoundError(f"The {kind.value} vanished from Act! while it was written."))
                continue
            path = _differing(effect, row, extra, each.contact_id)
            if path is None:
                yield Done(effect.id, self._record(kind, row, extra))
            else:
                yield NotDone(effect.id, _not_taken(kind, path))


@dataclass(frozen=True, slots=True)
class _Puts:
    """The changes that one effect takes: of the record, and of a company's main contact."""

    effect: Effect
    parts: tuple[Part, ...]
    contact_id: str = ""


def _puts(effect: Effect, row: WireRecord, extra: Sequence[WireRecord]) -> _Puts:
    """What has to be put so that the record has the effect's fields; nothing if it has them.

    Raises:
        RejectedError: Naming the field that cannot be written.
    """
    kind, (own, contacts) = effect.kind, translate.split(effect.kind, effect.document.as_fields())
    parts: list[Part] = []
    new = translate.updated(kind, row, own)
    if translate.differing(kind, row, own) is not None:
        parts.append(Part("PUT", f"{PATHS[kind]}/{row['id']}", body=encode(new)))
    if not contacts:
        return _Puts(effect, tuple(parts))
    if not extra:
        raise RejectedError(
            "The company has no contact in Act! that this could be written to.",
            field=f"contact.{next(iter(contacts))}",
            next_step="Add a contact to the company in Act!, then retry.",
        )
    contact = extra[0]
    new = translate.updated(Kind.CONTACT, contact, contacts)
    if translate.differing(Kind.CONTACT, contact, contacts) is not None:
        parts.append(Part("PUT", f"{PATHS[Kind.CONTACT]}/{contact['id']}", body=encode(new)))
    return _Puts(effect, tuple(parts), _fold(str(contact["id"])))


def _differing(effect: Effect, row: WireRecord, extra: Sequence[WireRecord], contact_id: str) -> str | None:
    """The first of the effect's paths whose value was not kept.

    Without an e-mail address, the contact may not be the main one any more: then another one is not compared.
    """
    own, contacts = translate.split(effect.kind, effect.document.as_fields())
    path = translate.differing(effect.kind, row, own)
    if path is None and contacts and extra and _fold(str(extra[0]["id"])) == contact_id:
        path = translate.differing(Kind.CONTACT, extra[0], contacts)
        return None if path is None else f"contact.{path}"
    return path


def _listing(kind: Kind, options: Mapping[str, str]) -> Part:
    return Part("GET", PATHS[kind], options)


def _extra_part(kind: Kind, one: str) -> Part:
    if kind is Kind.DEAL:
        return Part("GET", f"{PATHS[kind]}/{odata.segment(one)}/products", {"$top": str(IDS_PAGE_SIZE)})
    condition = f"companyID eq {odata.text(one)} and emailAddress ne null and emailAddress ne ''"
    return _listing(Kind.CONTACT, {"$filter": condition, "$orderby": "created,id", "$top": "1"})


def _oldest_contact(company: str) -> Part:
    condition = f"companyID eq {odata.text(company)}"
    return _listing(Kind.CONTACT, {"$filter": condition, "$orderby": "created,id", "$top": "1"})


def _is_record(answer: Answer) -> bool:
    """True unless something else than Act! answered, such as a proxy's page."""
    try:
        return not answer.body or isinstance(answer.json(), dict)
    except ValueError:
        return False


def _fold(guid: str) -> str:
    """Ids are GUIDs: the same in either case."""
    return guid.lower()


def _floor(edited: str, safe: datetime) -> str | None:
    """The safe time, if the edit is younger."""
    moment = translate.edited_at(edited)
    return safe.isoformat() if moment is None or moment > safe else None


def _at_rest(stands: Cursor | None, safe: datetime) -> Cursor:
    """From where to go on once the end of a feed was reached."""
    if stands is None:
        return Cursor(safe.isoformat())
    return Cursor(stands.floor) if stands.floor is not None else stands


def _targets(effects: Sequence[Effect]) -> list[str]:
    return [effect.target_id for effect in effects if effect.target_id]


def _not_well(effect: Effect, error: ProviderError) -> Outcome:
    return Unknown(effect.id, error) if isinstance(error, UncertainError) else NotDone(effect.id, error)


def _only_updates(effect: Effect) -> RejectedError:
    return RejectedError(
        f"Tieout does not create a {effect.kind.value} in Act!; it updates fields of records that are there.",
        next_step="Let the step write back to the record that it came from (`pairs`).",
    )


def _not_taken(kind: Kind, path: str) -> RejectedError:
    return RejectedError(
        f"Act! accepted the change of a {kind.value} but did not keep the field `{path}`.",
        field=path,
        next_step=(
            f"Check in Act! that the field behind `{path}` exists for this kind of record, that its type takes the"
            " value, and that the user of this connection may edit it; then retry."
        ),
    )
