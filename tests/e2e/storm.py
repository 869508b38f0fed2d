"""`make faults`: AWS, both providers and the workers fail at once; then both sides are compared.

    python -m tests.e2e.storm [SEED]

Ends with 1 if the sides differ, if something is parked that nobody caused, or if nobody was told of what is parked.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.e2e.both_sides import differences
from tests.e2e.deployed import WON, Deployed, connect
from tieout.cli.talk import Code
from tieout.domain.links import LinkKey
from tieout_sandbox import dataset
from tieout_sandbox.aws_faults import AwsFaults, Rule, cancelled, failed, lost_answer, reset, throttled, timed_out
from tieout_sandbox.served import Server, StageError
from tieout_sandbox.simulators.act.side import Act, deal_of
from tieout_sandbox.simulators.faults import FaultPlan
from tieout_sandbox.simulators.quickbooks_online.side import QuickBooksOnline
from tieout_sandbox.stage import SYNC, TENANT, Stage

ROUGH = Path(__file__).parents[2] / "sandbox" / "faults" / "rough.yaml"
# A worker that meets a time-out of AWS and the SDK's pauses still ends in time. Polling and alerts run each minute.
PARAMETERS = {"WorkerTimeoutSeconds": "40", "VisibilityTimeoutSeconds": "40", "PollSchedule": "rate(1 minute)"}

BEFORE, MEANWHILE = WON[:30], WON[30:100]
PAID, EDITED = BEFORE[:12], (*BEFORE[12:24], *MEANWHILE[::10])
MISTAKEN = next(deal for deal in dataset.read().opportunities if deal["status"] == "Open" and deal["companies"])
UNKNOWN_PRODUCT = "GTX Ultra"
WORKER_FAILED = "worker-failed"

ROUNDS = 3
KILL_SECONDS_MAX = 15
STORM_SECONDS_MAX = 120
SETTLE_SECONDS_MAX = 240

BATCH = {"method": "POST", "path": "/v3/company/*/batch"}
SLOW = {"kind": "latency", "seconds": 1, "match": BATCH}  # long enough to be killed at it
LOST = {"kind": "lost_answer", "probability": 0.3, "times": 4, "match": BATCH}  # few batches carry all that is written
RULES: Sequence[Rule] = (
    cancelled(1.0, "TransactionConflict", "None", sequence={"fail": 1, "pass": 1}),
    cancelled(0.3, "None", "ThrottlingError"),
    # As many in a row as the SDK tries: now and then a worker ends in the middle of what it does.
    failed("dynamodb", "InternalServerError", 1.0, operation="UpdateItem", sequence={"fail": 8, "pass": 200}),
    throttled("dynamodb", "ProvisionedThroughputExceededException", 0.05),
    throttled("dynamodb", "ThrottlingException", 0.05),
    failed("dynamodb", "InternalServerError", 0.02),
    reset("dynamodb", 0.02),
    lost_answer("dynamodb", 0.04),
    timed_out("dynamodb", 11, 3),  # the functions wait for 10 seconds
    throttled("sqs", "RequestThrottled", 0.1),
    failed("sqs", "InternalFailure", 0.1),
    reset("sqs", 0.05),
    lost_answer("sqs", 0.1),
    throttled("secretsmanager", "ThrottlingException", 0.15),
    failed("secretsmanager", "InternalServiceError", 0.1),
    reset("secretsmanager", 0.05),
    lost_answer("secretsmanager", 0.1),
    throttled("sns", "Throttled", 0.2),
    failed("sns", "InternalError", 0.2),
    reset("sns", 0.1),
)


@dataclass
class Tally:
    """What was done to the stack."""

    faults: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    killed: int = 0
    edits: int = 0
    payments: int = 0
    retried: int = 0
    commands: Counter[str] = field(default_factory=Counter)


class Storm:
    """One run, on a stage that stands and is connected."""

    def __init__(self, deployed: Deployed, proxy: AwsFaults, seed: int, say: Callable[[str], None]) -> None:
        self._deployed, self._stage, self._proxy = deployed, deployed.stage, proxy
        self._seed, self._say = seed, say
        self._mails: list[tuple[str, str]] = []
        self.tally = Tally()

    def rage(self) -> None:
        """Everything fails while deals are won, edited and paid; when this returns, nothing fails any more."""
        self._say(f"{len(BEFORE)} deals become invoices before the storm")
        self._deployed.see(BEFORE)
        there = len(BEFORE)
        self._deployed.until(lambda: self._deployed.summary()["invoices"] == there, "the invoices", SETTLE_SECONDS_MAX)
        with self._rough():
            began = time.monotonic()
            self._say(f"The storm: {len(MEANWHILE)} more deals, edits, payments, killed workers")
            self._deployed.see(MEANWHILE, each=10)
            self._win_a_mistake()
            for number in range(ROUNDS):
                self._edit(EDITED[number::ROUNDS])
                self._pay(PAID[number::ROUNDS])
                self._kill()
                self._command(number)
            self._say("Nothing new comes; faults go on")
            while time.monotonic() - began < STORM_SECONDS_MAX and sum(self._deployed.depths().values()):
                time.sleep(1)

    def calm(self) -> list[str]:
        """What is wrong once all is quiet, in words; nothing if both sides agree."""
        self._say("The storm is over: what waits goes on")
        for connections in (("act", "quickbooks"), ("act",)):
            for connection in connections:
                self._stage.poll(connection)
            self._deployed.settle(SETTLE_SECONDS_MAX)
        self._mails += self._stage.mail()
        wrong = self._parked()
        mistaken = LinkKey(TENANT, SYNC, "invoices", MISTAKEN["id"]).reference
        wrong += [f"not in agreement: {one}" for one in self._deployed.unsynced() if not one.endswith(f"#{mistaken}")]
        rows = (self._stage.crm.call("GET", f"/opportunities/{deal['id']}") for deal in (*BEFORE, *MEANWHILE))
        won = [deal_of(row) for row in rows if row["status"] == "Won"]
        return wrong + differences(won, self._stage.books.invoices())

    def _parked(self) -> list[str]:
        """What is wrong with what is parked; what workers failed on again and again is retried, once people know."""
        parked = self._stage.ask("parked", "list")["parked"]
        wrong = [] if any(one["id"] == MISTAKEN["id"] for one in parked) else [f"{UNKNOWN_PRODUCT} is not parked"]
        for one in parked:
            if not any(one["label"] in text for _, text in self._mails):
                wrong.append(f"nobody was told of {one['label']}: {one['reason']}")
            if one["id"] != MISTAKEN["id"] and one["cause"] != WORKER_FAILED:
                wrong.append(f"parked without a cause: {one['label']}: {one['reason']}")
        self.tally.retried = sum(one["cause"] == WORKER_FAILED for one in parked)
        if self.tally.retried:
            self._say(f"{self.tally.retried} changes are parked as workers failed on them; they are retried")
            self._stage.ask("parked", "retry", "--cause", WORKER_FAILED)
            self._deployed.settle(SETTLE_SECONDS_MAX)
        return wrong

    @property
    def subjects(self) -> Counter[str]:
        """Of the e-mails."""
        return Counter(subject for subject, _ in self._mails)

    # People, while it storms

    def _win_a_mistake(self) -> None:
        """A deal that only a person can mend: of this one, and of no other, people have to hear."""
        line = self._stage.crm.change_product(MISTAKEN["id"], UNKNOWN_PRODUCT)
        won = {"status": "Won", "actualCloseDate": "2017-12-31T00:00:00+00:00", "productTotal": line["total"]}
        self._stage.crm.edit(MISTAKEN["id"], **won)

    def _edit(self, deals: Iterable[Mapping[str, Any]]) -> None:
        for deal in deals:
            now = self._stage.crm.deal(deal["id"])
            self._stage.crm.reprice(now, now.total + Decimal("1.25"))
            self.tally.edits += 1

    def _pay(self, deals: Iterable[Mapping[str, Any]]) -> None:
        for deal in deals:
            self._stage.books.pay(deal["sourceId"])
            self.tally.payments += 1

    def _command(self, number: int) -> None:
        """The operator applies a new version of the sync, through the proxy too: it is one transaction."""
        document = self._stage.folder / "config" / f"{SYNC}.yaml"
        text = document.read_text()
        document.write_text(
            text.replace("\nsteps:", f"\n# version {number}\nsteps:", 1)
        )  # before it, it is no part of it
        assert document.read_text() != text
        done = subprocess.run(
            [str(Path(sys.executable).parent / "tieout"), "config", "apply", str(document)],
            env=self._stage.environment | {"AWS_ENDPOINT_URL": self._proxy.url},
            capture_output=True,
            text=True,
            check=False,
        )
        if "Traceback" in done.stderr:
            raise StageError(f"`tieout config apply` broke:\n{done.stderr[-2000:]}")
        self.tally.commands["done" if done.returncode == Code.OK else done.stderr.strip().splitlines()[-1]] += 1

    # What goes wrong

    @contextmanager
    def _rough(self) -> Iterator[None]:
        """Both simulators and AWS fail within."""
        plan = FaultPlan.read(ROUGH).model_dump(mode="json", exclude_none=True) | {"seed": self._seed}
        sides = {side.called: side.simulator for side in (self._stage.crm, self._stage.books)}
        self._stage.crm.simulator.call("PUT", "/_sandbox/faults", plan)
        self._stage.books.simulator.call("PUT", "/_sandbox/faults", {**plan, "faults": [SLOW, LOST, *plan["faults"]]})
        self._proxy.force(*RULES)
        try:
            yield
        finally:
            self._proxy.force()
            self.tally.faults.update(self._proxy.fired())
            for name, simulator in sides.items():
                self.tally.faults.update(_fired(name, simulator))
                simulator.call("PUT", "/_sandbox/faults", {"faults": []})

    def _kill(self) -> None:
        """Kill the workers with a batch on its way to QuickBooks, or after a while without any, whatever they do."""
        before, deadline = self._latencies(), time.monotonic() + KILL_SECONDS_MAX
        while self._latencies() == before and time.monotonic() < deadline:
            time.sleep(0.05)
        self.tally.killed += self._deployed.kill("ApplyChanges", "RetryChanges")

    def _latencies(self) -> int:
        return self._deployed.fired(self._stage.books.simulator)["latency"]


def _fired(name: str, simulator: Server) -> Counter[tuple[str, str, str]]:
    counted: Counter[tuple[str, str, str]] = Counter()
    for fault in simulator.call("GET", "/_sandbox/faults")["faults"]:
        what = " ".join(str(part) for part in (fault["kind"], fault.get("status", "")) if part)
        counted[name, "", what.replace("_", " ")] += fault["fired"]
    return counted


def _shown(storm: Storm, seconds: float) -> Table:
    tally = storm.tally
    by_service: Counter[tuple[str, str]] = Counter()
    for (service, _, fault), count in tally.faults.items():
        by_service[service, fault] += count
    table = Table("Where", "What", "How often", title=f"What went wrong in {seconds:.0f} seconds")
    for (service, fault), count in sorted(by_service.items()):
        table.add_row(service, fault, str(count))
    table.add_row("workers", "killed", str(tally.killed))
    table.add_section()
    table.add_row("people", "deals edited, invoices paid", f"{tally.edits}, {tally.payments}")
    for end, count in tally.commands.items():
        table.add_row("operator", f"config apply: {end}", str(count))
    table.add_row("operator", "parked changes retried, on which workers had failed", str(tally.retried))
    for subject, count in storm.subjects.items():
        table.add_row("e-mail", subject, str(count))
    return table


def main() -> int:
    """0 if both sides agree, nothing is parked that nobody caused, and people know of what is."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    console = Console(width=120)
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:4.0f} s  {line}", highlight=False)
        console.file.flush()

    with (
        TemporaryDirectory() as folder,
        Stage(
            Act(),
            QuickBooksOnline(),
            say=lambda _line: None,
            parameters=PARAMETERS,
            folder=Path(folder),
            authorize=True,
        ) as stage,
    ):
        say(f"Deployed; seed {seed}")
        deployed = connect(stage)
        # Functions start cold again and again here, on a busy machine; a webhook would be given up for that alone.
        receiver = deployed.resources["ReceiveWebhook"]
        stage.aws.client("lambda").update_function_configuration(FunctionName=receiver, Timeout=30)
        with (
            AwsFaults(stage.aws, stage.folder, seed) as proxy,
            deployed.through(proxy),
            deployed.visibility(20, "ChangesDeadLetterQueue"),
        ):
            storm = Storm(deployed, proxy, seed, say)
            storm.rage()
            wrong = storm.calm()
        console.print(_shown(storm, time.monotonic() - began))
        for line in wrong:
            console.print(line, style="red", markup=False, highlight=False)
        count = len(BEFORE) + len(MEANWHILE)
        console.print(
            f"[red]{len(wrong)} things are wrong (seed {seed})."
            if wrong
            else f"[green]Both sides agree: {count} won deals, {count} invoices, each of its deal's amount."
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
