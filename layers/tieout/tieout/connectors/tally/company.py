"""The company that a connection is for, and its masters by name: vouchers name ledgers and items, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from tieout.connectors.tally.client import Client
from tieout.connectors.tally.tdl import report, rows_of
from tieout.connectors.tally.wire import day_of
from tieout.domain.errors import ReconnectError, SettingsError, UnavailableError
from tieout.ports.clock import Clock
from tieout.transport.kept import KEPT_FOR

DEBTORS = "Sundry Debtors"
_PARENTS_MAX = 50
_NAMED_MAX = 5
_COMPANY = {
    "GUID": "$GUID",
    "NAME": "$Name",
    "BOOKSFROM": "$BooksFrom",
    "STATE": "$StateName",
    "MASTERS": "$AltMstId",
    "VOUCHERS": "$AltVchId",
    "EDUCATIONAL": "$$LicenseInfo:IsEducationalMode",
}
_LEDGER = {
    "GUID": "$GUID",
    "NAME": "$Name",
    "PARENT": "$Parent",
    "STATE": "$LedStateName",
    "COUNTRY": "$CountryOfResidence",
    "GSTIN": "$PartyGSTIN",
    "REGISTRATION": "$GSTRegistrationType",
}
_ITEM = {"GUID": "$GUID", "NAME": "$Name", "UNIT": "$BaseUnits"}
_UNIT = {"NAME": "$Name", "DECIMALS": "$DecimalPlaces"}
_GROUP = {"NAME": "$Name", "PARENT": "$Parent", "RESERVED": "$ReservedName"}


@dataclass(frozen=True, slots=True)
class OpenCompany:
    """A company that is open in Tally, as it is now.

    Attributes:
        masters, vouchers: Counters: what was saved last has this AlterID. They fall if a backup is restored.
        educational: Tally runs without a licence.
    """

    guid: str
    name: str
    state: str
    books_from: dt.date
    masters: int
    vouchers: int
    educational: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger; `debtor` if it stands under Sundry Debtors, however deep."""

    guid: str
    name: str
    debtor: bool
    state: str
    country: str
    gstin: str
    registration: str


@dataclass(frozen=True, slots=True)
class StockItem:
    """A stock item, with the name of its unit."""

    guid: str
    name: str
    unit: str


def folded(name: str) -> str:
    """Equal for names that Tally takes for one: without case, and spaces once."""
    return " ".join(name.split()).casefold()


type Rows = dict[str, Mapping[str, str]]


class Masters:
    """Ledgers, items and units of a company, as of one state of its counter.

    Args:
        counter: Of the company, when the rows were asked for.
        groups, units: By folded name.
        ledgers, items: By GUID.
    """

    def __init__(self, counter: int, groups: Rows, ledgers: Rows, items: Rows, units: Rows) -> None:
        self.counter = counter
        self.rows = (groups, ledgers, items, units)
        self.units = {name: _count(row.get("DECIMALS", "")) for name, row in units.items()}
        self._ledger_of = {guid: _ledger(row, groups) for guid, row in ledgers.items()}
        self._item_of = {guid: StockItem(guid, row.get("NAME", ""), row.get("UNIT", "")) for guid, row in items.items()}
        self.ledgers = {folded(each.name): each for each in self._ledger_of.values()}
        self.items = {folded(each.name): each for each in self._item_of.values()}

    def ledger(self, name: str) -> Ledger | None:
        """The ledger of this name."""
        return self.ledgers.get(folded(name))

    def item(self, name: str) -> StockItem | None:
        """The stock item of this name."""
        return self.items.get(folded(name))

    def ledger_of(self, guid: str) -> Ledger | None:
        """The ledger with this id."""
        return self._ledger_of.get(guid)

    def item_of(self, guid: str) -> StockItem | None:
        """The stock item with this id."""
        return self._item_of.get(guid)


def _ledger(row: Mapping[str, str], groups: Rows) -> Ledger:
    return Ledger(
        row.get("GUID", ""),
        row.get("NAME", ""),
        _is_debtor(row.get("PARENT", ""), groups),
        row.get("STATE", ""),
        row.get("COUNTRY", ""),
        row.get("GSTIN", ""),
        row.get("REGISTRATION", ""),
    )


class Companies:
    """Finds the connection's company among those that are open, before each call; keeps its masters until they change.

    Args:
        guid: Of the company; empty if it is not known yet.
        name: Its name; counts only without the GUID.
    """

    def __init__(self, client: Client, clock: Clock, guid: str, name: str) -> None:
        self._client = client
        self._clock = clock
        self._guid = guid.lower()
        self._name = name
        self._masters: Masters | None = None
        self._whole_at = clock.now()
        self._doubted = False

    def current(self) -> OpenCompany:
        """The connection's company, which is open now under whatever name.

        Raises:
            UnavailableError: If no company is open.
            ReconnectError: If others are open and this one is not.
            SettingsError: If the connection does not say its GUID.
        """
        found = self.one()
        if not self._guid:
            raise SettingsError(
                f"The connection does not say yet which company it is for: `{found.name}` has the GUID {found.guid}.",
                next_step="Connect it, or put this GUID into `company` of the connection's settings.",
            )
        return found

    def one(self) -> OpenCompany:
        """As `current`, but by its name, or as the only one that is open, where the GUID is not known yet."""
        companies = self._open()
        if not companies:
            raise UnavailableError(
                "No company is open in Tally, or Tally asks something at its start.",
                next_step="Open the company in Tally; what waits goes on by itself.",
            )
        found = [each for each in companies if self._may_be(each)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"`{each.name}`" for each in companies[:_NAMED_MAX])
        if not found:
            raise ReconnectError(
                f"Another company than the connection's is open in Tally: {names}. Nothing was read or written.",
                next_step="Open the connection's company in Tally, beside the others if you like. It then goes on.",
            )
        raise SettingsError(
            f"Several companies are open in Tally that the connection may be for: {names}.",
            next_step="Put the GUID of the right one into `company` of the connection's settings: "
            + ", ".join(f"{each.guid} is `{each.name}`" for each in found[:_NAMED_MAX])
            + ".",
        )

    def _may_be(self, company: OpenCompany) -> bool:
        if self._guid:
            return company.guid == self._guid
        return not self._name or folded(company.name) == folded(self._name)

    def masters(self, company: OpenCompany) -> Masters:
        """The company's masters: whole at first and every ten minutes, and in between what was saved since.

        What somebody deleted stays known until they are read whole.
        """
        known = self._masters
        if known is not None and known.counter == company.masters and not self._doubted:
            return known
        if known is None or company.masters <= known.counter or self._clock.now() - self._whole_at > KEPT_FOR:
            known = None
        groups = self._by_name("Group", _GROUP, company)
        if known is None or known.rows[0] != groups:
            known, self._whole_at = Masters(0, {}, {}, {}, {}), self._clock.now()
        where = f"$AlterID > {known.counter}" if known.counter else ""
        _, ledgers, items, units = known.rows
        self._masters = Masters(
            company.masters,
            groups,
            ledgers | self._by_guid("Ledger", _LEDGER, company, where),
            items | self._by_guid("StockItem", _ITEM, company, where),
            units | self._by_name("Unit", _UNIT, company, where),
        )
        self._doubted = False
        return self._masters

    def forget(self) -> None:
        """Read the masters again next time, whatever the counter says: one was just written."""
        self._doubted = True

    def _open(self) -> list[OpenCompany]:
        rows = rows_of(self._client.export(report("Company", _COMPANY, company="")))
        if any(row.get("GUID") and not (row.get("MASTERS") and row.get("VOUCHERS")) for row in rows):
            raise UnavailableError("Tally does not say the company's counters, without which no change can be seen.")
        return [
            OpenCompany(
                guid=row.get("GUID", "").lower(),
                name=row.get("NAME", ""),
                state=row.get("STATE", ""),
                books_from=day_of(row.get("BOOKSFROM", "")) or dt.date(1990, 4, 1),
                masters=_count(row.get("MASTERS", "")),
                vouchers=_count(row.get("VOUCHERS", "")),
                educational=row.get("EDUCATIONAL", "").casefold() == "yes",
            )
            for row in rows
            if row.get("GUID")
        ]

    def _by_guid(self, of: str, columns: Mapping[str, str], company: OpenCompany, where: str) -> Rows:
        root = self._client.export(report(of, columns, company=company.name, where=where))
        return {row.get("GUID", ""): row for row in rows_of(root)}

    def _by_name(self, of: str, columns: Mapping[str, str], company: OpenCompany, where: str = "") -> Rows:
        root = self._client.export(report(of, columns, company=company.name, where=where))
        return {folded(row.get("NAME", "")): row for row in rows_of(root)}


def _is_debtor(group: str, groups: Rows) -> bool:
    """True if the group is Sundry Debtors, or below it. It may have been renamed, so its reserved name counts."""
    for _ in range(_PARENTS_MAX):
        row = groups.get(folded(group), {})
        if folded(row.get("RESERVED", "") or group) == folded(DEBTORS):
            return True
        if not row.get("PARENT") or folded(row["PARENT"]) == folded(group):
            return False
        group = row["PARENT"]
    return False


def _count(digits: str) -> int:
    plain = digits.replace(",", "").strip()
    return int(plain) if plain.isdigit() else 0
