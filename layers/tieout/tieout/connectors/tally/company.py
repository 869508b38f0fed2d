"""The company that a connection is for, and its masters by name: vouchers name ledgers and items, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tieout.connectors.tally.client import Client
from tieout.connectors.tally.manifest import Settings
from tieout.connectors.tally.tdl import report, rows_of
from tieout.connectors.tally.wire import day_of
from tieout.domain.errors import ReconnectError, SettingsError, UnavailableError

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


class Masters:
    """Ledgers, items and units of a company, as of one state of its counter."""

    def __init__(
        self, ledgers: Iterable[Ledger], items: Iterable[StockItem], units: Mapping[str, int], counter: int
    ) -> None:
        self.counter = counter
        self.units = units
        self.ledgers = {folded(each.name): each for each in ledgers}
        self.items = {folded(each.name): each for each in items}
        self._ledger_of = {each.guid: each for each in self.ledgers.values()}
        self._item_of = {each.guid: each for each in self.items.values()}

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


class Companies:
    """Finds the connection's company among those that are open, before each call; keeps its masters until they change.

    Args:
        guid: Of the company; empty if it is not known yet.
        name: Its name; counts only without the GUID.
    """

    def __init__(self, client: Client, settings: Settings, guid: str, name: str) -> None:
        self._client = client
        self._settings = settings
        self._guid = guid.lower()
        self._name = name
        self._masters: Masters | None = None

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
        """The company's masters; read again if its counter says that one of them was saved."""
        if self._masters is None or self._masters.counter != company.masters:
            self._masters = self._read_masters(company)
        return self._masters

    def forget(self) -> None:
        """Read the masters again next time: one was just written."""
        self._masters = None

    def _open(self) -> list[OpenCompany]:
        rows = rows_of(self._client.export(report("Company", _COMPANY, company="")))
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

    def _read_masters(self, company: OpenCompany) -> Masters:
        def rows(of: str, columns: Mapping[str, str]) -> list[dict[str, str]]:
            return rows_of(self._client.export(report(of, columns, company=company.name)))

        groups = {folded(row.get("NAME", "")): row for row in rows("Group", _GROUP)}
        ledgers = [
            Ledger(
                row.get("GUID", ""),
                row.get("NAME", ""),
                _is_debtor(row.get("PARENT", ""), groups),
                row.get("STATE", ""),
                row.get("COUNTRY", ""),
                row.get("GSTIN", ""),
                row.get("REGISTRATION", ""),
            )
            for row in rows("Ledger", _LEDGER)
        ]
        items = [
            StockItem(row.get("GUID", ""), row.get("NAME", ""), row.get("UNIT", "")) for row in rows("StockItem", _ITEM)
        ]
        units = {folded(row.get("NAME", "")): _count(row.get("DECIMALS", "")) for row in rows("Unit", _UNIT)}
        return Masters(ledgers, items, units, company.masters)


def _is_debtor(group: str, groups: Mapping[str, Mapping[str, str]]) -> bool:
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
