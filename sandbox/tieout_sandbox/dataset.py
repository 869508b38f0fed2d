"""The real CRM data set as records of an Act! database: the same ones each time.

What the files have and what is made up here stands in `sandbox/data/crm-sales-opportunities/README.md`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

FOLDER = Path(__file__).parent.parent / "data" / "crm-sales-opportunities"

DEALS = 8_800
"""So many opportunities it has."""

IMPORTED_AT = datetime(2018, 1, 2, 8, tzinfo=UTC)
IMPORT_PORTION = 300
"""So many opportunities share one time of creation and edit, and the next ones are a minute later."""

_STATUS = {"Prospecting": "Open", "Engaging": "Open", "Won": "Won", "Lost": "Lost"}
_STAGES = {"Prospecting": (1, 10), "Engaging": (2, 50), "Won": (3, 100), "Lost": (4, 0)}
_SPELLINGS = {"GTXPro": "GTX Pro"}
_GIVEN_NAMES = ("Ada", "Ben", "Carla", "Dario", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kamala")
_FAMILY_NAMES = ("Abbott", "Brandt", "Castillo", "Duarte", "Eriksen", "Fofana", "Gupta", "Haas", "Ito")

type WireRecord = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActData:
    """Records in Act!'s own JSON form. `lines` holds each opportunity's products by its id."""

    companies: list[WireRecord]
    contacts: list[WireRecord]
    products: list[WireRecord]
    opportunities: list[WireRecord]
    lines: dict[str, list[WireRecord]]


def read(folder: Path = FOLDER, deals: int | None = None) -> ActData:
    """The data set, with so many opportunities, spread evenly over the file; all of them without `deals`."""
    companies = list(_companies(folder))
    contacts = [_contact(number, company) for number, company in enumerate(companies)]
    products = [_product(row) for row in _rows(folder, "products.csv")]
    prices = {product["name"]: product["price"] for product in products}
    partners = {company["name"]: (company, contact) for company, contact in zip(companies, contacts, strict=True)}
    opportunities: list[WireRecord] = []
    lines: dict[str, list[WireRecord]] = {}
    for number, row in _spread(list(_rows(folder, "sales_pipeline.csv")), deals):
        moment = _wire_time(IMPORTED_AT + timedelta(minutes=number // IMPORT_PORTION))
        price = _price(row, prices)
        opportunity = _opportunity(row, price, moment, partners)
        opportunities.append(opportunity)
        lines[opportunity["id"]] = [_line(row, price, moment, opportunity["id"])]
    return ActData(companies, contacts, products, opportunities, lines)


def _spread(rows: list[dict[str, str]], count: int | None) -> Iterator[tuple[int, dict[str, str]]]:
    """So many of the rows, each with its place in the file."""
    wanted = len(rows) if count is None else min(count, len(rows))
    for number in range(wanted):
        place = number * len(rows) // wanted
        yield place, rows[place]


def _rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _guid(kind: str, key: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"https://tieout.example/crm-sales-opportunities/{kind}/{key}"))


def _wire_time(moment: datetime) -> str:
    return moment.isoformat()


def _wire_date(text: str) -> str | None:
    """Act! gives dates as midnight."""
    return f"{text}T00:00:00+00:00" if text else None


def _stamps(moment: str) -> WireRecord:
    return {"created": moment, "edited": moment, "editedBy": "Import", "isPrivate": False, "customFields": {}}


def _companies(folder: Path) -> Iterator[WireRecord]:
    for row in _rows(folder, "accounts.csv"):
        parent = row["subsidiary_of"]
        yield {
            "id": _guid("company", row["account"]),
            "name": row["account"],
            "industry": row["sector"],
            "revenue": float(Decimal(row["revenue"]) * 1_000_000),
            "numberOfEmployees": int(row["employees"]),
            "address": {"country": row["office_location"]},
            "parentID": _guid("company", parent) if parent else None,
            "description": f"Founded in {row['year_established']}.",
            **_stamps(_wire_time(IMPORTED_AT)),
        }


def _contact(number: int, company: WireRecord) -> WireRecord:
    """A generated contact: the data set has none."""
    given = _GIVEN_NAMES[number % len(_GIVEN_NAMES)]
    family = _FAMILY_NAMES[number % len(_FAMILY_NAMES)]
    slug = "".join(letter for letter in company["name"].lower() if letter.isalnum())
    return {
        "id": _guid("contact", company["name"]),
        "contactType": "Contact",
        "firstName": given,
        "lastName": family,
        "fullName": f"{given} {family}",
        "jobTitle": "Accounts payable",
        "company": company["name"],
        "companyID": company["id"],
        "emailAddress": f"accounts@{slug}.example",
        "businessAddress": dict(company["address"]),
        **_stamps(_wire_time(IMPORTED_AT)),
    }


def _product(row: dict[str, str]) -> WireRecord:
    moment = _wire_time(IMPORTED_AT)
    return {
        "id": _guid("product", row["product"]),
        "name": row["product"],
        "itemNumber": None,
        "cost": 0.0,
        "price": float(row["sales_price"]),
        "createDate": moment,
        "editDate": moment,
        **_stamps(moment),
    }


def _price(row: dict[str, str], prices: Mapping[str, float]) -> float:
    """What the deal brought, or the list price while it is open."""
    if row["close_value"]:
        return float(row["close_value"])
    return prices[_SPELLINGS.get(row["product"], row["product"])]


def _opportunity(
    row: dict[str, str], price: float, moment: str, partners: Mapping[str, tuple[WireRecord, WireRecord]]
) -> WireRecord:
    account, stage = row["account"], row["deal_stage"]
    number, probability = _STAGES[stage]
    company, contact = partners[account] if account else (None, None)
    return {
        "id": _guid("opportunity", row["opportunity_id"]),
        "name": f"{row['product']} for {account}" if account else f"{row['product']} ({row['opportunity_id']})",
        "sourceId": row["opportunity_id"],
        "status": _STATUS[stage],
        "stage": {"id": _guid("stage", stage), "name": stage, "number": number, "probability": probability},
        "probability": probability,
        "openDate": _wire_date(row["engage_date"]),
        "estimatedCloseDate": None,
        "actualCloseDate": _wire_date(row["close_date"]),
        "productTotal": price,
        "weightedTotal": price * probability / 100,
        "product": row["product"],
        "companies": [{"id": company["id"], "name": account}] if company else [],
        "contacts": [{"id": contact["id"], "displayName": contact["fullName"], "company": account}] if contact else [],
        "contactNames": contact["fullName"] if contact else "",
        "recordManager": row["sales_agent"],
        "recordManagerID": _guid("user", row["sales_agent"]),
        **_stamps(moment),
    }


def _line(row: dict[str, str], price: float, moment: str, opportunity: str) -> WireRecord:
    return {
        "id": _guid("line", row["opportunity_id"]),
        "opportunityID": opportunity,
        "productID": None,
        "name": row["product"],
        "itemNumber": None,
        "quantity": 1.0,
        "cost": 0.0,
        "price": price,
        "discount": 0.0,
        "discountPrice": price,
        "total": price,
        "createDate": moment,
        "editDate": moment,
        "isQuickbooksProduct": False,
        **_stamps(moment),
    }
