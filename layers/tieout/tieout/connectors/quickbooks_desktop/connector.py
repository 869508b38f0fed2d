"""An open connection to one company file: the methods of `tieout.ports.connector.Connector`."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import batched
from typing import cast
from xml.etree.ElementTree import Element

from tieout.connectors.quickbooks_desktop.client import Client
from tieout.connectors.quickbooks_desktop.company import Company
from tieout.connectors.quickbooks_desktop.errors import CLOSED, NOT_PARSED, refusal, unreadable
from tieout.connectors.quickbooks_desktop.feed import Feed
from tieout.connectors.quickbooks_desktop.manifest import MANIFEST, parse_settings
from tieout.connectors.quickbooks_desktop.qbxml import (
    Ask,
    Replies,
    Reply,
    UnreadableError,
    date_of,
    message_set,
    text_of,
)
from tieout.connectors.quickbooks_desktop.translate import (
    ENTITIES,
    LISTS,
    is_sold,
    is_void,
    parts,
    query_by_id,
    same_name,
    to_asks,
    to_record,
)
from tieout.domain.documents import CreditNote, Customer, Estimate, Invoice, Item
from tieout.domain.effects import Done, Effect, Match, MatchedBy, NotDone, Operation, Outcome, Unknown
from tieout.domain.errors import ConflictError, ProviderError, RejectedError, UnavailableError, UncertainError
from tieout.domain.records import Kind, Record
from tieout.matching.contacts import mailbox
from tieout.matching.names import beginning
from tieout.ports.connector import Account, ChangePage, Context, Manifest

_NAMES_MAX = 50
# More customers that begin alike are not compared: a name so common says nothing.
_ALIKE_MAX = 25
# QuickBooks keeps ids of message sets of up to 23 characters. Source: is2qb.com/documentation, read 2026-11-22.
_SET_ID_DIGITS = 22
# Replies to a whole message set that say that nothing of it was done: its id is known with another content (9001), or
# is none (9004). Source: IntuitDeveloper/QBXML_SDK_Samples, read 2026-11-22.
_SET_REFUSED = frozenset({9001, 9004})
# Saved, and something to note, such as 550: the note of a record could not be saved.
_WARNINGS = range(500, 1000)


class QuickBooksDesktopConnector:
    """Reads and writes one company file. Holds no personal data beyond a call."""

    def __init__(self, context: Context) -> None:
        connection = context.connection
        settings = parse_settings(connection.settings)
        self._client = Client(context.http)
        self._company = Company(self._client, settings, connection.account, context.clock)
        self._feed = Feed(self._client, self._company, settings.page_records, context.clock)

    @property
    def manifest(self) -> Manifest:
        """What QuickBooks Desktop can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The company that is open, be it the connection's or not: its name is all that tells it from others."""
        self._company.forget()
        name = self._company.name
        with suppress(UnavailableError):  # another one is forgotten, so that the next call looks again
            self._company.check_is_ours()
        if not name:
            raise unreadable("a company without a name", write=False)
        return Account(name, name, self._company.home_currency)

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records with these ids; an invoice also says when its last payment came, if it has any."""
        if not ids:
            return []
        self._company.check_is_ours()
        (reply,) = self._client.ask(query_by_id(kind, list(ids)))
        return self._records(kind, reply)

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose name equals one of the values but for case; of customers, those that stand below no other."""
        if not values:
            return []
        if kind not in LISTS or field != "name":
            raise RejectedError(f"QuickBooks cannot search {kind.value} records by `{field}`.", field=field)
        self._company.check_is_ours()
        wanted = {value.casefold() for value in values}
        found = self._named(kind, values)
        return [record for record in found if str(record.fields.get("name") or "").casefold() in wanted]

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """A page of the change feed."""
        return self._feed.changes(kind, cursor)

    def cursor_now(self, kind: Kind) -> str:
        """A cursor from now on."""
        return self._feed.now(kind)

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """A page of all ids."""
        self._company.check_is_ours()
        return self._feed.ids(kind, after)

    # ---- finding ----

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:
        """By effect id, what may already be its document: by name or number first, then by customer and date.

        The reply that QuickBooks keeps of a message set is not asked for here: the set holds whatever went together
        that time, and asking may store one. It counts when the same set is written again, see `write`.
        """
        self._company.refresh()
        self._company.check_is_ours()
        found: dict[str, Sequence[Match]] = {}
        by_kind: defaultdict[Kind, list[Effect]] = defaultdict(list)
        for effect in effects:
            by_kind[effect.kind].append(effect)
        for kind, of_kind in by_kind.items():
            found |= self._find_named(kind, of_kind) if kind in LISTS else self._find_documents(kind, of_kind)
        return found | self._find_similar(effects, found)

    def _find_named(self, kind: Kind, effects: Sequence[Effect]) -> dict[str, Sequence[Match]]:
        """By name, below the same customer; one that bears our tag is ours, whatever its name looks like."""
        names = {effect.id: cast("Customer | Item", effect.document).name for effect in effects}
        above = {effect.id: _parent(effect) for effect in effects}
        prefixes = self._full_names([each for each in above.values() if each])
        full = {key: (f"{prefixes[above[key]]}:" if above[key] in prefixes else "") + names[key] for key in names}
        records = self._named(kind, sorted(full.values()))
        matches: dict[str, Sequence[Match]] = {}
        for effect in effects:
            mine = [record for record in records if record.fields.get("reference") == effect.reference]
            alike = [
                record
                for record in records
                if same_name(str(record.fields["name"])) == same_name(names[effect.id])
                and (record.fields.get("parent") or "") == above[effect.id]
            ]
            if mine:
                matches[effect.id] = [Match(record, MatchedBy.REFERENCE) for record in mine]
            elif alike:
                matches[effect.id] = [Match(record, MatchedBy.NATURAL_KEY) for record in alike]
        return matches

    def _full_names(self, ids: Sequence[str]) -> dict[str, str]:
        if not ids:
            return {}
        (reply,) = self._client.ask(Ask("CustomerQueryRq", {"ListID": sorted(set(ids))}))
        return {
            key: name
            for each in reply.records()
            if (key := text_of(each, "ListID")) and (name := text_of(each, "FullName"))
        }

    def _named(self, kind: Kind, full_names: Sequence[str]) -> list[Record]:
        """Records with these full names, inactive ones too, in whatever case they are written."""
        asked = list(dict.fromkeys(form for name in full_names for form in (name, " ".join(name.split())) if form))
        queries = [
            Ask(f"{ENTITIES[kind]}QueryRq", {"FullName": list(some)})
            for some in batched(asked, _NAMES_MAX, strict=False)
        ]
        found = [record for reply in self._client.ask(*queries) for record in self._records(kind, reply)]
        return list({record.id: record for record in found}.values())

    def _find_documents(self, kind: Kind, effects: Sequence[Effect]) -> dict[str, Sequence[Match]]:
        """By number, then among the customer's documents of that date; our mark decides in both."""
        name, whole = f"{ENTITIES[kind]}QueryRq", parts(kind)
        documents = {effect.id: cast("Invoice | CreditNote | Estimate", effect.document) for effect in effects}
        matches: dict[str, Sequence[Match]] = {}
        numbers = sorted({document.number for document in documents.values() if document.number})
        if numbers:
            (reply,) = self._client.ask(Ask(name, {"RefNumber": numbers} | whole))
            matches |= _ours(effects, self._records(kind, reply))
        missing = [effect for effect in effects if effect.id not in matches]
        asked = sorted({(documents[effect.id].customer, documents[effect.id].date) for effect in missing})
        if asked:
            queries = [
                Ask(
                    name,
                    {"EntityFilter": {"ListID": customer}, "TxnDateRangeFilter": {"FromTxnDate": day, "ToTxnDate": day}}
                    | whole,
                )
                for customer, day in asked
            ]
            replies = self._client.try_to(*queries)
            for reply in replies:
                if not reply.found and reply.code not in _CUSTOMER_GONE:
                    raise refusal(reply.code, reply.message, write=False)
            records = [record for reply in replies if reply.found for record in self._records(kind, reply)]
            matches |= _ours(missing, records)
        return matches

    def _find_similar(
        self, effects: Sequence[Effect], found: Mapping[str, Sequence[Match]]
    ) -> dict[str, Sequence[Match]]:
        """What was found, with customers that may be the same; nothing more is asked where our own stands already."""
        asked = {
            effect.id: effect.document
            for effect in effects
            if effect.similar
            and isinstance(effect.document, Customer)
            and not any(match.by is MatchedBy.REFERENCE for match in found.get(effect.id, ()))
        }
        starts = {key: beginning(document.name).replace(":", " ").strip() for key, document in asked.items()}
        queries = [
            Ask(
                "CustomerQueryRq",
                {
                    "MaxReturned": _ALIKE_MAX,
                    "ActiveStatus": "All",
                    "NameFilter": {"MatchCriterion": "StartsWith", "Name": start},
                },
            )
            for start in sorted({start for start in starts.values() if start})
        ]
        if not queries:
            return {}
        replies = self._client.ask(*queries)
        records = {one.id: one for reply in replies for one in self._records(Kind.CUSTOMER, reply)}.values()
        matches: dict[str, Sequence[Match]] = {}
        for key, document in asked.items():
            exact = list(found.get(key, ()))
            known = {match.record.id for match in exact}
            alike = [one for one in records if one.id not in known and _is_alike(one, starts[key], document)]
            if alike:
                matches[key] = exact + [Match(one, MatchedBy.SIMILAR) for one in alike]
        return matches

    # ---- writing ----

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """One outcome for each effect; all of them go in one message set, and a refused one does not stop the others.

        The set bears an id that is computed from what it says and tries: QuickBooks answers a set that it knows with
        what it answered then. If QuickBooks cannot read the set, nothing of it was done, and each effect goes alone.
        """
        self._company.refresh()
        try:
            self._company.check_is_ours()
            stands = self._standing(effects)
        except ProviderError as error:
            return [NotDone(each.id, error) for each in effects]
        outcomes: list[Outcome] = []
        asks: dict[str, list[Ask]] = {}
        for effect in effects:
            try:
                self._check(effect, stands)
                asks[effect.id] = to_asks(effect, stands.get(effect.id), self._company)
            except (RejectedError, ConflictError) as error:
                outcomes.append(NotDone(effect.id, error))
            except ProviderError as error:  # a look-up failed: nothing was sent, and the next would fail too
                return [NotDone(each.id, error) for each in effects]
        sent = [effect for effect in effects if effect.id in asks]
        if sent:
            outcomes += self._write_set(sent, asks)
        if any(isinstance(one, NotDone) and one.error.code == CLOSED for one in outcomes):
            self._company.forget()  # once somebody opened the period, a new try is to see that
        return outcomes

    def _standing(self, effects: Sequence[Effect]) -> dict[str, Element]:
        """By effect id, what QuickBooks has now of that which an update depends on.

        Raises:
            ProviderError: If it cannot be read; nothing was sent.
        """
        closed = self._company.closed_until is not None
        wanted: defaultdict[Kind, dict[str, str]] = defaultdict(dict)
        for effect in effects:
            needed = effect.kind in _READ_BEFORE or is_void(effect.document) or (closed and effect.kind not in LISTS)
            if effect.operation is Operation.UPDATE and needed and effect.target_id:
                wanted[effect.kind][effect.id] = effect.target_id
        if not wanted:
            return {}
        replies = self._client.ask(*(query_by_id(kind, sorted(set(ids.values()))) for kind, ids in wanted.items()))
        found = {
            (kind, text_of(each, "ListID") or text_of(each, "TxnID")): each
            for kind, reply in zip(wanted, replies, strict=True)
            for each in reply.records()
        }
        return {
            key: found[kind, target]
            for kind, ids in wanted.items()
            for key, target in ids.items()
            if (kind, target) in found
        }

    def _check(self, effect: Effect, stands: Mapping[str, Element]) -> None:
        """Return if nothing that we know speaks against it.

        QuickBooks may let an app write in a closed period, if it asks for no password; we never do. Voiding heeds no
        edit sequence, so that it is compared here.

        Raises:
            RejectedError: If the document is, or was, dated in the closed period.
            ConflictError: If somebody changed an invoice that is to be voided.
        """
        document, stood = effect.document, stands.get(effect.id)
        if stood is not None and is_void(document) and text_of(stood, "EditSequence") != effect.target_version:
            raise ConflictError("Somebody changed this record in QuickBooks meanwhile.")
        closed = self._company.closed_until
        if closed is None or not isinstance(document, Invoice | CreditNote | Estimate):
            return
        days: list[date | None] = [] if is_void(document) else [document.date]
        if stood is not None:
            days.append(_day(stood))
        early = [day for day in days if day is not None and day <= closed]
        if early:
            raise RejectedError(
                f"The books are closed up to {closed.isoformat()}, and this {effect.kind.value.replace('_', ' ')} is "
                f"dated {early[0].isoformat()}.",
                field="date",
                code=CLOSED,
                next_step="Change the date, or open the period in QuickBooks (Edit, Preferences, Accounting).",
            )

    def _write_set(self, sent: Sequence[Effect], asks: Mapping[str, list[Ask]]) -> list[Outcome]:
        requests = [ask for effect in sent for ask in asks[effect.id]]
        try:
            replies = self._client.write(requests, _set_id(requests, sent))
        except UncertainError as error:
            return [Unknown(effect.id, error) for effect in sent]
        except ProviderError as error:
            if error.code == NOT_PARSED and len(sent) > 1:
                return [outcome for effect in sent for outcome in self._write_set([effect], asks)]
            return [NotDone(effect.id, error) for effect in sent]
        if replies.status in _SET_REFUSED:
            known = refusal(replies.status, "the message set is known with another content", write=False)
            return [NotDone(effect.id, known) for effect in sent]
        outcomes, position = [], 0
        for effect in sent:
            positions = range(position, position + len(asks[effect.id]))
            outcomes.append(self._outcome(effect, [replies.by_position.get(each) for each in positions], replies))
            position = positions.stop
        return outcomes

    def _outcome(self, effect: Effect, replies: Sequence[Reply | None], whole: Replies) -> Outcome:
        """What became of one effect: its own reply says whether it is done, and the last one what stands there now."""
        first, last = replies[0], replies[-1]
        if first is None:
            return Unknown(effect.id, _uncertain(f"no reply, set status {whole.status}"))
        if first.code != 0 and first.code not in _WARNINGS:
            refused = refusal(first.code, first.message, write=True)
            return Unknown(effect.id, refused) if isinstance(refused, UncertainError) else NotDone(effect.id, refused)
        try:
            rows = [each for each in last.records() if text_of(each, "EditSequence")] if last is not None else []
            return Done(effect.id, to_record(effect.kind, rows[0], self._company))
        except (UnreadableError, IndexError, ProviderError):
            return Unknown(effect.id, _uncertain("written, and what stands there now is not told"))

    def _records(self, kind: Kind, reply: Reply) -> list[Record]:
        try:
            return [to_record(kind, each, self._company) for each in reply.records() if is_sold(each)]
        except UnreadableError as error:
            raise unreadable(str(error), write=False) from None


# Their edits depend on what stands there: the form of an item's prices, the note that bears an estimate's state.
_READ_BEFORE = frozenset({Kind.ITEM, Kind.ESTIMATE})
# A question about documents of a customer that is not there.
_CUSTOMER_GONE = frozenset({3120, 3140})


def _set_id(requests: Sequence[Ask], effects: Iterable[Effect]) -> str:
    """The same for the same writes, and new for a new try or changed content; 23 characters."""
    attempts = " ".join(f"{effect.id}:{effect.attempt}" for effect in effects)
    digits = hashlib.sha256(f"{attempts} {message_set(requests)}".encode()).hexdigest()
    return f"T{digits[:_SET_ID_DIGITS]}"


def _parent(effect: Effect) -> str:
    document = effect.document
    return (document.parent or "") if isinstance(document, Customer) else ""


def _day(element: Element) -> date | None:
    try:
        return date_of(element, "TxnDate")
    except UnreadableError:
        return None


def _uncertain(detail: str) -> UncertainError:
    return UncertainError("QuickBooks did not say whether it was written.", detail=detail)


def _is_alike(record: Record, start: str, document: Customer) -> bool:
    name, mail = same_name(str(record.fields.get("name") or "")), mailbox(document.email)
    return bool(start and name.startswith(same_name(start))) or (
        mail is not None and mailbox(record.fields.get("email")) == mail
    )


def _ours(effects: Sequence[Effect], records: Sequence[Record]) -> dict[str, Sequence[Match]]:
    """By effect id, the records that bear our tag."""
    matches: dict[str, Sequence[Match]] = {}
    for effect in effects:
        mine = [record for record in records if record.fields.get("reference") == effect.reference]
        if mine:
            matches[effect.id] = [Match(record, MatchedBy.REFERENCE) for record in mine]
    return matches
