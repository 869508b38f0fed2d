"""A mailbox and Exchange's rules about it. Knows nothing of HTTP; not safe between threads by itself."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from tieout.ports.clock import Clock
from tieout_sandbox import dataset
from tieout_sandbox.simulators.outlook.errors import GraphError

type WireRecord = dict[str, Any]

CONTACTS, TASKS, FOLDERS, LISTS = "contact", "todoTask", "contactFolder", "todoTaskList"
DEFAULT_FOLDER = "AQMkADAwATM0MDAAMS0wAAAuAAADdefaultContacts="
EXTENSION_PREFIX = "Microsoft.OutlookServices.OpenTypeExtension."
ETAGS: Mapping[str, str] = {CONTACTS: "EQAAABYAAAD", TASKS: "x8mBn", FOLDERS: "A", LISTS: "L"}

TEXT_MAX = 255
"""Our own choice: Microsoft publishes no lengths."""

_LONG = frozenset({"personalNotes", "title"})
_TEXT, _TEXTS, _FLAG = "text", "texts", "flag"
_ADDRESS = dict.fromkeys(("street", "city", "state", "postalCode", "countryOrRegion"), _TEXT)
_EMAIL = {"name": _TEXT, "address": _TEXT}
_MOMENT = {"dateTime": _TEXT, "timeZone": _TEXT}

_CONTACT_TEXTS = (
    *("assistantName", "birthday", "businessHomePage", "companyName", "department", "displayName", "fileAs"),
    *("generation", "givenName", "initials", "jobTitle", "manager", "middleName", "mobilePhone", "nickName"),
    *("officeLocation", "personalNotes", "profession", "spouseName", "surname", "title"),
    *("yomiCompanyName", "yomiGivenName", "yomiSurname"),
)

FIELDS: Mapping[str, Mapping[str, Any]] = {
    CONTACTS: {
        **dict.fromkeys(_CONTACT_TEXTS, _TEXT),
        **dict.fromkeys(("businessPhones", "homePhones", "imAddresses", "children", "categories"), _TEXTS),
        **dict.fromkeys(("businessAddress", "homeAddress", "otherAddress"), _ADDRESS),
        "emailAddresses": [_EMAIL],
    },
    TASKS: {
        "title": _TEXT,
        "status": ("notStarted", "inProgress", "completed", "waitingOnOthers", "deferred"),
        "importance": ("low", "normal", "high"),
        "categories": _TEXTS,
        "isReminderOn": _FLAG,
        "body": {"content": _TEXT, "contentType": ("text", "html")},
        **dict.fromkeys(("dueDateTime", "startDateTime", "completedDateTime", "reminderDateTime"), _MOMENT),
    },
    FOLDERS: {"displayName": _TEXT, "parentFolderId": _TEXT},
    LISTS: {"displayName": _TEXT},
}
"""What may be written, and its form. Source: schemas/v1.0-Prod.csdl of microsoftgraph/msgraph-metadata, f54f11b6."""

_COUNTRIES = {"Philipines": "Philippines"}
"""The data set's own spelling, and what Outlook's list of countries offers."""

_NULLABLE_LISTS = frozenset(name for fields in FIELDS.values() for name, form in fields.items() if form == _TEXTS)


class OutlookSettings(BaseModel):
    """What a simulated mailbox is like.

    Attributes:
        data: The records that it begins with: contacts for the companies, and tasks for the opportunities.
        deals: So many of the opportunities of `data`, spread over all; None means all.
        mailbox: The address of the mailbox; also of the person who signs in.
        requests_per_10_minutes: Each part of a batch counts.
        in_flight_max: Requests at a time; a batch counts for as many parts as are worked on at once.
        page_default, page_max: Of lists and deltas.
        lists_default_folder: `contactFolders` shows the default folder, too.
        html_notes: The notes of tasks come as HTML.
        lies: A write is answered as done, and changes nothing.
        consent: False: whoever is asked says no.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    data: Literal["empty", "crm-sales-opportunities"] = "empty"
    deals: int | None = Field(default=None, ge=1)
    directory: str = "seller.example"
    mailbox: str = "sales@seller.example"
    client_id: str = "0f1c3f6e-5b1a-4c55-9a7e-0d6f2f7b9a11"
    client_secret: str = "a client secret of the sandbox"
    refresh_token: str = "the first refresh token"
    token_minutes: float = Field(default=60, gt=0)
    requests_per_10_minutes: int = Field(default=10_000, ge=1)
    in_flight_max: int = Field(default=4, ge=1)
    page_default: int = Field(default=10, ge=1)
    page_max: int = Field(default=200, ge=1)
    lists_default_folder: bool = False
    html_notes: bool = False
    lies: bool = False
    consent: bool = True
    notify_seconds: float = Field(default=0, ge=0)


@dataclass(slots=True)
class Item:
    """One contact, task, folder or list.

    Attributes:
        place: The id of its folder or list; of folders and lists themselves their type's name.
        number: Of its last change.
        extensions: By name.
    """

    type: str
    place: str
    number: int
    row: WireRecord
    extensions: dict[str, WireRecord] = field(default_factory=dict)


@dataclass(slots=True)
class OutlookState:
    """Everything that one simulated mailbox keeps.

    Attributes:
        new_id: Gives each new item its id; a simulation puts its own here.
        graves: Number of the change, type, place and id of what went.
        epoch: Delta tokens of an earlier one are dead.
        touched: Hears type, id and kind of each change.
        deals: Id of the list `Deals`.
    """

    settings: OutlookSettings
    clock: Clock
    new_id: Callable[[], str] = lambda: f"AAkALgAAAA-{base64.urlsafe_b64encode(uuid4().bytes).decode()}"
    items: dict[str, Item] = field(default_factory=dict)
    graves: list[tuple[int, str, str, str]] = field(default_factory=list)
    number: int = 0
    epoch: int = 0
    writes: int = 0
    touched: Callable[[str, str, str], None] = lambda *_: None
    deals: str = ""

    def __post_init__(self) -> None:
        self.deals = self.add(LISTS, LISTS, {"displayName": "Deals"})["id"]
        self.add(LISTS, LISTS, {"displayName": "Tasks"})
        if self.settings.data == "crm-sales-opportunities":
            self._load(dataset.read(deals=self.settings.deals))

    def _load(self, data: dataset.ActData) -> None:
        emails = {row["companyID"]: row for row in data.contacts if row.get("emailAddress")}
        for company in data.companies:
            contact = emails.get(company["id"], {})
            address = company.get("billingAddress") or company.get("address") or {}
            country = address.get("country")
            self.add(
                CONTACTS,
                DEFAULT_FOLDER,
                {
                    "companyName": company["name"],
                    "displayName": contact.get("fullName") or company["name"],
                    "givenName": contact.get("firstName"),
                    "surname": contact.get("lastName"),
                    "categories": ["Customer"],
                    "emailAddresses": [{"name": company["name"], "address": contact.get("emailAddress")}]
                    if contact
                    else [],
                    "businessAddress": {
                        "city": address.get("city"),
                        "countryOrRegion": _COUNTRIES.get(str(country), country),
                    },
                },
            )
        for deal in data.opportunities:
            note = [f"Reference: {deal.get('sourceId') or ''}"]
            note += [f"Customer: {one['name']}" for one in (deal.get("companies") or [])[:1]]
            note += [f"Closed: {deal['actualCloseDate'][:10]}"] if deal.get("actualCloseDate") else []
            note += [
                f"- {line['quantity']:g} x {line['name']} @ {line['price']:.2f}"
                for line in data.lines.get(deal["id"], [])
            ]
            status = {"Won": ["Won"], "Lost": ["Lost"]}.get(deal["status"], [])
            body = {"content": "\n".join(note), "contentType": "text"}
            self.add(TASKS, self.deals, {"title": deal["name"], "categories": status, "body": body})

    # What is kept in the state file

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON values; later changes of the state do not reach them."""
        rows = [
            {
                "type": one.type,
                "place": one.place,
                "number": one.number,
                "row": copy.deepcopy(one.row),
                "extensions": copy.deepcopy(one.extensions),
            }
            for one in self.items.values()
        ]
        return {
            "items": rows,
            "graves": list(self.graves),
            "number": self.number,
            "deals": self.deals,
            "epoch": self.epoch,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self.items = {each["row"]["id"]: Item(**each) for each in saved["items"]}
        self.graves = [(number, kind, place, key) for number, kind, place, key in saved["graves"]]
        self.number, self.deals, self.epoch = saved["number"], saved["deals"], saved["epoch"]

    # Reading

    def found(self, kind: str, key: str, place: str = "") -> Item:
        """The item; ids are compared by case.

        Raises:
            GraphError: 404 if there is none.
        """
        item = self.items.get(key)
        if item is None or item.type != kind or (place and item.place != place):
            raise GraphError(404, "The specified object was not found in the store.")
        return item

    def inside(self, kind: str, place: str) -> list[Item]:
        """The items of a folder or list, in the order of their making."""
        return [item for item in self.items.values() if item.type == kind and item.place == place]

    def shown(self, item: Item, *, select: str = "", expand: str = "") -> WireRecord:
        """The item as Graph gives it."""
        row = copy.deepcopy(item.row)
        if self.settings.html_notes and item.type == TASKS and row["body"]["contentType"] == "text":
            lines = row["body"]["content"].replace("&", "&amp;").replace("<", "&lt;").splitlines()
            row["body"] = {"contentType": "html", "content": "".join(f"<div>{line}</div>" for line in lines)}
        if select:
            names = {"id", "@odata.etag", *select.split(",")}
            row = {name: value for name, value in row.items() if name in names}
        wanted = re.fullmatch(r"extensions\(\$filter=id eq '([^']*)'\)", expand) if expand else None
        if expand and (wanted is None or item.type != CONTACTS):
            raise GraphError(400, "Parsing OData Select and Expand failed.", code="RequestBroker--ParseUri")
        if wanted is not None:
            name = wanted[1].removeprefix(EXTENSION_PREFIX)
            row["extensions"] = [dict(item.extensions[name])] if name in item.extensions else []
        return row

    def changed(
        self, kind: str, place: str, token: Mapping[str, Any], size: int
    ) -> tuple[list[WireRecord], dict[str, Any], bool]:
        """One page of a delta: rows, the next token, and True if this was the last page.

        Raises:
            GraphError: 410 if the token is dead.
        """
        if token.get("epoch", self.epoch) != self.epoch:
            raise GraphError(410, "The sync state generation is not found.", code="SyncStateNotFound")
        after, first = int(token.get("after", 0)), bool(token.get("first", True))
        log: list[tuple[int, Item | str]] = [
            (one.number, one) for one in self.inside(kind, place) if one.number > after
        ]
        if not first:
            log += [
                (number, key)
                for number, type_, where, key in self.graves
                if type_ == kind and where == place and number > after and not self._is_in(key, place)
            ]
        log.sort(key=lambda each: each[0])
        page, last = log[:size], len(log) <= size
        until = self.number if last else page[-1][0]
        rows = [
            {"id": one, "@removed": {"reason": "deleted"}} if isinstance(one, str) else self.shown(one)
            for _, one in page
        ]
        return rows, {"after": until, "first": first and not last, "epoch": self.epoch}, last

    def _is_in(self, key: str, place: str) -> bool:
        item = self.items.get(key)
        return item is not None and item.place == place

    # Writing

    def add(self, kind: str, place: str, body: Mapping[str, Any]) -> WireRecord:
        """A new item.

        Raises:
            GraphError: 400 if the body is not of its type's form.
        """
        self._check(kind, body)
        now = self._now()
        row: WireRecord = {"id": self.new_id(), **_blank(kind), **copy.deepcopy(dict(body))}
        if kind in {CONTACTS, TASKS}:
            row |= {"createdDateTime": now, "lastModifiedDateTime": now}
        if kind == CONTACTS:
            row["parentFolderId"] = place
            row["displayName"] = row["displayName"] or " ".join(filter(None, (row["givenName"], row["surname"])))
        if kind == FOLDERS:
            row["parentFolderId"] = row["parentFolderId"] or DEFAULT_FOLDER
        item = Item(kind, place, 0, row)
        self.items[row["id"]] = item
        self._touch(item, "created")
        return self.shown(item)

    def patch(self, item: Item, body: Mapping[str, Any], if_match: str = "") -> WireRecord:
        """The changed item; lists in it are replaced whole.

        Raises:
            GraphError: 412 if the ETag is not that of the item any more; 400 if the body is not of its form.
        """
        if if_match not in ("", "*", item.row["@odata.etag"]):
            raise GraphError(412, "The change key passed in the request does not match the current change key.")
        self._check(item.type, body)
        if self.settings.lies:
            return self.shown(item)
        was = item.row.get("status")
        for name, value in body.items():
            if isinstance(value, dict) and isinstance(item.row.get(name), dict):
                item.row[name] = {**item.row[name], **value}
            else:
                item.row[name] = copy.deepcopy([] if value is None and name in _NULLABLE_LISTS else value)
        if item.type == TASKS and item.row["status"] != was:
            midnight = {"dateTime": f"{self._now()[:10]}T00:00:00.0000000", "timeZone": "UTC"}
            item.row["completedDateTime"] = midnight if item.row["status"] == "completed" else None
        self._touch(item, "updated")
        return self.shown(item)

    def extend(self, item: Item, name: str, body: Mapping[str, Any], *, new: bool) -> WireRecord:
        """Put the open extension, whole.

        Raises:
            GraphError: 409, 404 or 400 if it is there already, is not there, or holds more than plain values.
        """
        name = name.removeprefix(EXTENSION_PREFIX)
        if not name or new == (name in item.extensions):
            raise GraphError(409 if new else 404, "An extension with the given id already exists." if new else "")
        values = {key: value for key, value in body.items() if key not in {"@odata.type", "extensionName", "id"}}
        if any(not _is_plain(value) for value in values.values()) or any(key.startswith("@") for key in values):
            raise GraphError(
                400, "An open extension holds primitive values and arrays of them.", code="RequestBodyRead"
            )
        kept = {key: value for key, value in values.items() if value is not None}
        if not self.settings.lies:
            item.extensions[name] = {
                "@odata.type": "#microsoft.graph.openTypeExtension",
                "id": f"{EXTENSION_PREFIX}{name}" if item.type == CONTACTS else name,
                "extensionName": name,
                **kept,
            }
            self._touch(item, "updated")
        return dict(item.extensions.get(name, {}))

    def remove(self, item: Item) -> None:
        """Delete an item; a folder or list with all that is in it."""
        for inner in [one for one in self.items.values() if one.place == item.row["id"]]:
            self.remove(inner)
        del self.items[item.row["id"]]
        self.number += 1
        self.writes += 1
        self.graves.append((self.number, item.type, item.place, item.row["id"]))
        self.touched(item.type, item.row["id"], "deleted")

    def move(self, key: str, place: str) -> None:
        """Into another folder: the former one tells of a deletion. Its immutable id stays."""
        item = self.found(CONTACTS, key)
        self.number += 1
        self.graves.append((self.number, item.type, item.place, key))
        item.place = item.row["parentFolderId"] = place
        self._touch(item, "updated")

    def _touch(self, item: Item, how: str) -> None:
        self.number += 1
        self.writes += 1
        item.number = self.number
        key = base64.urlsafe_b64encode(self.number.to_bytes(6)).decode()
        item.row["@odata.etag"] = f'W/"{ETAGS[item.type]}{key}"'
        if item.type == CONTACTS:
            item.row["changeKey"] = f"{ETAGS[item.type]}{key}"
        if item.type in {CONTACTS, TASKS}:
            item.row["lastModifiedDateTime"] = self._now()
            self.touched(item.type, item.row["id"], how)

    def _now(self) -> str:
        return self.clock.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    @staticmethod
    def _check(kind: str, body: Mapping[str, Any]) -> None:
        for name, value in body.items():
            if name.startswith("@") or name == "extensions":
                continue
            form = FIELDS[kind].get(name)
            if form is None:
                raise GraphError(
                    400,
                    f"The property '{name}' does not exist on type 'microsoft.graph.{kind}'.",
                    code="RequestBodyRead",
                )
            if form == _TEXT and name not in _LONG and len(str(value)) > TEXT_MAX:
                raise GraphError(400, f"The value of '{name}' is too long.", code="ErrorInvalidArgument")
            if value is not None and not _fits(form, value):
                raise GraphError(
                    400, f"Cannot convert a value to the type of the property '{name}'.", code="RequestBodyRead"
                )


def moment(text: str) -> datetime:
    """Aware UTC.

    Raises:
        GraphError: 400 if it is no time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise GraphError(400, "The time cannot be read.") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def minutes(count: float) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=count)


def token_text(token: Mapping[str, Any]) -> str:
    """A token as it stands in links."""
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def token_of(text: str) -> Mapping[str, Any]:
    """The token of a link.

    Raises:
        GraphError: 400 if it is none.
    """
    try:
        token = json.loads(base64.urlsafe_b64decode(text))
    except ValueError as error:
        raise GraphError(400, "Badly formed token.", code="ErrorInvalidUrlQuery") from error
    if not isinstance(token, dict):
        raise GraphError(400, "Badly formed token.", code="ErrorInvalidUrlQuery")
    return token


def _blank(kind: str) -> WireRecord:
    row: WireRecord = {}
    for name, form in FIELDS[kind].items():
        row[name] = [] if isinstance(form, list) or form == _TEXTS else {} if form is _ADDRESS else None
    if kind == TASKS:
        row |= {
            "status": "notStarted",
            "importance": "normal",
            "isReminderOn": False,
            "hasAttachments": False,
            "body": {"content": "", "contentType": "text"},
        }
    if kind == LISTS:
        row |= {"isOwner": True, "isShared": False, "wellknownListName": "none"}
    return row


def _fits(form: Any, value: Any) -> bool:  # noqa: ANN401 - of the table above
    if form == _TEXT:
        return isinstance(value, str)
    if form == _FLAG:
        return isinstance(value, bool)
    if form == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(form[0], each) for each in value)
    if isinstance(form, tuple):
        return value in form
    return isinstance(value, dict) and all(
        name in form and (each is None or _fits(form[name], each)) for name, each in value.items()
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | int | float) for each in value)
    return value is None or isinstance(value, str | int | float)
