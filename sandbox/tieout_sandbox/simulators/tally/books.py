"""A company's masters, vouchers and balances, and Tally's rules for them.

What is measured of TallyPrime 3.0 to 7.1 is followed, oddities first: a create of a ledger that is there alters it, an
alter that matches nothing creates, an alter with entries in it creates a second voucher, a create of a unit or item
that is there opens a window, a unit without its name as an element is passed over. Our own choices: sentences of
refusals that are not published; a cancelled voucher keeps its number, date, reference and narration; the MasterIDs of
masters and vouchers are one sequence.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from xml.etree.ElementTree import Element, SubElement, tostring

from defusedxml.ElementTree import fromstring

from tieout_sandbox.simulators.tally.settings import Settings

MASTERS = ("GROUP", "LEDGER", "UNIT", "STOCKITEM", "VOUCHERTYPE")
_OPENS_WINDOW = frozenset({"UNIT", "STOCKITEM"})
_NOT_BOOKED = frozenset({"Sales Order", "Purchase Order", "Memorandum"})
_PREDEFINED_TYPES = (
    "Sales", "Receipt", "Credit Note", "Payment", "Contra", "Journal", "Purchase", "Debit Note", "Sales Order",
)  # fmt: skip
_GROUPS = {
    "Sundry Debtors": "Current Assets", "Sundry Creditors": "Current Liabilities", "Bank Accounts": "Current Assets",
    "Cash-in-Hand": "Current Assets", "Duties & Taxes": "Current Liabilities", "Current Assets": "Primary",
    "Current Liabilities": "Primary", "Sales Accounts": "Primary", "Indirect Expenses": "Primary",
}  # fmt: skip
_LEDGERS = {
    "Cash": "Cash-in-Hand", "HDFC Bank": "Bank Accounts", "Sales": "Sales Accounts", "Output CGST": "Duties & Taxes",
    "Output SGST": "Duties & Taxes", "Output IGST": "Duties & Taxes", "Discount Allowed": "Indirect Expenses",
}  # fmt: skip
_EDUCATIONAL_DAYS = (1, 2, 31)
_ENTRIES = ("LEDGERENTRIES.LIST", "ALLLEDGERENTRIES.LIST")
_ITEMS = ("ALLINVENTORYENTRIES.LIST", "INVENTORYENTRIES.LIST")
# Where release 3.0 keeps them; what stands outside of these lists is passed over, but for ERP 9, which knows no lists.
_DATED = {"LEDMAILINGDETAILS.LIST", "LEDGSTREGDETAILS.LIST"}
_UNDATED = {"ADDRESS.LIST", "LEDSTATENAME", "COUNTRYOFRESIDENCE", "PINCODE", "PARTYGSTIN", "GSTREGISTRATIONTYPE"}


class LineError(Exception):
    """Tally refuses a record, with this sentence."""


class WindowOpensError(Exception):
    """A window opens on the screen."""


class HeldBackError(Exception):
    """The record is among the exceptions."""


@dataclass
class Stored:
    """A master or voucher."""

    type: str
    guid: str
    master_id: int
    alter_id: int
    element: Element

    def text(self, path: str) -> str:
        """What one of its elements says."""
        return (self.element.findtext(path) or "").strip()

    @property
    def name(self) -> str:
        """A master's name."""
        return self.element.get("NAME", "")


@dataclass
class Counts:
    """What an import touched."""

    created: int = 0
    altered: int = 0
    deleted: int = 0
    errors: int = 0
    exceptions: int = 0
    last_voucher: int = 0
    last_master: int = 0
    said: list[str] = field(default_factory=list)


def fold(name: str) -> str:
    """As names compare."""
    return " ".join(name.split()).casefold()


class Books:
    """One company."""

    def __init__(self, name: str, guid: str, settings: Settings) -> None:
        self.name = name
        self.guid = guid
        self.settings = settings
        self.masters: dict[str, dict[str, Stored]] = {type_: {} for type_ in MASTERS}
        self.vouchers: dict[int, Stored] = {}
        self.altered_masters = 0
        self.altered_vouchers = 0
        self._last_id = 0
        self._last_number: dict[str, int] = {}
        self._remote: dict[tuple[str, str], int] = {}
        for group, parent in _GROUPS.items():
            self._seed("GROUP", group, PARENT=parent, RESERVEDNAME=group)
        for ledger, group in _LEDGERS.items():
            self._seed("LEDGER", ledger, PARENT=group)
        for type_ in _PREDEFINED_TYPES:
            self._seed("VOUCHERTYPE", type_, PARENT=type_)

    # ---- masters ----

    def _seed(self, type_: str, name: str, **values: str) -> None:
        element = Element(type_, NAME=name, ACTION="Create")
        SubElement(SubElement(element, "NAME.LIST"), "NAME").text = name
        for tag, value in values.items():
            SubElement(element, tag).text = value
        self._save_master(type_, None, element)

    def master(self, type_: str, name: str) -> Stored | None:
        """The master of this name or alias."""
        return self.masters[type_].get(fold(name))

    def import_master(self, given: Element, counts: Counts) -> None:
        """Create, alter or delete one.

        Raises:
            LineError: If it is refused.
            WindowOpensError: If it makes what is there already.
        """
        type_, action = given.tag, given.get("ACTION", "Create").casefold()
        names = [text for each in given.findall("NAME.LIST/NAME") if (text := (each.text or "").strip())]
        named = (given.findtext("NAME") or "").strip()
        if type_ == "UNIT" and not named:
            return  # 7.1 says nothing at all
        names = [named] if type_ == "UNIT" or (named and not names) else names
        name = (given.get("NAME") or (names[0] if names else "")).strip()
        if not names:
            raise LineError(f"{type_.title()} '{name}': Name is missing!")
        standing = self.master(type_, name)
        if action == "delete":
            self._delete_master(type_, name, standing)
            counts.deleted += 1
            return
        if standing is not None and action == "create" and type_ in _OPENS_WINDOW:
            raise WindowOpensError
        self._check_master(given, names, standing)
        saved = self._save_master(type_, standing, given)
        counts.last_master = saved.master_id
        if standing is None:
            counts.created += 1
        else:
            counts.altered += 1

    def _delete_master(self, type_: str, name: str, standing: Stored | None) -> None:
        if standing is None:
            raise LineError(f"{type_.title()} '{name}' does not exist!")
        used = {fold(ledger) for voucher in self.vouchers.values() for ledger, _ in self.postings(voucher)}
        if fold(name) in used:
            raise LineError(f"{type_.title()} '{name}' cannot be deleted!")
        self._forget(standing)
        self.altered_masters += 1

    def _check_master(self, given: Element, names: Iterable[str], standing: Stored | None) -> None:
        for other in names:
            taken = self.master(given.tag, other)
            if taken is not None and taken is not standing:
                raise LineError(f"Duplicate Entry! '{other}' already exists.")
        grouped = given.tag in {"LEDGER", "GROUP"}
        for tag, type_ in (("PARENT", "GROUP" if grouped else ""), ("BASEUNITS", "UNIT")):
            named = (given.findtext(tag) or "").strip()
            if named and type_ and fold(named) != "primary" and self.master(type_, named) is None:
                raise LineError(f"{type_.title()} '{named}' does not exist!")

    def _forget(self, master: Stored) -> None:
        held = self.masters[master.type]
        for key in [key for key, each in held.items() if each is master]:
            del held[key]

    def _save_master(self, type_: str, standing: Stored | None, given: Element) -> Stored:
        names = [text for each in given.findall("NAME.LIST/NAME") if (text := (each.text or "").strip())]
        names = names or [(given.findtext("NAME") or given.get("NAME") or "").strip()]
        if standing is None:
            self._last_id += 1
            standing = Stored(type_, f"{self.guid}-{self._last_id:08x}", self._last_id, 0, Element(type_))
        else:
            self._forget(standing)
            if standing.name != names[0]:
                self._rename(type_, standing.name, names[0])
        self.altered_masters += 1
        standing.alter_id = self.altered_masters
        standing.element.set("NAME", names[0])
        passed_over = (_DATED if self.settings.erp9 else _UNDATED) if type_ == "LEDGER" else set()
        for tag in dict.fromkeys(child.tag for child in given):
            if tag not in passed_over and tag not in {"NAME", "NAME.LIST", "LANGUAGENAME.LIST"}:
                _replace(standing.element, tag, given.findall(tag))
        language = Element("LANGUAGENAME.LIST")
        listed = SubElement(language, "NAME.LIST", TYPE="String")
        for name in names:
            SubElement(listed, "NAME").text = name
        _replace(standing.element, "LANGUAGENAME.LIST", [language])
        for name in names:
            self.masters[type_][fold(name)] = standing
        return standing

    def _rename(self, type_: str, former: str, name: str) -> None:
        """Vouchers hold no names, so they show the new one, without having been altered."""
        tags = {"LEDGER": ("LEDGERNAME", "PARTYLEDGERNAME"), "STOCKITEM": ("STOCKITEMNAME",)}.get(type_, ())
        for voucher in self.vouchers.values():
            for tag in tags:
                for element in voucher.element.iter(tag):
                    if fold(element.text or "") == fold(former):
                        element.text = name

    def under(self, group: str, wanted: str) -> bool:
        """True if the group is, or stands under, the wanted one."""
        for _ in range(20):
            if fold(group) == fold(wanted):
                return True
            held = self.master("GROUP", group)
            if held is None:
                return False
            group = held.text("PARENT")
        return False

    def base_type(self, type_: str) -> str:
        """The predefined voucher type that a type is one of."""
        held = self.master("VOUCHERTYPE", type_)
        return held.text("PARENT") or held.name if held is not None else ""

    # ---- vouchers ----

    def import_voucher(self, given: Element, counts: Counts) -> None:
        """Create, alter, cancel or delete one.

        Raises:
            LineError: If it is refused.
            HeldBackError: If it ends among the exceptions.
        """
        action = given.get("ACTION", "Create").casefold()
        if action == "create":
            self._create(given, counts)
            return
        standing = self._tagged(given)
        if action in {"cancel", "delete"} and standing is None:
            raise LineError("Voucher does not exist!")
        if action == "delete" and standing is not None:
            if self.settings.edit_log:
                raise LineError("Voucher cannot be deleted!")
            del self.vouchers[standing.master_id]
            self.altered_vouchers += 1
            counts.deleted += 1
            return
        if standing is None or self.settings.alters_create or any(given.find(path) is not None for path in _ENTRIES):
            self._create(_laid_over(standing, given), counts, complete=False)
            return
        self._checked_day(standing.text("DATE"))
        if action == "cancel":
            for path in (*_ENTRIES, *_ITEMS, "PARTYLEDGERNAME", "PARTYNAME", "BASICBUYERNAME"):
                _replace(standing.element, path, [])
            _say(standing.element, "ISCANCELLED", "Yes")
        else:
            for child in given:
                _say(standing.element, child.tag, child.text or "")
        self._touch(standing)
        counts.altered += 1
        counts.last_voucher = standing.master_id

    def _tagged(self, given: Element) -> Stored | None:
        if fold(given.get("TAGNAME", "")) == "master id":
            digits = given.get("TAGVALUE", "").strip()
            found = self.vouchers.get(int(digits)) if digits.isdigit() else None
        else:
            key = (given.get("REMOTEID", ""), fold(given.get("VCHTYPE", "")))
            found = self.vouchers.get(self._remote.get(key, 0))
        if found is None or fold(found.text("VOUCHERTYPENAME")) != fold(given.get("VCHTYPE", "")):
            return None
        return found

    def _create(self, given: Element, counts: Counts, *, complete: bool = True) -> None:
        if complete:
            self._check(given)
        if self.settings.holds_back:
            raise HeldBackError
        key = (given.get("REMOTEID", ""), fold(given.get("VCHTYPE", "")))
        known = self.vouchers.get(self._remote.get(key, 0)) if key[0] and self.settings.minds_remote_id else None
        element = Element("VOUCHER")
        element.extend(deepcopy(list(given)))
        if known is not None:
            _say(element, "VOUCHERNUMBER", known.text("VOUCHERNUMBER"))
            known.element = element
            voucher = known
            counts.altered += 1
        else:
            self._last_id += 1
            voucher = Stored("VOUCHER", f"{self.guid}-{self._last_id:08x}", self._last_id, 0, element)
            self.vouchers[voucher.master_id] = voucher
            type_ = fold(voucher.text("VOUCHERTYPENAME"))
            self._last_number[type_] = self._last_number.get(type_, 0) + 1
            _say(element, "VOUCHERNUMBER", str(self._last_number[type_]))  # numbered automatically, whatever was sent
            counts.created += 1
        if key[0]:
            self._remote[key] = voucher.master_id
        if self.settings.recomputes and any(True for _ in element.iter("RATEDETAILS.LIST")):
            self._recompute(element)
        self._touch(voucher)
        counts.last_voucher = voucher.master_id

    def _touch(self, voucher: Stored) -> None:
        self.altered_vouchers += 1
        voucher.alter_id = self.altered_vouchers

    @staticmethod
    def _recompute(element: Element) -> None:
        party, *others = element.findall("LEDGERENTRIES.LIST")
        for entry, by in ((party, Decimal(-1)), (others[-1], Decimal(1))):
            for amount in (entry.find("AMOUNT"), entry.find("BILLALLOCATIONS.LIST/AMOUNT")):
                if amount is not None:
                    amount.text = f"{number(amount.text) + by:.2f}"

    def _checked_day(self, text: str) -> dt.date:
        try:
            day = dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=dt.UTC).date()
        except ValueError:
            raise LineError("Voucher date is missing!") from None
        if day < self.settings.books_from:
            raise LineError("Voucher date is out of range!")
        if self.settings.locked_until is not None and day <= self.settings.locked_until:
            raise LineError("Period is locked for this voucher date!")
        if self.settings.educational and day.day not in _EDUCATIONAL_DAYS:
            raise LineError("Voucher date is missing!")
        return day

    def _check(self, given: Element) -> None:
        type_ = (given.findtext("VOUCHERTYPENAME") or given.get("VCHTYPE") or "").strip()
        if self.master("VOUCHERTYPE", type_) is None:
            raise LineError(f"Voucher Type '{type_}' does not exist!")
        self._checked_day((given.findtext("DATE") or "").strip())
        for element in given.iter("STOCKITEMNAME"):
            item = self.master("STOCKITEM", element.text or "")
            if item is None:
                raise LineError(f"Stock Item '{element.text}' does not exist!")
        for element in given.iter("LEDGERNAME"):
            if self.master("LEDGER", element.text or "") is None:
                raise LineError(f"Ledger '{element.text}' does not exist!")
        for entry in (entry for path in _ITEMS for entry in given.findall(path)):
            self._check_item(entry)
        sums = [number(entry.findtext("AMOUNT")) for entry in self._entries(given)]
        debit, credit = -sum((each for each in sums if each < 0), Decimal(0)), sum(each for each in sums if each > 0)
        if debit != credit:
            raise LineError(f"Voucher totals do not match! Dr: {debit} Cr: {credit} Diff: {debit - credit}")

    def _check_item(self, entry: Element) -> None:
        item = self.master("STOCKITEM", entry.findtext("STOCKITEMNAME") or "")
        unit = item.text("BASEUNITS") if item is not None else ""
        for path in ("ACTUALQTY", "BILLEDQTY"):
            said = (entry.findtext(path) or "").strip()
            if not said.endswith(f" {unit}"):
                raise LineError(f"Unit '{said.rpartition(' ')[2]}' does not exist!")
        booked = sum(
            (number(each.findtext("AMOUNT")) for each in entry.findall("ACCOUNTINGALLOCATIONS.LIST")), Decimal(0)
        )
        if booked != number(entry.findtext("AMOUNT")):
            raise LineError("Voucher totals do not match! Accounting allocations differ.")

    @staticmethod
    def _entries(voucher: Element) -> Iterator[Element]:
        """Each entry that books something, once."""
        for path in _ENTRIES:
            yield from voucher.findall(path)
        for path in _ITEMS:
            for item in voucher.findall(path):
                yield from item.findall("ACCOUNTINGALLOCATIONS.LIST")

    # ---- balances ----

    def postings(self, voucher: Stored) -> Iterator[tuple[str, Decimal]]:
        """Ledger and amount of each entry; nothing of an order or an optional voucher."""
        if self.is_booked(voucher):
            for entry in self._entries(voucher.element):
                yield entry.findtext("LEDGERNAME") or "", number(entry.findtext("AMOUNT"))

    def is_booked(self, voucher: Stored) -> bool:
        """False for what changes no balance."""
        if voucher.text("ISOPTIONAL") == "Yes" or voucher.text("ISCANCELLED") == "Yes":
            return False
        return self.base_type(voucher.text("VOUCHERTYPENAME")) not in _NOT_BOOKED

    def balances(self) -> dict[str, Decimal]:
        """By ledger's name, its closing balance; a debit negative."""
        ledgers = {each.guid: each for each in self.masters["LEDGER"].values()}
        sums = {each.name: number(each.text("OPENINGBALANCE")) for each in ledgers.values()}
        known = {fold(name): name for name in sums}
        for voucher in self.vouchers.values():
            for ledger, amount in self.postings(voucher):
                sums[known[fold(ledger)]] += amount
        return sums

    def open_bills(self) -> dict[tuple[str, str], Decimal]:
        """By ledger and bill, what is open of it."""
        left: dict[tuple[str, str], Decimal] = {}
        for voucher in self.vouchers.values():
            if not self.is_booked(voucher):
                continue
            for entry in self._entries(voucher.element):
                for bill in entry.findall("BILLALLOCATIONS.LIST"):
                    name = (bill.findtext("NAME") or "").strip()
                    if name:
                        key = (entry.findtext("LEDGERNAME") or "", name)
                        left[key] = left.get(key, Decimal(0)) + number(bill.findtext("AMOUNT"))
        return {key: amount for key, amount in left.items() if amount}

    # ---- kept ----

    def snapshot(self) -> dict[str, object]:
        """The state as plain values."""
        masters = list({each.guid: each for held in self.masters.values() for each in held.values()}.values())
        return {
            "name": self.name,
            "guid": self.guid,
            "counters": [self.altered_masters, self.altered_vouchers, self._last_id],
            "numbers": self._last_number,
            "remote": [[*key, value] for key, value in self._remote.items()],
            "stored": [_plain(each) for each in [*masters, *self.vouchers.values()]],
        }

    def restore(self, saved: dict[str, object]) -> None:
        """As a backup that is restored: everything, the counters too, is as it was."""
        self.masters = {type_: {} for type_ in MASTERS}
        self.vouchers = {}
        self.altered_masters, self.altered_vouchers, self._last_id = saved["counters"]  # type: ignore[misc] # our own
        self._last_number = dict(saved["numbers"])  # type: ignore[call-overload] # our own
        self._remote = {(one, two): value for one, two, value in saved["remote"]}  # type: ignore[attr-defined] # our own
        for type_, guid, master_id, alter_id, xml in saved["stored"]:  # type: ignore[attr-defined] # our own
            stored = Stored(type_, guid, master_id, alter_id, fromstring(xml))
            if type_ == "VOUCHER":
                self.vouchers[master_id] = stored
                continue
            for each in stored.element.findall("LANGUAGENAME.LIST/NAME.LIST/NAME"):
                self.masters[type_][fold(each.text or "")] = stored


def number(text: str | None) -> Decimal:
    """An amount; 0 if it is none."""
    found = re.search(r"-?[\d,]+(\.\d+)?", text or "")
    try:
        return Decimal(found[0].replace(",", "")) if found else Decimal(0)
    except InvalidOperation:
        return Decimal(0)


def _replace(parent: Element, tag: str, children: Iterable[Element]) -> None:
    for child in parent.findall(tag):
        parent.remove(child)
    parent.extend(deepcopy(list(children)))


def _say(parent: Element, tag: str, text: str) -> None:
    child = parent.find(tag)
    (child if child is not None else SubElement(parent, tag)).text = text


def _laid_over(standing: Stored | None, given: Element) -> Element:
    """What an alter makes that creates: what stands there, with what was given in place of it."""
    element = Element("VOUCHER", VCHTYPE=given.get("VCHTYPE", ""))
    if standing is not None:
        element.extend(deepcopy(list(standing.element)))
    for tag in dict.fromkeys(child.tag for child in given):
        _replace(element, tag, given.findall(tag))
    return element


def _plain(stored: Stored) -> list[object]:
    return [stored.type, stored.guid, stored.master_id, stored.alter_id, tostring(stored.element, encoding="unicode")]
