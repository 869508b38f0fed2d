"""The guided tour: the whole way of a deal, with real data, failures and the e-mails that they cause."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tieout_sandbox.served import StageError
from tieout_sandbox.sides import RAISED_LIMIT, BooksSide, CrmSide, Deal, Editable
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.stage import SYNC, TENANT, Stage, sides

PAID_INVOICES = 25
SCENES_WITH_A_DEAL = 5
LAST_DAY = date(2017, 12, 31)
BY_HAND = "BY-HAND"
"""A number that somebody gives an invoice by hand; short, as QuickBooks Desktop takes 11 characters."""
MAIL_WIDTH = 84
ARRIVAL_SECONDS_MAX = 120
SETTLE_SECONDS_MAX = 900


@dataclass(frozen=True, slots=True)
class TourEnd:
    """Whether both sides tied out, whether the second run wrote nothing, and the comparison as the CLI gave it."""

    ties_out: bool
    second_run_wrote: int
    comparison: Any


class Tour:
    """Plays the tour on a stage that stands."""

    def __init__(self, stage: Stage[CrmSide, BooksSide], console: Console, faults: Path | None) -> None:
        self._stage, self._console, self._faults = stage, console, faults
        self._crm, self._books = stage.crm, stage.books

    def play(self) -> TourEnd:
        """How it ended.

        Raises:
            StageError: If a step did not do what it has to.
        """
        stage, crm, books = self._stage, self._crm, self._books
        self._chapter("1", f"Connect {crm.title} and {books.title}, and choose what becomes what")
        self._note_limits()
        stage.configure()
        stage.connect()
        self._chapter("2", f"What would be written? {crm.deals_count():,} deals planned, nothing written yet")
        stage.tieout("plan", SYNC, ends=(0, 3))
        self._make_rough()
        self._chapter("3", "The history: every won deal becomes an invoice")
        stage.tieout("backfill", SYNC)
        deals = crm.won(PAID_INVOICES + SCENES_WITH_A_DEAL)
        paid = deals[: min(PAID_INVOICES, len(deals) - SCENES_WITH_A_DEAL)]
        shown = f"; their deals in {crm.called} show it" if crm.shows_payments else ""
        self._chapter("4", f"{len(paid)} customers pay in {books.called}{shown}")
        self._payments(paid)
        self._smooth()
        self._chapter("5", "What goes wrong, and who hears of it")
        self._failures(deals[len(paid) :])
        self._chapter("6", "A second run of the whole sync")
        wrote = self._second_run()
        self._chapter("7", "Do both sides tie out?")
        comparison = stage.ask("tie-out", SYNC)
        stage.tieout("tie-out", SYNC, ends=(0, 1))
        return TourEnd(all(step["ties_out"] for step in comparison["steps"]), wrote, comparison)

    def _note_limits(self) -> None:
        limits = [side.limits for side in (self._crm, self._books) if side.limits]
        if limits:
            self._note(
                f"So that nobody waits for real-life quotas, simulators take [bold]{RAISED_LIMIT:,} calls a "
                f"minute[/bold] here instead of {' and '.join(limits)}. The true limits are kept in the tests."
            )
        most = self._books.deals_max
        if most is not None:
            self._note(
                f"{self._books.called} takes a few invoices a second: {most:,} of the 8,800 deals take some minutes. "
                f"This time there are {self._crm.deals_count():,}; [bold]DEALS=all[/bold] takes them all."
            )

    # Chapters

    def _payments(self, deals: Sequence[Deal]) -> None:
        for number, deal in enumerate(deals):
            half = (deal.total / 2).quantize(Decimal("0.01"))
            self._books.pay(deal.number, half if number % 5 == 0 else None)
        if self._crm.shows_payments:
            self._payments_come_back(deals)
        else:
            self._note(
                f"Nothing is written to {self._crm.called}, so how far invoices are paid stands in the books alone."
            )

    def _payments_come_back(self, deals: Sequence[Deal]) -> None:
        wanted = {deal.id for deal in deals}

        def arrived() -> bool:
            if not self._books.tells:
                self._stage.poll(self._books.connection)
            wanted.difference_update([one for one in wanted if self._crm.deal(one).shown.get("payment_status")])
            return not wanted

        self._until(arrived, f"the payments to arrive in {self._crm.called}")
        title = "As the sales team sees it"
        table = Table(f"Deal in {self._crm.called}", "Invoice", "Payment", "Paid", "Open", title=title)
        for deal in deals[:8]:
            shown = self._crm.deal(deal.id).shown
            names = ("invoice_number", "payment_status", "amount_paid", "balance_due")
            table.add_row(deal.name, *(str(shown.get(name, "")) for name in names))
        self._console.print(table)

    def _failures(self, linked: Sequence[Deal]) -> None:
        """Each scene has a deal: one that has an invoice where that can change, otherwise one that is still open."""
        opened = self._crm.open(1 + SCENES_WITH_A_DEAL)
        deals = iter(linked if isinstance(self._books, Editable) else opened[1:])
        self._mistake(opened[0])
        self._closed_books(next(deals))
        if isinstance(self._books, Editable):
            self._both_sides(next(deals), self._books)
        else:
            self._note(
                f"In {self._books.called} nobody can change an issued invoice. So deals are won here instead of "
                "changed, and the scene is left out in which an invoice and its deal are both changed."
            )
        for play in (self._lost_answer, self._outage, self._revoked):
            play(next(deals))

    def _mistake(self, deal: Deal) -> None:
        self._scene(self._crm.mistake)
        word = self._crm.make_mistake(deal, LAST_DAY)
        self._sync()
        self._mail_about(word)
        self._stage.tieout("parked", "list", ends=(0, 1))
        self._note("It was a mistake: the deal goes back to open, and the list is empty again.")
        self._crm.mend_mistake(deal)
        self._sync()

    def _closed_books(self, deal: Deal) -> None:
        done = "changed" if isinstance(self._books, Editable) else "won"
        self._scene(f"The accountant has closed the books, and a deal of last year is {done}")
        with self._changed(deal):
            self._books.close(LAST_DAY)
            self._sync()
            self._mail_about(self._books.closed_word)
            self._books.close(None)
            self._note("The books are opened again; the command of the e-mail goes on:")
            self._stage.tieout("parked", "retry", "--all")
            self._stage.settle()
        self._sync()

    def _both_sides(self, deal: Deal, books: Editable) -> None:
        self._scene(f"The same invoice is changed in {self._books.called} and its deal in {self._crm.called}")
        books.renumber(self._books.invoice(deal.number), BY_HAND)
        with self._changed(deal):
            self._sync()
            self._mail_about("changed")
            self._note("A person makes both sides equal again: the deal and the number go back.")
            books.renumber(self._books.invoice(BY_HAND), deal.number)
        self._sync()

    def _lost_answer(self, deal: Deal) -> None:
        self._scene(f"{self._books.called} writes, but its answer is lost on the way")
        fault = {"match": self._books.lost_answer, "kind": "lost_answer", "probability": 1, "times": 1}
        self._through(deal, fault)
        self._note("The write was looked up, found, and not repeated. No e-mail: nobody has to do anything.")

    def _outage(self, deal: Deal) -> None:
        self._scene(f"{self._books.called} is down for a while")
        fault = {"match": self._books.outage, "kind": "status", "status": 503, "probability": 1, "times": 3}
        self._through(deal, fault)
        self._note("The change waited and went on by itself. No e-mail.")

    def _through(self, deal: Deal, fault: dict[str, Any]) -> None:
        """Change a deal while the fault is in force, and show that its invoice follows and no other appears.

        Raises:
            StageError: If it does not, or if the fault did not fire.
        """
        before = len(self._books.invoices())
        with self._changed(deal) as price:
            self._fault(fault)
            self._sync()
            fired = self._books.simulator.call("GET", "/_sandbox/faults")["faults"][0]["fired"]
            invoice, after = self._books.invoice(deal.number), len(self._books.invoices())
            wanted = before if isinstance(self._books, Editable) else before + 1
            if not fired or after != wanted or invoice.total != price:
                raise StageError(f"{fired} faults, {before} and {after} invoices, {invoice.total} for {price}.")
        self._console.print(
            f"The fault fired {fired} times. Deal {price:,.2f}, invoice {invoice.total:,.2f}; "
            f"{before:,} invoices before, {after:,} after."
        )
        self._fault()
        self._sync()

    def _revoked(self, deal: Deal) -> None:
        self._scene(f"Somebody disconnects Tieout in {self._books.called}")
        stage = self._stage
        with self._changed(deal):
            self._books.revoke()
            stage.poll(self._crm.connection)
            self._until(self._is_paused, "the connection to pause")
            self._mail_about(self._books.connection)
            stage.tieout("status", ends=(0, 1))
            self._note("The operator connects again; what waited goes on.")
            self._books.reconnect(stage)
            stage.settle(SETTLE_SECONDS_MAX)
        self._sync()

    def _second_run(self) -> int:
        """How many writes reached both sides in a second backfill."""
        before = self._crm.writes() + self._books.writes()
        self._stage.tieout("backfill", SYNC)
        writes = self._crm.writes() + self._books.writes() - before
        self._note(f"Writes that reached {self._crm.called} or {self._books.called}: [bold]{writes}[/bold].")
        return writes

    # Pieces

    @contextmanager
    def _changed(self, deal: Deal) -> Iterator[Decimal]:
        """Something has to be written for the deal within; gives its amount.

        Where issued invoices follow their deals, the amount is one more, and as before afterwards. Otherwise the deal
        is won, and stays so.
        """
        if not isinstance(self._books, Editable):
            self._crm.win(deal, LAST_DAY)
            yield deal.total
            return
        self._crm.reprice(deal, deal.total + 1)
        yield deal.total + 1
        self._crm.reprice(deal, deal.total)

    def _sync(self) -> None:
        """What the schedule does each minute, and what follows from it."""
        self._stage.poll(self._crm.connection)
        self._stage.settle(SETTLE_SECONDS_MAX)

    def _fault(self, *faults: dict[str, Any]) -> None:
        """Put these faults in force in the books, and no others."""
        self._books.simulator.call("PUT", "/_sandbox/faults", {"seed": 7, "faults": list(faults)})

    def _make_rough(self) -> None:
        if self._faults is None:
            return
        plan = FaultPlan.read(self._faults).model_dump(mode="json", exclude_none=True)
        for side in (self._crm, self._books):
            side.simulator.call("PUT", "/_sandbox/faults", plan)
        self._note(f"From here on both simulators fail as {self._faults} says.")

    def _smooth(self) -> None:
        if self._faults is None:
            return
        table = Table("Simulator", "Fault", "Fired")
        for side in (self._crm, self._books):
            for fault in side.simulator.call("GET", "/_sandbox/faults")["faults"]:
                if fault["matched"]:
                    table.add_row(side.called, fault["kind"], str(fault["fired"]))
            side.simulator.call("PUT", "/_sandbox/faults", {"faults": []})
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


def tour(*, once: bool, faults: Path | None, console: Console, crm: str, books: str, deals: int | None = None) -> bool:
    """True if both sides tie out and the second run wrote nothing. Unless `once`, it stays up until Ctrl-C."""
    source, target = sides(crm, books, deals)
    with Stage(source, target, say=lambda line: console.print(f"[dim]{line}[/dim]")) as stage:
        end = Tour(stage, console, faults).play()
        good = end.ties_out and end.second_run_wrote == 0
        verdict = "[bold green]Both sides tie out." if good else "[bold red]The sides differ."
        console.print(Panel(verdict))
        if not once:
            _stay(stage, console)
    return good


def _stay(stage: Stage[CrmSide, BooksSide], console: Console) -> None:
    """Everything stays up and the schedules run, until Ctrl-C."""
    exports = {name: stage.environment[name] for name in (*stage.aws.environment, "TIEOUT_STACK", "TIEOUT_TENANT")}
    addresses = [
        *stage.crm.addresses(),
        *stage.books.addresses(),
        ("Webhooks", f"{stage.stack.outputs['WebhookUrl'].rstrip('/')}/{TENANT}.CONNECTION"),
        ("Local AWS", stage.aws.endpoint),
    ]
    lines = [
        "It stays up, polls each minute and takes webhooks. Ctrl-C ends it.",
        "",
        *(f"{name:22} {address}" for name, address in addresses),
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
