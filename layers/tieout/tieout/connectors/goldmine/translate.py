"""Between GoldMine's rows and our words. Pure. Rows are dicts by column name, in capitals.

A column that the database does not have leaves its field absent. Text is trimmed at its end, as columns may be padded,
and empty text is None.

Source: the column lists named in README.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from tieout.connectors.goldmine.manifest import GoldMineSettings
from tieout.domain.money import minor_unit, rounded
from tieout.domain.packing import pack
from tieout.domain.records import Kind, Record

type Row = Mapping[str, Any]
type Fields = dict[str, Any]

EMAIL, WEB_SITE = "E-mail Address", "Web Site"
"""CONTACT of the details (RECTYPE P) that hold them."""

EMAIL_PART = 35
"""So many characters of an address stand in CONTSUPREF, the rest in ADDRESS1."""

MAIN, MORE = "contact1:", "contsupp:"
"""Before the ACCOUNTNO of a main person, and the RECID of an additional one: both are contacts."""

VERSION_DIGITS = 16

_NO_DATE_UNTIL = 1900
_UNATTACHED = "00"
_CURRENT = re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?\s*(?P<half>[ap])?m?", re.ASCII | re.IGNORECASE)
_NOON = 12
_PLAIN_NUMBER = re.compile(r"\s*-?\d+(?:\.\d*)?\s*", re.ASCII)
_PERSON_OF_SALE = re.compile(r"\s*\(oc:[^)]*\)\s*$", re.IGNORECASE)

_ADDRESS = {
    "line1": "ADDRESS1",
    "line2": "ADDRESS2",
    "line3": "ADDRESS3",
    "city": "CITY",
    "state": "STATE",
    "postal_code": "ZIP",
    "country": "COUNTRY",
}
_PERSON = {"name": "CONTACT", "family_name": "LASTNAME", "job_title": "TITLE"}
_STANDARD_CUSTOM = ("KEY1", "KEY2", "KEY3", "KEY4", "KEY5", "SOURCE", "MERGECODES", "OWNER")
_DEAL_CUSTOM = ("CYCLE", "SOURCE", "F1", "F2", "F3", "PRODUCTNAME")

CONTACT1 = frozenset(
    {"ACCOUNTNO", "COMPANY", "PHONE1", "LASTDATE", "LASTTIME", "LASTUSER", "RECID"}
    | set(_ADDRESS.values())
    | set(_PERSON.values())
    | set(_STANDARD_CUSTOM)
)
CONTSUPP = frozenset(
    {"ACCOUNTNO", "RECTYPE", "CONTACT", "CONTSUPREF", "TITLE", "PHONE", "LINKACCT", "STATUS", "RECID"}
    | {"LASTDATE", "LASTTIME", "LASTUSER"}
    | set(_ADDRESS.values())
)
OPMGR = frozenset(
    {"OPID", "RECTYPE", "ACCOUNTNO", "USERID", "COMPANY", "NAME", "STATUS", "STAGE", "RECID", "FORAMT", "CLOSEAMT"}
    | {"STARTDATE", "CLOSEDDATE", "CLOSEBY"}
    | set(_DEAL_CUSTOM)
)
OPMGRFLD = frozenset({"LOPID", "FNAME", "FVALUE"})
CONTHIST = frozenset({"LOPRECID", "SRECTYPE", "REF", "UNITS", "DURATION", "RECID", "ACCOUNTNO"})
"""The columns that are read of each table; of CONTACT2 those that `is_user_field` takes."""


def is_user_field(column: str) -> bool:
    """True for a column of CONTACT2 that the customer made: its name begins with U."""
    return column.startswith("U") and len(column) > 1


@dataclass(frozen=True, slots=True)
class Translator:
    """What a connection's settings say about values."""

    settings: GoldMineSettings

    # Values

    def text(self, value: Any) -> str | None:  # noqa: ANN401 - a driver gives anything
        """Trimmed at its end; bytes in the code page of the settings, unless they are UTF-8."""
        if value is None:
            return None
        if isinstance(value, bytes | bytearray | memoryview):
            held = bytes(value)
            try:
                value = held.decode("utf-8")
            except UnicodeDecodeError:
                value = held.decode(self.settings.code_page, "replace")
        return str(value).replace("\0", "").rstrip(" \t\r\n") or None

    def amount(self, value: Any) -> Decimal | None:  # noqa: ANN401 - a driver gives anything
        """A float rounded, once, to the minor unit of the connection's currency."""
        number = _number(value)
        return None if number is None else rounded(number, minor_unit(self.settings.currency))

    def custom(self, value: Any) -> Any:  # noqa: ANN401 - a user field holds anything
        """Text, number or day."""
        if isinstance(value, bool | int):
            return value
        if isinstance(value, date):
            return day(value)
        if isinstance(value, float | Decimal):
            return _number(value)
        return self.text(value)

    def edited(self, row: Row) -> tuple[datetime | None, str]:
        """When (UTC) and by whom the row was edited last; None where LASTDATE and LASTTIME do not say.

        They are the local time of a GoldMine computer, to the minute. A time that a clock which was put forward never
        showed is taken as if it had not been; one that it showed twice is the earlier one.
        """
        by = self.text(row.get("LASTUSER")) or ""
        on, found = day(row.get("LASTDATE")), _CURRENT.fullmatch(self.text(row.get("LASTTIME")) or "")
        if on is None or found is None:
            return None, by
        hour, half = int(found["hour"]), (found["half"] or "").lower()
        if half:
            hour = hour % _NOON + (_NOON if half == "p" else 0)
        try:
            local = datetime.combine(on, time(hour, int(found["minute"])), ZoneInfo(self.settings.time_zone))
            return local.astimezone(UTC), by
        except (ValueError, OverflowError):
            return None, by

    # Customers and persons

    def company(self, row: Row, user_fields: Row | None, details: Sequence[Row]) -> Record:
        """Of a row of CONTACT1, its row of CONTACT2, and its details that hold e-mail addresses and web sites.

        Who is no organisation has no COMPANY; the person's name is then the customer's.
        """
        fields = self._picked(row, {"name": "COMPANY", "phone": "PHONE1"})
        fields["name"] = fields.get("name") or self.text(row.get("CONTACT"))
        fields["address"] = self._picked(row, _ADDRESS)
        fields["website"] = self._website(details)
        person = self._main_person(row, details)
        fields["contact"] = person if any(person.get(name) for name in ("name", "email")) else None
        fields["custom_fields"] = self._custom_fields(row, user_fields)
        return self._record(Kind.COMPANY, self.key(row), fields, [row, *details])

    def main_contact(self, row: Row, details: Sequence[Row]) -> Record:
        """The person in a row of CONTACT1."""
        fields = self._main_person(row, details)
        return self._record(Kind.CONTACT, f"{MAIN}{self.key(row)}", fields, [row, *details])

    def additional_contact(self, row: Row, company: Row | None, details: Sequence[Row]) -> Record:
        """A detail of RECTYPE C; `details` are the e-mail addresses whose LINKACCT names it."""
        # Only of these details the address is a postal one: others keep their fields there.
        fields = self._picked(row, {"name": "CONTACT", "job_title": "TITLE", "phone": "PHONE"})
        fields["email"] = self._email(details)
        fields["address"] = self._picked(row, _ADDRESS)
        fields["company_id"] = self.key(row)
        fields["company_name"] = self.text(company.get("COMPANY")) if company is not None else None
        return self._record(Kind.CONTACT, f"{MORE}{self.key(row, 'RECID')}", fields, [row, *details])

    def _main_person(self, row: Row, details: Sequence[Row]) -> Fields:
        fields = self._picked(row, {**_PERSON, "phone": "PHONE1", "company_name": "COMPANY"})
        fields["given_name"] = _given_name(fields.get("name"), fields.get("family_name"))
        fields["email"] = self._email([each for each in details if not self.text(each.get("LINKACCT"))])
        fields["address"] = self._picked(row, _ADDRESS)
        fields["company_id"] = self.key(row)
        return fields

    def _email(self, details: Sequence[Row]) -> str | None:
        """The primary address, or the only one. Of several without a flag none can be told to be the one."""
        found = [each for each in details if self.text(each.get("CONTACT")) == EMAIL and self.email_of(each)]
        found = [each for each in found if self.text(each.get("STATUS")) != _UNATTACHED]
        primary = [each for each in found if (self.text(each.get("ZIP")) or "")[1:2] == "1"]
        candidates = primary or (found if len(found) == 1 else [])
        chosen = min(candidates, key=lambda each: self.key(each, "RECID"), default=None)
        return None if chosen is None else self.email_of(chosen)

    def email_of(self, detail: Row) -> str:
        """The whole address of an e-mail detail."""
        first = self.text(detail.get("CONTSUPREF")) or ""
        # Only a full first part goes on: ADDRESS1 may hold something else, left from another use.
        more = (self.text(detail.get("ADDRESS1")) or "") if len(first) >= EMAIL_PART else ""
        return (first + more).strip()

    def _website(self, details: Sequence[Row]) -> str | None:
        """The first one; that a longer one goes on somewhere is not published, so one that fills its column is left."""
        rows = [each for each in details if self.text(each.get("CONTACT")) == WEB_SITE]
        found = [
            self.text(each.get("CONTSUPREF")) or "" for each in sorted(rows, key=lambda one: self.key(one, "RECID"))
        ]
        return next((each for each in found if 0 < len(each) < EMAIL_PART), None)

    def _custom_fields(self, row: Row, user_fields: Row | None) -> Fields:
        own = {name: self.text(row[name]) for name in _STANDARD_CUSTOM if name in row}
        return own | {name: self.custom(value) for name, value in (user_fields or {}).items() if is_user_field(name)}

    # Deals

    def deal(self, row: Row, more: Sequence[Row], sales: Sequence[Row]) -> Record:
        """Of an opportunity's header, its additional fields, and the completed sales that are linked to it."""
        fields = self._picked(row, {"name": "NAME", "stage": "STAGE", "owner": "USERID"})
        for ours, theirs in (("opened_on", "STARTDATE"), ("expected_close_on", "CLOSEBY"), ("closed_on", "CLOSEDDATE")):
            if theirs in row:
                fields[ours] = day(row[theirs])
        fields["status"] = self._status(row)
        fields["amount"] = self.amount(row.get("CLOSEAMT" if fields["status"] == "won" else "FORAMT"))
        custom = {name: self.text(row[name]) for name in (*_DEAL_CUSTOM, "STATUS") if name in row}
        for each in sorted(
            more, key=lambda one: (self.text(one.get("FNAME")) or "", self.text(one.get("FVALUE")) or "")
        ):
            custom.setdefault(self.text(each.get("FNAME")) or "", self.text(each.get("FVALUE")))
        custom.pop("", None)
        fields["custom_fields"] = custom
        number = self.settings.deal_number_field
        fields["source_id"] = (
            self.key(row, "OPID") if number.upper() == "OPID" else custom.get(number, custom.get(number.upper()))
        )
        account = self.key(row)
        fields["companies"] = [{"id": account, "name": self.text(row.get("COMPANY"))}] if account else []
        fields["lines"] = self._lines(fields, custom, sales)
        return self._record(Kind.DEAL, self.key(row, "OPID"), fields, [])

    def _status(self, row: Row) -> str:
        said = (self.text(row.get("STATUS")) or "").strip().casefold()
        for ours, theirs in (
            ("won", self.settings.won_statuses),
            ("lost", self.settings.lost_statuses),
            ("inactive", self.settings.inactive_statuses),
        ):
            if said in {each.casefold() for each in theirs}:
                return ours
        return "open"

    def _lines(self, fields: Fields, custom: Fields, sales: Sequence[Row]) -> list[Fields]:
        """One line of the amount, or one of each sale.

        If the sales are not as much as the opportunity, their amounts are left out: then the deal stops for a person,
        instead of being invoiced in part. DURATION holds a sale's amount in eight characters, so a large one is cut.
        """
        if self.settings.deal_lines == "amount":
            name = custom.get("PRODUCTNAME") or fields.get("name")
            return [_line(name, Decimal(1), fields["amount"])]
        amounts = [self.amount(self.text(each.get("DURATION"))) for each in sales]
        whole = None not in amounts and sum((each for each in amounts if each), Decimal(0)) == fields["amount"]
        ordered = sorted(zip(sales, amounts, strict=True), key=lambda pair: self.key(pair[0], "RECID"))
        return [self._sale(each, amount if whole else None) for each, amount in ordered]

    def _sale(self, row: Row, amount: Decimal | None) -> Fields:
        name = _PERSON_OF_SALE.sub("", self.text(row.get("REF")) or "") or None
        units = _number(self.text(row.get("UNITS")))
        # Only a price of whole cents: quantity times price has to be the amount.
        if amount is not None and units is not None and units > 0 and self.amount(amount / units) == amount / units:
            return _line(name, units, amount, amount / units)
        return _line(name, Decimal(1), amount)

    # Records

    def key(self, row: Row, column: str = "ACCOUNTNO") -> str:
        """An id: case counts, blanks at its end do not."""
        return self.text(row.get(column)) or ""

    def _picked(self, row: Row, names: Mapping[str, str]) -> Fields:
        return {ours: self.text(row[theirs]) for ours, theirs in names.items() if theirs in row}

    def _record(self, kind: Kind, record_id: str, fields: Fields, rows: Sequence[Row]) -> Record:
        """The version is a digest of the fields, as GoldMine keeps none."""
        stamps = [self.edited(row) for row in rows]
        dated = [(when, by) for when, by in stamps if when is not None]
        when, by = max(dated, default=(None, ""), key=lambda stamp: stamp[0])
        version = hashlib.blake2b(pack(fields).encode(), digest_size=VERSION_DIGITS // 2).hexdigest()
        return Record(kind, record_id, version, when, fields, by)


def day(value: Any) -> date | None:  # noqa: ANN401 - a driver gives anything
    """The day; None for none, which GoldMine also keeps as 1899-12-30 or 1900-01-01."""
    if isinstance(value, datetime):
        value = value.date()
    return value if isinstance(value, date) and value.year > _NO_DATE_UNTIL else None


def _number(value: Any) -> Decimal | None:  # noqa: ANN401 - a driver gives anything
    """Exactly what a float shows; None for what is no finite number."""
    # Text with a comma could mean two numbers.
    if value is None or (isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _given_name(name: str | None, family: str | None) -> str | None:
    """What stands before the last name; there is no column for it."""
    if name is None or family is None or not name.casefold().endswith(f" {family.casefold()}"):
        return None
    return name[: -len(family)].strip() or None


def _line(name: str | None, quantity: Decimal, amount: Decimal | None, price: Decimal | None = None) -> Fields:
    return {
        "name": name,
        "quantity": quantity,
        "unit_price": amount if price is None else price,
        "discount_percent": Decimal(0),
        "amount": amount,
    }
