"""The guided tour: the whole way of a deal, with real data, failures and the e-mails that they cause."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.stage import SYNC, TENANT, Stage, StageError

PAID_INVOICES = 25
MAIL_WIDTH = 84
ARRIVAL_SECONDS_MAX = 120
SETTLE_SECONDS_MAX = 900
WON = "status eq 'Won'"
OPEN_WITH_COMPANY = "status eq 'Open' and companies/any(c: c/name ne '')"


@dataclass(frozen=True, slots=True)
class TourEnd:
    """Whether both sides tied out, whether the second run wrote nothing, and the comparison as the CLI gave it."""

    ties_out: bool
    second_run_wrote: int
    comparison: Any


class Tour:
    """Plays the tour on a stage that stands."""

    def __init__(self, stage: Stage, console: Console, faults: Path | None) -> None:
        self._stage, self._console, self._faults = stage, console, faults

    def play(self) -> TourEnd:
        """How it ended.

        Raises:
            StageError: If a step did not do what it has to.
        """
        stage = self._stage
        self._chapter("1", "Connect Act! and QuickBooks Online, and choose what becomes what")
        self._note(
            "So that nobody waits for real-life quotas, both simulators take "
            "[bold]60,000 calls a minute[/bold] here instead of QuickBooks' 500 calls and 40 batches. "
            "The true limits are kept in the tests."
        )
        stage.configure()
        stage.connect()
        self._chapter("2", "What would be written? 8,800 deals planned, nothing written yet")
        stage.tieout("plan", SYNC, ends=(0, 3))
        self._make_rough()
        self._chapter("3", "The history: every won deal becomes an invoice")
        stage.tieout("backfill", SYNC)
        self._chapter("4", f"{PAID_INVOICES} customers pay in QuickBooks; their deals in Act! show it")
        self._payments()
        self._smooth()
        self._chapter("5", "What goes wrong, and who hears of it")
        self._failures()
        self._chapter("6", "A second run of the whole sync")
        wrote = self._second_run()
        self._chapter("7", "Do both sides tie out?")
        comparison = stage.ask("tie-out", SYNC)
        stage.tieout("tie-out", SYNC, ends=(0, 1))
        return TourEnd(all(step["ties_out"] for step in comparison["steps"]), wrote, comparison)

    # Chapters

    def _payments(self) -> None:
        stage = self._stage
        deals = stage.deals(WON, PAID_INVOICES)
        for number, deal in enumerate(deals):
            half = {"amount": str((Decimal(str(deal["productTotal"])) / 2).quantize(Decimal("0.01")))}
            stage.books.call(
                "POST", "/_sandbox/pay", {"doc_number": deal["sourceId"]} | (half if number % 5 == 0 else {})
            )
        wanted = {deal["id"] for deal in deals}
        self._until(lambda: self._paid(wanted) == len(wanted), "the payments to arrive in Act!")
        table = Table("Deal in Act!", "Invoice", "Payment", "Paid", "Open", title="As the sales team sees it")
        for deal in deals[:8]:
            custom = stage.act_call("GET", f"/opportunities/{deal['id']}")["customFields"]
            names = ("invoice_number", "payment_status", "amount_paid", "balance_due")
            table.add_row(deal["name"], *(str(custom.get(name, "")) for name in names))
        self._console.print(table)

    def _paid(self, wanted: set[str]) -> int:
        found = self._stage.deals(WON, PAID_INVOICES)
        return sum(bool(deal["customFields"].get("payment_status")) for deal in found if deal["id"] in wanted)

    def _failures(self) -> None:
        opened = self._stage.deals(OPEN_WITH_COMPANY, 1)[0]
        linked = self._stage.deals(WON, PAID_INVOICES + 4)[PAID_INVOICES:]
        self._unknown_product(opened)
        self._closed_books(linked[0])
        self._both_sides(linked[1])
        self._lost_answer(linked[2])
        self._outage(linked[3])
        self._revoked(linked[3])

    def _unknown_product(self, deal: dict[str, Any]) -> None:
        self._scene("A deal is won for a product that the catalogue does not have")
        stage = self._stage
        (line,) = stage.act_call("GET", f"/opportunities/{deal['id']}/products")
        stage.change_product(deal["id"], "GTX Ultra")
        stage.edit_deal(
            deal["id"], status="Won", actualCloseDate="2017-12-31T00:00:00+00:00", productTotal=line["total"]
        )
        self._sync()
        self._mail_about("GTX Ultra")
        stage.tieout("parked", "list", ends=(0, 1))
        self._note("It was a mistake: the deal goes back to open, and the list is empty again.")
        stage.change_product(deal["id"], line["name"])
        stage.edit_deal(deal["id"], **{key: deal[key] for key in ("status", "actualCloseDate", "productTotal")})
        self._sync()

    def _closed_books(self, deal: dict[str, Any]) -> None:
        self._scene("The accountant has closed the books, and a deal of last year is changed")
        with self._changed_amount(deal):
            self._stage.books.call("POST", "/_sandbox/settings", {"closed_until": "2017-12-31"})
            self._sync()
            self._mail_about("closed")
            self._stage.books.call("POST", "/_sandbox/settings", {"closed_until": None})
            self._note("The books are opened again; the command of the e-mail goes on:")
            self._stage.tieout("parked", "retry", "--all")
            self._stage.settle()
        self._sync()

    def _both_sides(self, deal: dict[str, Any]) -> None:
        self._scene("The same invoice is changed in QuickBooks and its deal in Act!")
        invoice = self._invoice(str(deal["sourceId"]))
        self._renumber(invoice, "CHANGED-BY-HAND")
        with self._changed_amount(deal):
            self._sync()
            self._mail_about("changed")
            self._note("A person makes both sides equal again: the deal and the number go back.")
            self._renumber(self._invoice("CHANGED-BY-HAND"), str(deal["sourceId"]))
        self._sync()

    def _lost_answer(self, deal: dict[str, Any]) -> None:
        self._scene("QuickBooks writes, but its answer is lost on the way")
        batch = {"method": "POST", "path": "/v3/company/*/batch"}
        self._through(deal, {"match": batch, "kind": "lost_answer", "probability": 1, "times": 1})
        self._note("The write was looked up, found, and not repeated. No e-mail: nobody has to do anything.")

    def _outage(self, deal: dict[str, Any]) -> None:
        self._scene("QuickBooks is down for a while")
        everything = {"method": "*", "path": "/v3/*"}
        self._through(deal, {"match": everything, "kind": "status", "status": 503, "probability": 1, "times": 3})
        self._note("The change waited and went on by itself. No e-mail.")

    def _through(self, deal: dict[str, Any], fault: dict[str, Any]) -> None:
        """Change a deal while the fault is in force, and show that its invoice follows and no other appears.

        Raises:
            StageError: If it does not, or if the fault did not fire.
        """
        before = self._invoices()
        with self._changed_amount(deal):
            self._fault(fault)
            self._sync()
            fired = self._stage.books.call("GET", "/_sandbox/faults")["faults"][0]["fired"]
            invoice, price = self._invoice(str(deal["sourceId"])), deal["productTotal"] + 1
            after = self._invoices()
            if not fired or after != before or Decimal(str(invoice["TotalAmt"])) != Decimal(str(price)):
                raise StageError(f"{fired} faults, {before} and {after} invoices, {invoice['TotalAmt']} for {price}.")
        self._console.print(
            f"The fault fired {fired} times. Deal {price:,.2f}, invoice {invoice['TotalAmt']:,.2f}; "
            f"{before:,} invoices before, {after:,} after."
        )
        self._fault()
        self._sync()

    def _invoices(self) -> int:
        (company,) = self._stage.books.call("GET", "/_sandbox/summary").values()
        return int(company["invoices"])

    def _revoked(self, deal: dict[str, Any]) -> None:
        self._scene("Somebody disconnects Tieout in QuickBooks")
        stage = self._stage
        with self._changed_amount(deal):
            stage.books.call("POST", "/_sandbox/revoke", {})
            stage.poll("act")
            self._until(self._is_paused, "the connection to pause")
            self._mail_about("quickbooks")
            stage.tieout("status", ends=(0, 1))
            self._note("The operator connects again; what waited goes on.")
            stage.consent()
            stage.settle(SETTLE_SECONDS_MAX)
        self._sync()

    def _second_run(self) -> int:
        """How many writes reached QuickBooks and Act! in a second backfill."""
        stage = self._stage
        before = self._writes()
        stage.tieout("backfill", SYNC)
        writes = self._writes() - before
        self._note(f"Writes that reached Act! or QuickBooks: [bold]{writes}[/bold].")
        return writes

    def _writes(self) -> int:
        """Writes that both simulators did so far."""
        act = self._stage.act.call("GET", "/_sandbox/writes")
        routes = self._stage.books.call("GET", "/_sandbox/calls")["routes"]
        written = (
            count["calls"] for route, count in routes.items() if route.startswith("POST /v3") and "/query" not in route
        )
        return int(sum(act.values()) + sum(written))

    # Pieces

    @contextmanager
    def _changed_amount(self, deal: dict[str, Any]) -> Iterator[None]:
        """The deal's price is one more within, and as before afterwards."""
        (line,) = self._stage.act_call("GET", f"/opportunities/{deal['id']}/products")
        self._price(deal["id"], line["name"], line["price"] + 1)
        yield
        self._price(deal["id"], line["name"], line["price"])

    def _price(self, deal_id: str, product: str, price: float) -> None:
        self._stage.change_product(deal_id, product, price)
        self._stage.edit_deal(deal_id, productTotal=price)

    def _invoice(self, number: str) -> dict[str, Any]:
        statement = f"SELECT * FROM Invoice WHERE DocNumber = '{number}'"  # noqa: S608 - Intuit's language, our number
        return dict(self._books("GET", "/query", query=statement)["QueryResponse"]["Invoice"][0])

    def _renumber(self, invoice: dict[str, Any], number: str) -> None:
        sparse = {key: invoice[key] for key in ("Id", "SyncToken", "CustomerRef")}
        self._books("POST", "/invoice", {**sparse, "sparse": True, "DocNumber": number})

    def _books(self, method: str, path: str, body: object = None, *, query: str = "") -> Any:  # noqa: ANN401 - JSON
        grant = self._stage.books.call("POST", "/_sandbox/grant", {})
        asked = f"?query={query}" if query else ""
        address = f"/v3/company/{grant['realmId']}{path}{asked}"
        return self._stage.books.call(method, address, body, Authorization=f"Bearer {grant['access_token']}")

    def _sync(self) -> None:
        """What the schedule does each minute, and what follows from it."""
        self._stage.poll("act")
        self._stage.settle(SETTLE_SECONDS_MAX)

    def _fault(self, *faults: dict[str, Any]) -> None:
        """Put these faults in force at QuickBooks, and no others."""
        self._stage.books.call("PUT", "/_sandbox/faults", {"seed": 7, "faults": list(faults)})

    def _make_rough(self) -> None:
        if self._faults is None:
            return
        plan = FaultPlan.read(self._faults).model_dump(mode="json", exclude_none=True)
        for simulator in (self._stage.act, self._stage.books):
            simulator.call("PUT", "/_sandbox/faults", plan)
        self._note(f"From here on both simulators fail as {self._faults} says.")

    def _smooth(self) -> None:
        if self._faults is None:
            return
        table = Table("Simulator", "Fault", "Fired")
        for name, simulator in (("Act!", self._stage.act), ("QuickBooks", self._stage.books)):
            for fault in simulator.call("GET", "/_sandbox/faults")["faults"]:
                if fault["matched"]:
                    table.add_row(name, fault["kind"], str(fault["fired"]))
            simulator.call("PUT", "/_sandbox/faults", {"faults": []})
        self._console.print(table)
        self._note("From here on both simulators do as they should, but for what the next chapter breaks on purpose.")
        self._stage.settle(SETTLE_SECONDS_MAX)

    def _is_paused(self) -> bool:
        return any(one["state"] == "paused" for one in self._stage.ask("status")["connections"])

    def _mail_about(self, word: str) -> None:
        """Show the e-mails that were sent, of which one speaks of `word`."""
        mails: list[tuple[str, str]] = []

        def arrived() -> bool:
            mails.extend(self._stage.mail())
            return any(word.casefold() in text.casefold() for _, text in mails)

        self._until(arrived, f"an e-mail about {word}")
        _show(mails, self._console)

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
        while not done():
            if time.monotonic() > deadline:
                raise StageError(f"Waited {ARRIVAL_SECONDS_MAX} seconds for {what}.")
            time.sleep(0.5)

    def _chapter(self, number: str, title: str) -> None:
        self._console.rule(f"[bold]{number}. {title}", align="left")

    def _scene(self, title: str) -> None:
        self._console.print(f"\n[bold cyan]{title}[/bold cyan]")

    def _note(self, text: str) -> None:
        self._console.print(f"[dim]{text}[/dim]")


def _show(mails: Sequence[tuple[str, str]], console: Console) -> None:
    for subject, text in mails:
        body = Text(f"Subject: {subject}\n\n{text.rstrip()}")
        console.print(Panel(body, title="E-mail to you@example.com", border_style="yellow", width=MAIL_WIDTH))


def tour(*, once: bool, faults: Path | None, console: Console) -> bool:
    """True if both sides tie out and the second run wrote nothing. Unless `once`, it stays up until Ctrl-C."""
    with Stage(say=lambda line: console.print(f"[dim]{line}[/dim]")) as stage:
        end = Tour(stage, console, faults).play()
        good = end.ties_out and end.second_run_wrote == 0
        verdict = "[bold green]Both sides tie out." if good else "[bold red]The sides differ."
        console.print(Panel(verdict))
        if not once:
            _stay(stage, console)
    return good


def _stay(stage: Stage, console: Console) -> None:
    """Everything stays up and the schedules run, until Ctrl-C."""
    exports = {name: stage.environment[name] for name in (*stage.aws.environment, "TIEOUT_STACK", "TIEOUT_TENANT")}
    lines = [
        "It stays up, polls each minute and takes webhooks. Ctrl-C ends it.",
        "",
        f"Act! simulator         {stage.act.url}/act.web.api/api/system",
        f"QuickBooks simulator   {stage.books.url}/_sandbox/summary",
        f"Webhooks               {stage.stack.outputs['WebhookUrl'].rstrip('/')}/{TENANT}.quickbooks",
        f"Local AWS              {stage.aws.endpoint}",
        "",
        "To operate it from another terminal, paste these lines and try `.venv/bin/tieout status`:",
        *(f"  export {name}={value}" for name, value in exports.items()),
    ]
    console.rule("[bold]Yours to try", align="left")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)  # unbroken, so that it can be copied
    try:
        while True:
            _show(stage.mail(), console)
            time.sleep(5)
    except KeyboardInterrupt:
        console.print("Ending; this takes some seconds.")
