"""An Act! database and the Web API's rules about it. Knows nothing of HTTP; not safe between threads by itself."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from tieout.ports.clock import Clock
from tieout_sandbox import dataset
from tieout_sandbox.simulators.act import odata
from tieout_sandbox.simulators.act.errors import REFUSALS, ActError

type WireRecord = dict[str, Any]

STATUSES = ("Open", "Won", "Lost", "Inactive")
_WEBHOOK_ATTEMPTS_MAX = 3
_TOKEN_KEY = b"the simulator's own signing key"

_STAMPS = "id created edited editedBy recordManager recordManagerID isPrivate customFields"
_PHONES = " ".join(
    f"{phone}{part}"
    for phone in ("businessPhone", "mobilePhone", "homePhone", "faxPhone", "alternatePhone", "pagerPhone")
    for part in ("", "Extension", "CountryCode", "MaskFormat")
)
FIELDS: Mapping[str, frozenset[str]] = {
    "companies": frozenset(
        f"{_STAMPS} name address billingAddress shippingAddress phone phoneExtension fax tollFreePhone website idStatus"
        " industry region territory revenue numberOfEmployees sicCode tickerSymbol division parentID rootParentID"
        " hierarchyLevel hasDivisions description referredBy".split()
    ),
    "contacts": frozenset(
        f"{_STAMPS} {_PHONES} contactType isUser company companyID namePrefix firstName middleName lastName nameSuffix"
        " fullName salutation jobTitle department idStatus emailAddress altEmailAddress personalEmailAddress"
        " businessAddress homeAddress website birthday referredBy lastResults importDate quickbooksId".split()
    ),
    "opportunities": frozenset(
        f"{_STAMPS} name status statusName stage probability openDate estimatedCloseDate actualCloseDate stageStartDate"
        " productTotal weightedTotal grossMargin product contacts companies groups contactNames competitor reason"
        " source sourceId quickbooksInvoiceId creator daysOpen daysInStage importDate".split()
    ),
    "products": frozenset(f"{_STAMPS} name itemNumber cost price createDate editDate".split()),
    "lines": frozenset(
        f"{_STAMPS} opportunityID productID name itemNumber quantity cost price discount discountPrice total type"
        " createDate editDate isQuickbooksProduct".split()
    ),
}
"""Names of the fields of each collection. Source: the Swagger 2.0 document of a Web API, read 2026-08-13."""

_READ_ONLY = frozenset({"id", "created", "edited", "editedBy", "statusName", "createDate", "editDate", "weightedTotal"})
_LISTS = frozenset({"contacts", "companies", "groups"})
_MONITORS = {"Companies": "companies", "Contacts": "contacts", "Opportunities": "opportunities", "Products": "products"}


class ActSettings(BaseModel):
    """What a simulated server is like.

    Attributes:
        data: The records that it begins with.
        deals: So many of the opportunities of `data`, spread over all; None means all.
        calls_per_minute: Act! publishes no number; this one is made up.
        limit_status: Answered above the limit; the real status is not published.
        envelope: Lists are `{"value": [...], "Count": n}` instead of a bare array.
        patch_ignores: PATCH answers 200 and changes nothing.
        refusal: Every call with a token is answered with 403 and this code.
        hidden: Ids that the user may not see.
        custom_fields: By record type, the names that exist; others are dropped silently.
        webhook_poll_seconds: How often the database is looked at; 0 means only on `POST /_sandbox/webhooks/push`.
        webhook_array: Deliveries hold an array instead of one object.
    """

    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    data: Literal["empty", "crm-sales-opportunities"] = "empty"
    deals: int | None = Field(default=None, ge=1)
    database: str = "H1234567890"
    username: str = "integration@seller.example"
    password: str = "correct horse"
    token_minutes: float = Field(default=60, gt=0)
    calls_per_minute: int = Field(default=600, ge=1)
    limit_status: Literal[403, 429, 503] = 429
    limit_headers: bool = True
    envelope: bool = False
    status_as_number: bool = False
    top_default: int = Field(default=100, ge=1)
    top_max: int = Field(default=500, ge=1)
    patch_ignores: bool = False
    batch_parts_max: int = Field(default=100, ge=1)
    batch_parts_count: bool = False
    refusal: Literal["", "4030", "4031", "4032"] = ""
    hidden: list[str] = []
    webhooks: bool = True
    webhook_poll_seconds: float = Field(default=0, ge=0)
    webhook_array: bool = False
    custom_fields: dict[str, list[str]] = {
        "opportunities": [
            *(f"opportunity_field_{number}" for number in range(1, 9)),
            *("invoice_number", "invoice_id", "invoice_total", "invoice_status"),
            *("payment_status", "amount_paid", "balance_due", "last_payment_on", "paid_on"),
        ],
        "companies": ["user1", "user2", "user3", "accounting_id", "balance_due"],
        "contacts": ["user1", "user2", "user3", "accounting_id"],
        "products": ["accounting_id"],
        "lines": [],
    }


@dataclass(slots=True)
class Webhook:
    """A registered webhook, in the provider's own words."""

    id: str
    monitor: str
    event: str
    url: str
    callback_id: str
    token: str
    seen: str
    suspended: bool = False
    failed_attempts: int = 0

    def as_wire(self) -> WireRecord:
        """What `GET /api/webhooks` shows; the token is not among it."""
        return {
            "id": self.id,
            "monitor": self.monitor,
            "triggerEvent": self.event,
            "callbackUrl": self.url,
            "callbackId": self.callback_id,
            "suspended": self.suspended,
            "failedAttempts": self.failed_attempts,
        }


@dataclass(slots=True)
class ActState:
    """Everything that one simulated server keeps.

    Attributes:
        new_id: Gives each new record its id; a simulation puts its own here, so that a run can be had again.
        shows: False for a record that lists do not show yet, as a server does whose lists are stale.
    """

    settings: ActSettings
    clock: Clock
    new_id: Callable[[], str] = lambda: str(uuid4())
    shows: Callable[[WireRecord], bool] | None = None
    tables: dict[str, dict[str, WireRecord]] = field(
        default_factory=lambda: {"companies": {}, "contacts": {}, "opportunities": {}, "products": {}}
    )
    lines: dict[str, list[WireRecord]] = field(default_factory=dict)
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    _minute: datetime | None = None
    _calls: int = 0

    def __post_init__(self) -> None:
        if self.settings.data == "crm-sales-opportunities":
            self.load(dataset.read(deals=self.settings.deals))

    def load(self, data: dataset.ActData) -> None:
        """Take these records in, as they are."""
        for collection in self.tables:
            for record in getattr(data, collection):
                blank = self._blank(collection)
                custom = {**blank["customFields"], **record["customFields"]}
                self.tables[collection][record["id"]] = {**blank, **record, "customFields": custom}
        for opportunity, lines in data.lines.items():
            self.lines[opportunity] = [{**self._blank("lines"), **line} for line in lines]

    # What is kept in the state file

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON values; later changes of the state do not reach them."""
        hooks = [
            {name: getattr(hook, name) for name in Webhook.__dataclass_fields__} for hook in self.webhooks.values()
        ]
        tables = {name: {key: dict(record) for key, record in table.items()} for name, table in self.tables.items()}
        return {"tables": tables, "lines": {key: list(kept) for key, kept in self.lines.items()}, "webhooks": hooks}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self.tables = dict(saved["tables"])
        self.lines = dict(saved["lines"])
        self.webhooks = {hook["id"]: Webhook(**hook) for hook in saved["webhooks"]}

    # Sign-in and limits

    def sign_in(self, database: str, username: str, password: str) -> str:
        """A token. Wrong user, password and database are answered alike.

        Raises:
            ActError: 401.
        """
        wanted = self.settings
        if (database, username, password) != (wanted.database, wanted.username, wanted.password):
            raise ActError(401)
        return self.new_token()

    def new_token(self) -> str:
        """A JWT for the user."""
        expires = self.clock.now() + timedelta(minutes=self.settings.token_minutes)
        claims = {
            "unique_name": self.settings.username,
            "database": self.settings.database,
            "exp": int(expires.timestamp()),
            "jti": str(uuid4()),
        }
        signed = f"{_encoded({'typ': 'JWT', 'alg': 'HS256'})}.{_encoded(claims)}"
        return f"{signed}.{_signature(signed, self.settings.password)}"

    def check_token(self, token: str) -> None:
        """Return if the token is good. A changed password ends it.

        Raises:
            ActError: 401.
        """
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), _signature(signed, self.settings.password).encode()):
            raise ActError(401)
        claims = signed.partition(".")[2]
        expires = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        if self.clock.now().timestamp() >= expires:
            raise ActError(401)

    def check_rights(self) -> None:
        """Return if the user may use the API.

        Raises:
            ActError: 403 with a sub-code.
        """
        if self.settings.refusal:
            raise ActError(403, REFUSALS[self.settings.refusal])

    def spend(self, calls: int) -> dict[str, str]:
        """Count calls in this minute; the headers that say so.

        Raises:
            ActError: If the minute's calls are used up; the refused call does not count.
        """
        now = self.clock.now()
        if self._minute is None or now >= self._minute + timedelta(minutes=1):
            self._minute, self._calls = now.replace(second=0, microsecond=0), 0
        if self._calls + calls > self.settings.calls_per_minute:
            raise ActError(self.settings.limit_status, "API calls quota exceeded.")
        self._calls += calls
        return self.limit_headers()

    def limit_headers(self) -> dict[str, str]:
        """How many calls are left in this minute, and in how many seconds it ends."""
        if not self.settings.limit_headers or self._minute is None:
            return {}
        left = (self._minute + timedelta(minutes=1) - self.clock.now()).total_seconds()
        return {
            "X-RateLimit-Limit": str(self.settings.calls_per_minute),
            "X-RateLimit-Remaining": str(self.settings.calls_per_minute - self._calls),
            "X-RateLimit-Reset": str(max(1, int(left + 0.999))),
        }

    # Reading

    def listed(self, collection: str, options: Mapping[str, str]) -> list[odata.Row]:
        """One page of a collection.

        Raises:
            ActError: 400 for a query that is not supported.
        """
        query = self._query(collection, options)
        table = self.tables[collection]
        hidden = set(self.settings.hidden)
        ids = query.filter.ids if query.filter is not None else None
        rows = table.values() if ids is None else [table[each] for each in sorted(ids) if each in table]
        visible = (row for row in rows if row["id"] not in hidden) if hidden else rows
        seen = filter(self.shows, visible) if self.shows is not None and ids is None else visible
        shown = map(self._shown, seen) if self.settings.status_as_number else seen
        return self._page(query, shown)

    def lines_of(self, opportunity: str, options: Mapping[str, str]) -> list[odata.Row]:
        """The lines of an opportunity.

        Raises:
            ActError: 404 if there is none that the user may see.
        """
        self.record("opportunities", opportunity)
        return self._page(self._query("lines", options), self.lines.get(opportunity, []))

    def record(self, collection: str, key: str) -> WireRecord:
        """One record.

        Raises:
            ActError: 404 if it is gone or hidden.
        """
        return dict(self._shown(self._stored(collection, key)))

    def fields(self, collection: str) -> list[WireRecord]:
        """The fields of a collection, as the metadata shows them."""
        custom = self.settings.custom_fields.get(collection, [])
        stock = [{"name": name, "displayName": name, "isCustom": False} for name in sorted(FIELDS[collection])]
        named = [{"name": name, "displayName": name.replace("_", " ").title(), "isCustom": True} for name in custom]
        return stock + named

    def _query(self, collection: str, options: Mapping[str, str]) -> odata.Query:
        try:
            return odata.parse(
                options,
                FIELDS[collection],
                top_default=self.settings.top_default,
                top_max=self.settings.top_max,
            )
        except odata.QueryError as error:
            raise ActError(400, str(error)) from error

    @staticmethod
    def _page(query: odata.Query, rows: Any) -> list[odata.Row]:  # noqa: ANN401 - any iterable of rows
        try:
            return query.page(rows)
        except odata.QueryError as error:
            raise ActError(400, str(error)) from error

    def _stored(self, collection: str, key: str) -> WireRecord:
        record = self.tables[collection].get(key.lower())
        if record is None or record["id"] in self.settings.hidden:
            raise ActError(404)
        return record

    def _shown(self, record: WireRecord) -> WireRecord:
        if not self.settings.status_as_number or "status" not in record:
            return record
        return {**record, "status": STATUSES.index(record["status"])}

    # Writing

    def create(self, collection: str, body: Mapping[str, Any]) -> WireRecord:
        """A new record.

        Raises:
            ActError: 400 if it has no name.
        """
        key = self.new_id()
        now = self._now()
        record = self._merged(collection, self._blank(collection), body)
        record |= {"id": key, "created": now, **self._edit_stamps(collection, now)}
        if "createDate" in record:
            record["createDate"] = now
        if not record.get("fullName" if collection == "contacts" else "name"):
            raise ActError(400, "A name is required.")
        self.tables[collection][key] = record
        return self.record(collection, key)

    def replace(self, collection: str, key: str, body: Mapping[str, Any]) -> WireRecord:
        """PUT: what the body does not name becomes empty.

        Raises:
            ActError: 404 if it is gone or hidden.
        """
        stored = self._stored(collection, key)
        blank = self._blank(collection) | {name: stored[name] for name in _READ_ONLY & stored.keys()}
        return self._keep(collection, stored, self._merged(collection, blank, body))

    def patch(self, collection: str, key: str, body: Mapping[str, Any]) -> WireRecord:
        """PATCH: only what the body names changes, or nothing at all, by the settings.

        Raises:
            ActError: 404 if it is gone or hidden.
        """
        stored = self._stored(collection, key)
        if self.settings.patch_ignores:
            return self.record(collection, key)
        return self._keep(collection, stored, self._merged(collection, copy.deepcopy(stored), body))

    def delete(self, collection: str, key: str) -> None:
        """Remove a record; nothing tells of it afterwards.

        Raises:
            ActError: 404 if it is gone or hidden.
        """
        self._stored(collection, key)
        del self.tables[collection][key.lower()]
        self.lines.pop(key.lower(), None)

    def add_line(self, opportunity: str, body: Mapping[str, Any]) -> WireRecord:
        """A new line; the opportunity's total follows, and its time of edit moves.

        Raises:
            ActError: 404 if the opportunity is gone or hidden.
        """
        stored = self._stored("opportunities", opportunity)
        now = self._now()
        line = self._merged("lines", self._blank("lines"), body)
        quantity, price = line["quantity"] or 0.0, line["price"] or 0.0
        discounted = price - price * (line["discount"] or 0.0) / 100
        line |= {"discountPrice": discounted, "id": self.new_id(), "opportunityID": stored["id"]}
        line |= {"created": now, "edited": now, "createDate": now, "editDate": now}
        if line["total"] is None:
            line["total"] = quantity * discounted
        self.lines.setdefault(stored["id"], []).append(line)
        self._lines_changed(stored)
        return dict(line)

    def delete_line(self, opportunity: str, line: str) -> None:
        """Remove a line.

        Raises:
            ActError: 404 if there is none.
        """
        stored = self._stored("opportunities", opportunity)
        lines = self.lines.get(stored["id"], [])
        left = [each for each in lines if each["id"] != line.lower()]
        if len(left) == len(lines):
            raise ActError(404)
        self.lines[stored["id"]] = left
        self._lines_changed(stored)

    def _lines_changed(self, opportunity: WireRecord) -> None:
        lines = self.lines[opportunity["id"]]
        opportunity["productTotal"] = sum(line["total"] for line in lines)
        opportunity["product"] = ", ".join(line["name"] or "" for line in lines)
        opportunity |= self._edit_stamps("opportunities", self._now())

    def _keep(self, collection: str, stored: WireRecord, record: WireRecord) -> WireRecord:
        if collection == "opportunities" and self.lines.get(stored["id"]):
            record["productTotal"] = stored["productTotal"]
        stored.clear()
        stored.update(record | self._edit_stamps(collection, self._now()))
        return self.record(collection, stored["id"])

    def _edit_stamps(self, collection: str, now: str) -> WireRecord:
        stamps = {"edited": now, "editedBy": self.settings.username}
        return {**stamps, "editDate": now} if "editDate" in FIELDS[collection] else stamps

    def _now(self) -> str:
        return self.clock.now().isoformat()

    def _blank(self, collection: str) -> WireRecord:
        blank: WireRecord = dict.fromkeys(sorted(FIELDS[collection]))
        blank["customFields"] = dict.fromkeys(self.settings.custom_fields.get(collection, []))
        blank["isPrivate"] = False
        if collection == "opportunities":
            blank |= {"status": "Open", "contacts": [], "companies": [], "groups": [], "productTotal": 0.0}
        return blank

    def _merged(self, collection: str, onto: WireRecord, body: Mapping[str, Any]) -> WireRecord:
        """`onto` with the body's fields; unknown names are dropped silently, as a .NET model does."""
        for name in FIELDS[collection] - _READ_ONLY:
            if name not in body:
                continue
            value = body[name]
            if name == "customFields":
                known = self.settings.custom_fields.get(collection, [])
                onto[name] |= {key: kept for key, kept in (value or {}).items() if key in known}
            elif name == "status":
                onto[name] = _status(value)
            elif name in _LISTS:
                onto[name] = [self._embedded(name, each) for each in value or []]
            else:
                onto[name] = float(value) if isinstance(value, int) and name in _DOUBLES else value
        if "statusName" in onto:
            onto["statusName"] = onto["status"]
        return onto

    def _embedded(self, collection: str, given: Mapping[str, Any]) -> WireRecord:
        if collection not in self.tables:
            return dict(given)
        record = self._stored(collection, str(given.get("id", "")))
        if collection == "companies":
            return {"id": record["id"], "name": record["name"]}
        return {"id": record["id"], "displayName": record["fullName"], "company": record["company"]}

    # Webhooks

    def register(self, body: Mapping[str, Any]) -> WireRecord:
        """A new webhook.

        Raises:
            ActError: 400 if it cannot be.
        """
        if body.get("monitor") not in _MONITORS or body.get("triggerEvent") not in {"Created", "Updated"}:
            raise ActError(400, "The monitor or the trigger event is invalid.")
        if not body.get("callbackUrl"):
            raise ActError(400, "The callback URL is required.")
        hook = Webhook(
            id=str(uuid4()),
            monitor=body["monitor"],
            event=body["triggerEvent"],
            url=body["callbackUrl"],
            callback_id=body.get("callbackId") or "",
            token=body.get("callbackToken") or "",
            seen=self._now(),
        )
        self.webhooks[hook.id] = hook
        return hook.as_wire()

    def webhook(self, key: str) -> Webhook:
        """One webhook.

        Raises:
            ActError: 404 if there is none.
        """
        if key not in self.webhooks:
            raise ActError(404)
        return self.webhooks[key]

    def notifications(self, hook: Webhook) -> list[WireRecord]:
        """What the webhook has to tell, oldest first."""
        stamp = "created" if hook.event == "Created" else "edited"
        since = odata.moment(hook.seen)
        due = [
            {name: row[name] for name in ("id", "created", "edited")}
            for row in self.tables[_MONITORS[hook.monitor]].values()
            if odata.moment(row[stamp]) > since and (stamp == "created" or row["edited"] != row["created"])
        ]
        return sorted(due, key=lambda body: odata.moment(body[stamp]))

    def delivered(self, hook: Webhook, until: str | None) -> None:
        """Note how a delivery ended: `until` is the last time that arrived, None says that it failed."""
        if until is not None:
            hook.seen, hook.failed_attempts = until, 0
            return
        hook.failed_attempts += 1
        hook.suspended = hook.failed_attempts >= _WEBHOOK_ATTEMPTS_MAX


_DOUBLES = frozenset({"productTotal", "price", "cost", "quantity", "discount", "total", "revenue", "grossMargin"})


def _status(value: object) -> str:
    if isinstance(value, str) and value in STATUSES:
        return value
    if isinstance(value, int) and 0 <= value < len(STATUSES):
        return STATUSES[value]
    raise ActError(400, "The status is invalid.")


def _encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signature(signed: str, password: str) -> str:
    digest = hmac.new(_TOKEN_KEY + password.encode(), signed.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
