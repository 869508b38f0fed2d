"""GoldMine behind the port. What needs SQLAlchemy is loaded when the database is first asked: Lambda has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from tieout.connectors.goldmine.catalogue import Catalogue
from tieout.connectors.goldmine.feed import Feed
from tieout.connectors.goldmine.manifest import MANIFEST, GoldMineSettings
from tieout.connectors.goldmine.translate import Translator
from tieout.domain.effects import Effect, Match, NotDone, Outcome
from tieout.domain.errors import RejectedError, SettingsError
from tieout.domain.records import Kind, Record
from tieout.ports.connector import Account, ChangePage, Context, Manifest

if TYPE_CHECKING:
    import sqlalchemy

    from tieout.connectors.goldmine.records import Companies, Contacts, Deals, Tables

IDS_PAGE = 1000

type Engines = Callable[[GoldMineSettings, Context], sqlalchemy.Engine]


class GoldMineConnector:
    """An open connection to one GoldMine database.

    Args:
        engines: Makes what opens the connections to the database; that of `database.py` if not given.
    """

    def __init__(self, context: Context, settings: GoldMineSettings, engines: Engines | None = None) -> None:
        self._context = context
        self._settings = settings
        self._engines = engines
        self._catalogue = Catalogue(settings.products)

    @property
    def manifest(self) -> Manifest:
        """What GoldMine can do."""
        return MANIFEST

    def probe(self) -> Account:
        """The database, after a look at its tables and at one customer."""
        self._tables.companies.page("", 1)
        place = self._settings.place
        return Account(place, place, self._settings.currency)

    # Reading

    def read(self, kind: Kind, ids: Sequence[str]) -> Sequence[Record]:
        """The records that are there, in as many queries as they have tables."""
        wanted = list(dict.fromkeys(ids))
        if kind is Kind.PRODUCT:
            return self._catalogue.read(wanted)
        return self._source(kind).records(wanted) if wanted else []

    def search(self, kind: Kind, field: str, values: Sequence[str]) -> Sequence[Record]:
        """Records whose `name` (or a contact's `email`) equals one of the values, ignoring case."""
        if kind is Kind.CONTACT and field == "email":
            return self._tables.contacts.with_email(values)
        if field != "name":
            raise RejectedError(
                f"A {kind.value} in GoldMine cannot be looked up by `{field}`.",
                field=field,
                next_step="Use `name`, or `email` of a contact.",
            )
        return self._catalogue.named(values) if kind is Kind.PRODUCT else self._source(kind).named(values)

    def changes(self, kind: Kind, cursor: str | None) -> ChangePage:
        """What changed since; see `feed.py`."""
        return self._catalogue.changes(cursor) if kind is Kind.PRODUCT else self._feed(kind).changes(cursor)

    def cursor_now(self, kind: Kind) -> str:
        """Where the feed stands now."""
        return self._catalogue.cursor_now() if kind is Kind.PRODUCT else self._feed(kind).cursor_now()

    def ids(self, kind: Kind, after: str | None) -> tuple[Sequence[str], str | None]:
        """One page of ids, in binary order."""
        if kind is Kind.PRODUCT:
            return self._catalogue.ids(), None
        found, last = self._source(kind).page(after or "", IDS_PAGE)
        return found, last or None

    # Writing

    def find(self, effects: Sequence[Effect]) -> Mapping[str, Sequence[Match]]:  # noqa: ARG002 - the port's form
        """Nothing: we create no records in GoldMine, and an update knows its record."""
        return {}

    def write(self, effects: Sequence[Effect]) -> Sequence[Outcome]:
        """Updates of user-defined fields, if the settings allow them; see `writing.py`."""
        if not self._settings.write_user_fields:
            return [NotDone(effect.id, _not_allowed()) for effect in effects]
        try:
            tables = self._tables
        except SettingsError as error:
            return [NotDone(effect.id, RejectedError(error.message, next_step=error.next_step)) for effect in effects]
        from tieout.connectors.goldmine.writing import Writer  # noqa: PLC0415 - Lambda has no SQLAlchemy

        writer = Writer(tables, self._settings, self._context.clock)
        return [writer.write(effect) for effect in effects]

    # What it is made of

    def _feed(self, kind: Kind) -> Feed:
        settings = self._settings
        compare_after = timedelta(hours=settings.compare_hours)
        return Feed(self._source(kind), self._context.clock, zone=settings.time_zone, compare_after=compare_after)

    def _source(self, kind: Kind) -> Companies | Contacts | Deals:
        if kind is Kind.COMPANY:
            return self._tables.companies
        return self._tables.contacts if kind is Kind.CONTACT else self._tables.deals

    @cached_property
    def _tables(self) -> Tables:
        """Opens no connection yet.

        Raises:
            SettingsError: If SQLAlchemy or the driver is not installed here.
        """
        try:
            from tieout.connectors.goldmine.database import Database, engine_of  # noqa: PLC0415 - Lambda has no SQLAlchemy
            from tieout.connectors.goldmine.records import Tables  # noqa: PLC0415 - same

            engine = (self._engines or engine_of)(self._settings, self._context)
        except ImportError as error:
            raise SettingsError(
                f"GoldMine can only be reached where {error.name} is installed: by the agent, beside the SQL Server.",
                next_step="Install the agent in the office (docs/on-premises.md).",
            ) from None
        return Tables(Database(engine, self._context.clock), Translator(self._settings))


def _not_allowed() -> RejectedError:
    return RejectedError(
        "This connection only reads GoldMine.",
        next_step=(
            "To let Tieout write user-defined fields straight into the database, set `write_user_fields: true` in the"
            " connection document; docs/providers/goldmine.md says what that means."
        ),
    )
