"""What Tally answers to exports: collections of objects, and reports of columns, defined inside the request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from xml.etree.ElementTree import Element, SubElement

from tieout_sandbox.simulators.tally.books import Books, Stored, fold, number
from tieout_sandbox.simulators.tally.formulas import Formula, FormulaError, Value, truth
from tieout_sandbox.simulators.tally.settings import Settings

_TYPES = {"ledger": "LEDGER", "stockitem": "STOCKITEM", "unit": "UNIT", "group": "GROUP", "vouchertype": "VOUCHERTYPE"}
_LISTED = ("BILLALLOCATIONS.LIST", "RATEDETAILS.LIST", "CATEGORYALLOCATIONS.LIST")


class BrokenRequestError(Exception):
    """It is no request that Tally understands."""


@dataclass
class _Object:
    """Something with methods; `element` is what a collection shows of it."""

    method: Callable[[str], Value]
    element: Element


class Exports:
    """Answers to exports of one program."""

    def __init__(self, settings: Settings, companies: Callable[[], list[Books]], today: Callable[[], dt.date]) -> None:
        self._settings = settings
        self._companies = companies
        self._today = today

    def answer(self, request: Element, books: Books | None) -> Element:
        """The answer's root.

        Raises:
            BrokenRequestError: If the request is not understood.
        """
        message = request.find("BODY/DESC/TDL/TDLMESSAGE")
        collection = message.find("COLLECTION") if message is not None else None
        if message is None or collection is None:
            raise BrokenRequestError
        try:
            objects = list(self._wanted(request, message, collection, books))
            if request.findtext("HEADER/TYPE") == "Collection":
                return self._collection(collection, objects)
            return self._report(message, objects, books)
        except FormulaError as error:
            raise BrokenRequestError from error

    def _wanted(
        self, request: Element, message: Element, collection: Element, books: Books | None
    ) -> Iterator[_Object]:
        formulas = {each.get("NAME", ""): each.text or "" for each in message.findall("SYSTEM")}
        filters = [self._formula(formulas[each.text or ""], books) for each in collection.findall("FILTER")]
        for one in self._objects((collection.findtext("TYPE") or "").casefold(), request, books):
            if all(truth(each.of(one.method)) for each in filters):
                yield one

    def _formula(self, text: str, books: Books | None) -> Formula:
        constants: dict[str, Value] = {"licenseinfo:iseducationalmode": self._settings.educational}
        return Formula(text, books.base_type if books is not None else str, constants)

    def _objects(self, type_: str, request: Element, books: Books | None) -> Iterator[_Object]:
        if type_ == "company":
            yield from (
                _Object(self._of_company(each), Element("COMPANY", NAME=each.name)) for each in self._companies()
            )
        elif books is None:
            return
        elif type_ == "voucher":
            begin, end = self._period(request)
            for voucher in books.vouchers.values():
                if begin <= voucher.text("DATE") <= end:
                    yield _Object(_method(voucher), voucher.element)
        elif type_ == "bills":
            for (ledger, bill), amount in books.open_bills().items():
                values: dict[str, Value] = {
                    "NAME": bill,
                    "PARENT": ledger,
                    "CLOSINGBALANCE": f"{amount:.2f}",
                    "GUID": "",
                }
                yield _Object(values.__getitem__, Element("BILL", NAME=bill))
        elif type_ in _TYPES:
            masters = {each.guid: each for each in books.masters[_TYPES[type_]].values()}
            balances = books.balances() if type_ == "ledger" else {}
            for master in masters.values():
                yield _Object(_method(master, balances), master.element)
        else:
            raise BrokenRequestError

    def _period(self, request: Element) -> tuple[str, str]:
        """What the request says, if it says the type, too; else the running financial year, as on the screen."""
        today = self._today()
        year = today.year - (today.month < 4)  # noqa: PLR2004 - it begins in April
        days = [f"{year}0401", f"{year + 1}0331"]
        for place, name in enumerate(("SVFROMDATE", "SVTODATE")):
            said = request.find(f"BODY/DESC/STATICVARIABLES/{name}")
            if said is not None and said.get("TYPE") == "Date":
                days[place] = (said.text or "").strip()
        return days[0], days[1]

    def _of_company(self, books: Books) -> Callable[[str], Value]:
        values: dict[str, Value] = {
            "GUID": books.guid,
            "NAME": books.name,
            "BOOKSFROM": f"{self._settings.books_from:%-d-%b-%Y}",
            "STATENAME": self._settings.state,
            "ALTMSTID": Decimal(books.altered_masters),
            "ALTVCHID": Decimal(books.altered_vouchers),
        }
        return lambda name: values.get(name, "")

    def _collection(self, collection: Element, objects: list[_Object]) -> Element:
        root = Element("ENVELOPE")
        held = SubElement(SubElement(SubElement(root, "BODY"), "DATA"), "COLLECTION", ISMSTDEPTYPE="Yes")
        asked = [(each.text or "").strip().upper() for each in collection.findall("NATIVEMETHOD")]
        if "*" in asked:
            raise BrokenRequestError  # it ends the program
        for one in objects:
            shown = SubElement(held, one.element.tag, {"NAME": one.element.get("NAME", ""), "RESERVEDNAME": ""})
            for method in asked:
                self._show(shown, method, one)
            SubElement(shown, "UDF:TIEOUTSANDBOX.LIST", DESC="`x`", ISLIST="YES", TYPE="String")
        return root

    def _show(self, shown: Element, method: str, one: _Object) -> None:
        if method == "ALLLEDGERENTRIES":
            shown.extend(_all_entries(one.element))
            return
        lists = one.element.findall(f"{method}.LIST")
        for each in lists:
            shown.append(self._with_empty_lists(each))
        if lists:
            return
        value = one.method(method)
        if value != "":
            SubElement(shown, method, TYPE="String").text = "Yes" if value is True else str(value)
        elif self._settings.empty_lists:
            SubElement(shown, f"{method}.LIST").text = "      "

    def _with_empty_lists(self, element: Element) -> Element:
        copied = deepcopy(element)
        if self._settings.empty_lists:
            for name in _LISTED:
                if copied.find(name) is None:
                    SubElement(copied, name).text = "        "
        return copied

    def _report(self, message: Element, objects: list[_Object], books: Books | None) -> Element:
        root = Element("ENVELOPE")
        line = (message.findtext("LINE/FIELDS") or "").split(",")
        fields = {each.get("NAME", ""): each for each in message.findall("FIELD")}
        columns = [
            (
                (fields[name].findtext("XMLTAG") or "").strip('"'),
                self._formula(fields[name].findtext("SET") or "", books),
            )
            for name in line
        ]
        for one in objects:
            for tag, formula in columns:
                value = formula.of(one.method)
                text = {True: "Yes", False: "No"}[value] if isinstance(value, bool) else str(value)
                SubElement(root, tag).text = text
        return root


def _all_entries(voucher: Element) -> list[Element]:
    """Every ledger of a voucher, those of items too, summed up: counting both doubles the revenue."""
    if voucher.find("ALLLEDGERENTRIES.LIST") is not None:
        return [deepcopy(each) for each in voucher.findall("ALLLEDGERENTRIES.LIST")]
    entries = []
    for each in voucher.findall("LEDGERENTRIES.LIST"):
        copied = deepcopy(each)
        copied.tag = "ALLLEDGERENTRIES.LIST"
        entries.append(copied)
    sums: dict[str, Decimal] = {}
    for item in voucher.findall("ALLINVENTORYENTRIES.LIST"):
        for booked in item.findall("ACCOUNTINGALLOCATIONS.LIST"):
            name = booked.findtext("LEDGERNAME") or ""
            sums[name] = sums.get(name, Decimal(0)) + number(booked.findtext("AMOUNT"))
    for name, amount in sums.items():
        entry = Element("ALLLEDGERENTRIES.LIST")
        SubElement(entry, "LEDGERNAME").text = name
        SubElement(entry, "ISDEEMEDPOSITIVE").text = "Yes" if amount < 0 else "No"
        SubElement(entry, "AMOUNT").text = f"{amount:.2f}"
        entries.append(entry)
    return entries


# Where else a ledger's value may stand, by method: in the dated lists of release 3.0 and later.
_DATED = {
    "LEDSTATENAME": "LEDMAILINGDETAILS.LIST/STATE",
    "COUNTRYOFRESIDENCE": "LEDMAILINGDETAILS.LIST/COUNTRY",
    "PARTYGSTIN": "LEDGSTREGDETAILS.LIST/GSTIN",
    "GSTREGISTRATIONTYPE": "LEDGSTREGDETAILS.LIST/GSTREGISTRATIONTYPE",
}


def _method(stored: Stored, balances: dict[str, Decimal] | None = None) -> Callable[[str], Value]:
    """The methods of a master or voucher."""
    known: dict[str, Value] = {
        "GUID": stored.guid,
        "MASTERID": Decimal(stored.master_id),
        "ALTERID": Decimal(stored.alter_id),
        "NAME": stored.name,
        "CLOSINGBALANCE": f"{(balances or {}).get(stored.name, Decimal(0)):.2f}",
        "ISOPTIONAL": stored.text("ISOPTIONAL") == "Yes",
        "ISCANCELLED": stored.text("ISCANCELLED") == "Yes",
        "DECIMALPLACES": stored.text("DECIMALPLACES") or "0",
    }

    def of(name: str) -> Value:
        if name in known:
            return known[name]
        dated = stored.text(_DATED[name]) if stored.type == "LEDGER" and name in _DATED else ""
        return dated or stored.text(name)

    return of


def named(books: list[Books], name: str) -> Books | None:
    """The company of this name."""
    return next((each for each in books if fold(each.name) == fold(name)), None)
