"""What the stage and the tour need of a provider: how it starts, how one signs in, and what its people do there.

Each provider has these in `simulators/<provider>/side.py`, which exports `CRM`, `BOOKS` or both. A side is made for one
stage, and its simulator runs while that stage stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tieout_sandbox.served import Server

RAISED_LIMIT = 60_000
"""Calls a minute that simulators take on the stage, so that nobody waits for quotas."""


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal as the CRM shows it.

    Attributes:
        number: What its invoice is to be called.
        total: What it brings.
        paid: What of it is paid, as far as the CRM was told.
        shown: What was written back to it, by the names of custom fields.
    """

    id: str
    name: str
    number: str
    customer: str
    total: Decimal
    paid: Decimal = Decimal(0)
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as the books show it. `number` is the one that the deal has, too."""

    id: str
    number: str
    customer: str
    total: Decimal
    paid: Decimal


@dataclass(frozen=True, slots=True)
class Program:
    """What a system's own program is told to fetch its work: where, and as whom."""

    address: str
    user: str
    password: str = field(repr=False)


class Operator(Protocol):
    """What signing in needs of the stage."""

    def tieout(self, *arguments: str, given: str = "", ends: tuple[int, ...] = (0,)) -> int:
        """The exit code of a command of our terminal program."""
        ...

    def consent(self, connection: str, app: Mapping[str, str], pages: str) -> None:
        """Connect by a consent page, whose address begins with `pages`."""
        ...

    def webhook_address(self, connection: str) -> str:
        """Where the connection's webhooks go."""
        ...

    def install_agent(self, connection: str, secrets: Mapping[str, str]) -> object:
        """Let an agent in beside the connection's system, and have it prove that the system answers."""
        ...

    def own_program(self, connection: str) -> Program:
        """Let the system's own program in, which fetches its work as an agent does."""
        ...


class Side(Protocol):
    """A provider on the stage.

    Attributes:
        provider: Its name in the registries.
        title: Its whole name.
        called: As people call it.
        connection: Id of its connection, as the sync names it.
        simulator: Set by `start`.
        limits: What it takes in real life, if it takes more here: such as "Zoho Books' 100 calls". Empty otherwise.
    """

    provider: str
    title: str
    called: str
    connection: str
    limits: str
    simulator: Server

    def start(self, folder: Path, environment: Mapping[str, str]) -> AbstractContextManager[object]:
        """Its simulator, running within; it logs into the folder, and has these variables."""
        ...

    def document(self, operator: Operator) -> str:
        """The connection document."""
        ...

    def connect(self, operator: Operator) -> None:
        """Sign in, and let it know where webhooks go."""
        ...

    def writes(self) -> int:
        """Writes that reached it so far."""
        ...

    def addresses(self) -> Sequence[tuple[str, str]]:
        """What a person may look at, each with its address."""
        ...


class WonDeals(Protocol):
    """A CRM with won deals in it, for tests that ask no more of one. Every `CrmSide` is one."""

    connection: str

    def start(self, folder: Path, environment: Mapping[str, str]) -> AbstractContextManager[object]:
        """As of a side."""
        ...

    def document(self, operator: Operator) -> str:
        """As of a side."""
        ...

    def connect(self, operator: Operator) -> None:
        """As of a side."""
        ...

    def won(self, count: int) -> list[Deal]:
        """The first won deals in an order that does not change, without what was written back."""
        ...

    def deal(self, deal_id: str) -> Deal:
        """The deal as it is now, with what was written back."""
        ...


class CrmSide(Side, Protocol):
    """Where deals are won, and what the sales team does there.

    Attributes:
        mistake: What the sales team does by mistake, as the title of a scene.
        shows_payments: How far invoices are paid is written back to deals.
    """

    mistake: str
    shows_payments: bool

    def deals_count(self) -> int:
        """How many deals there are."""
        ...

    def won(self, count: int) -> list[Deal]:
        """The first won deals in an order that does not change, without what was written back."""
        ...

    def open(self, count: int) -> list[Deal]:
        """The first open deals that name a customer, likewise."""
        ...

    def deal(self, deal_id: str) -> Deal:
        """The deal as it is now, with what was written back."""
        ...

    def reprice(self, deal: Deal, total: Decimal) -> None:
        """Let its only line, and so the deal, be of this amount."""
        ...

    def win(self, deal: Deal, on: date) -> None:
        """Win an open deal."""
        ...

    def make_mistake(self, deal: Deal, on: date) -> str:
        """Win an open deal in a way that only a person can mend; what the e-mail about it will speak of."""
        ...

    def mend_mistake(self, deal: Deal) -> None:
        """Let the deal be as it was."""
        ...


class BooksSide(Side, Protocol):
    """Where invoices stand, and what the bookkeepers do there.

    Attributes:
        lost_answer: Matches the calls that write an invoice.
        outage: Matches all of its calls.
        closed_word: Is in the e-mail about a document whose period is closed.
        tells: It sends webhooks on the stage. Otherwise it is polled.
        deals_max: How many deals it takes in a few minutes; None if all.
    """

    lost_answer: Mapping[str, str]
    outage: Mapping[str, str]
    closed_word: str
    tells: bool
    deals_max: int | None

    def invoices(self) -> list[Invoice]:
        """All that stand."""
        ...

    def invoice(self, number: str) -> Invoice:
        """The one of this number."""
        ...

    def pay(self, number: str, amount: Decimal | None = None) -> None:
        """A customer pays so much of an invoice; all that is open without `amount`."""
        ...

    def close(self, until: date | None) -> None:
        """Close the books up to and with this day; None opens them."""
        ...

    def revoke(self) -> None:
        """Take Tieout's access away."""
        ...

    def reconnect(self, operator: Operator) -> None:
        """Sign in again."""
        ...


@runtime_checkable
class Editable(Protocol):
    """Books in which an issued invoice can still be changed, by Tieout and by hand."""

    def renumber(self, invoice: Invoice, number: str) -> None:
        """Change an invoice's number by hand."""
        ...
