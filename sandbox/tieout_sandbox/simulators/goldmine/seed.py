"""The real CRM data set as GoldMine keeps it: customers with their main person, and opportunities."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from tieout_sandbox import dataset

if TYPE_CHECKING:
    from tieout_sandbox.simulators.goldmine.office import Office

_COUNTRIES = {"Philipines": "Philippines"}


def fill(office: Office, deals: int | None) -> None:
    """So many of its opportunities, each with its number in F1; all of them without `deals`."""
    data = dataset.read(deals=deals)
    persons = {person["companyID"]: person for person in data.contacts}
    accounts = {one["name"]: _add_customer(office, one, persons[one["id"]]) for one in data.companies}
    for deal in data.opportunities:
        _add_deal(office, deal, accounts)


def _add_customer(office: Office, company: Mapping[str, Any], person: Mapping[str, Any]) -> str:
    country = company["address"]["country"]
    account = office.add_customer(
        COMPANY=company["name"],
        CONTACT=person["fullName"],
        LASTNAME=person["lastName"],
        TITLE=person["jobTitle"],
        COUNTRY=_COUNTRIES.get(country, country),
        KEY1=company["industry"],
    )
    office.add_email(account, person["emailAddress"])
    return account


def _add_deal(office: Office, deal: Mapping[str, Any], accounts: Mapping[str, str]) -> None:
    """An opportunity; the program notes a closed amount and a day when it is closed, and amounts only of won ones."""
    columns: dict[str, object] = {
        "STATUS": deal["status"],
        "STAGE": deal["stage"]["name"],
        "FORPROB": deal["probability"],
        "USERID": deal["recordManager"].partition(" ")[0].upper(),
        "F1": deal["sourceId"],
        "PRODUCTNAME": deal["product"],
    }
    if deal["openDate"]:
        columns["STARTDATE"] = _day(deal["openDate"])
    if deal["actualCloseDate"]:
        columns["CLOSEDDATE"] = _day(deal["actualCloseDate"])
    if deal["status"] == "Won":
        columns["CLOSEAMT"] = deal["productTotal"]
    account = accounts[deal["companies"][0]["name"]] if deal["companies"] else ""
    office.add_deal(account, deal["name"], deal["productTotal"], **columns)


def _day(text: str) -> date:
    return date.fromisoformat(text[:10])
