"""The deployed stack with both systems connected: what a test sends in, and what it sees on either side."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from tieout.adapters.sqs import CHANGES_PER_MESSAGE, encode
from tieout.domain.changes import Change, Origin
from tieout.domain.records import Kind
from tieout_sandbox import dataset
from tieout_sandbox.aws_faults import AwsFaults
from tieout_sandbox.served import Server
from tieout_sandbox.simulators.act.side import Act
from tieout_sandbox.simulators.quickbooks_online.side import QuickBooksOnline
from tieout_sandbox.stage import TENANT, Stage

WON = [deal for deal in dataset.read().opportunities if deal["status"] == "Won"]
FORMER_VERIFIER = "the verifier before it was replaced"
WAIT_SECONDS_MAX = 100
QUIET_LOOKS = 4
QUEUES = ("ChangesQueue", "BackfillQueue", "RetryQueue", "ChangesDeadLetterQueue")
COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]

type Deals = Sequence[Mapping[str, Any]]


@dataclass
class Deployed:
    """One tenant of the stack on the stage."""

    stage: Stage[Act, QuickBooksOnline]
    began_at: float = field(default_factory=time.time)
    _without_rights: list[tuple[float, float]] = field(default_factory=list)

    @cached_property
    def resources(self) -> dict[str, str]:
        """Physical names by logical ones."""
        found = self.stage.aws.client("cloudformation").describe_stack_resources(StackName=self.stage.stack.name)
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found["StackResources"]}

    @cached_property
    def functions(self) -> list[str]:
        """Names of the stack's functions."""
        found = self.stage.aws.client("cloudformation").describe_stack_resources(StackName=self.stage.stack.name)
        return [
            one["PhysicalResourceId"]
            for one in found["StackResources"]
            if one["ResourceType"] in {"AWS::Lambda::Function", "AWS::Serverless::Function"}
        ]

    # What comes in

    def see(self, deals: Deals, *, each: int = CHANGES_PER_MESSAGE) -> None:
        """Queue a hint for each deal, as polling does, `each` of them in a message."""
        now = datetime.fromtimestamp(time.time(), UTC)
        changes = [Change(TENANT, "act", Kind.DEAL, deal["id"], now, Origin.POLL) for deal in deals]
        for begin in range(0, len(changes), each):
            self.send("ChangesQueue", encode(changes[begin : begin + each]))

    def send(self, queue: str, body: str) -> None:
        self.stage.aws.client("sqs").send_message(QueueUrl=self.resources[queue], MessageBody=body)

    def post(
        self, body: bytes, signature: str | None, *, connection: str = f"{TENANT}.quickbooks"
    ) -> tuple[int, bytes]:
        """Status and body of the answer to a webhook."""
        headers = {"Content-Type": "application/json"} | ({} if signature is None else {"intuit-signature": signature})
        answer = requests.post(
            self.stage.stack.outputs["WebhookUrl"] + connection,
            data=body,
            headers=headers,
            timeout=30,
            verify=str(self.stage.aws.certificate),
        )
        return answer.status_code, answer.content

    def fail(self, simulator: Server, *faults: Mapping[str, Any]) -> None:
        """Put these faults in force, and no others."""
        simulator.call("PUT", "/_sandbox/faults", {"seed": 7, "faults": list(faults)})

    def fired(self, simulator: Server) -> dict[str, int]:
        """How often faults of each kind fired."""
        fired: dict[str, int] = defaultdict(int)
        for fault in simulator.call("GET", "/_sandbox/faults")["faults"]:
            fired[fault["kind"]] += fault["fired"]
        return fired

    # Until it is done

    def until(self, done: Callable[[], object], what: str, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        deadline = time.monotonic() + seconds_max
        while not done():
            assert time.monotonic() < deadline, f"waited {seconds_max} seconds for {what}; {self.depths()}"
            time.sleep(0.1)

    def settle(self, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        """Return once no webhook is under way and the queues stood empty for a few looks."""
        looks = 0

        def quiet() -> bool:
            nonlocal looks
            busy = self.stage.books.simulator.call("GET", "/_sandbox/webhooks")["waiting"] or sum(
                self.depths().values()
            )
            looks = 0 if busy else looks + 1
            return looks >= QUIET_LOOKS

        self.until(quiet, "empty queues", seconds_max)

    def depths(self) -> dict[str, int]:
        return {queue: self.depth(queue) for queue in QUEUES}

    def depth(self, queue: str) -> int:
        """Messages in the queue, those in flight and delayed included."""
        answer = self.stage.aws.client("sqs").get_queue_attributes(
            QueueUrl=self.resources[queue], AttributeNames=COUNTS
        )
        return sum(int(answer["Attributes"][name]) for name in COUNTS)

    @contextmanager
    def visibility(self, seconds: int, *queues: str) -> Iterator[None]:
        """These queues deliver a failed message again after `seconds` within, and as before afterwards."""
        client, name = self.stage.aws.client("sqs"), "VisibilityTimeout"
        former = {
            queue: client.get_queue_attributes(QueueUrl=self.resources[queue], AttributeNames=[name])["Attributes"]
            for queue in queues
        }
        for queue in queues:
            client.set_queue_attributes(QueueUrl=self.resources[queue], Attributes={name: str(seconds)})
        try:
            yield
        finally:
            for queue, attributes in former.items():
                client.set_queue_attributes(QueueUrl=self.resources[queue], Attributes=attributes)

    # What stands where

    def invoices(self, deals: Deals) -> dict[str, list[Decimal]]:
        """Totals of the invoices in the books by their number, for the numbers of these deals."""
        numbers = ", ".join(f"'{deal['sourceId']}'" for deal in deals)
        query = f"SELECT * FROM Invoice WHERE DocNumber IN ({numbers}) MAXRESULTS 1000"
        answer = self.stage.books.call("GET", "/query", query=query)
        found: dict[str, list[Decimal]] = defaultdict(list)
        for invoice in answer["QueryResponse"].get("Invoice", []):
            found[invoice["DocNumber"]].append(Decimal(str(invoice["TotalAmt"])))
        return dict(found)

    def wanted(self, deals: Deals) -> dict[str, list[Decimal]]:
        """What `invoices` has to be: one for each deal, of its amount."""
        return {str(deal["sourceId"]): [Decimal(str(deal["productTotal"]))] for deal in deals}

    def summary(self) -> Mapping[str, Any]:
        return self.stage.books.summary()

    def custom(self, deal: Mapping[str, Any]) -> Mapping[str, Any]:
        """The deal's custom fields in Act!."""
        return dict(self.stage.crm.call("GET", f"/opportunities/{deal['id']}")["customFields"])

    def writes(self) -> dict[str, int]:
        """Writes by the product that reached each side."""
        return {"act": self.stage.crm.writes(), "books": self.stage.books.writes()}

    def links(self) -> dict[tuple[str, str], Any]:
        """The table's links, with open intents and what is not in agreement."""
        pages = (
            self.stage.aws.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.resources["Table"], ConsistentRead=True)
        )
        items = [item for page in pages for item in page["Items"]]
        return {(one["pk"]["S"], one["sk"]["S"]): one for one in items if "#link#" in one["pk"]["S"]}

    def unsynced(self) -> list[str]:
        """Links with an open intent, or that wait or are parked."""
        return [" ".join(key) for key, item in self.links().items() if "intent" in item or "unsynced_pk" in item]

    def open_intents(self) -> int:
        """Writes that were claimed and are not settled."""
        return sum("intent" in item for item in self.links().values())

    def refusals(self) -> list[str]:
        """What AWS refused to a function for want of a right, but where a test took the right away."""
        return self.logged("AccessDenied", but=self._without_rights)

    def logged(self, word: str, *, since: float | None = None, but: Sequence[tuple[float, float]] = ()) -> list[str]:
        """Lines with this word in the functions' logs, since the connections were set up or since then."""
        client = self.stage.aws.client("logs")
        groups = [name for logical, name in self.resources.items() if logical.endswith("Logs") and logical != "ApiLogs"]
        start = round((self.began_at if since is None else since) * 1000)
        found = []
        for group in groups:
            pages = client.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=start, PaginationConfig={"PageSize": 10_000}
            )
            events = [event for page in pages for event in page["events"]]
            found += [
                f"{group}: {event['message']}"
                for event in events
                if not any(begin <= event["timestamp"] / 1000 <= end for begin, end in but)
            ]
        return [line for line in found if word in line]

    # Breaking it

    def workers(self, *logical_ids: str) -> list[int]:
        """Processes of the emulator, which this test run started, that run one of these functions."""
        emulator = self.stage.aws._process
        assert emulator is not None
        names = {f"AWS_LAMBDA_FUNCTION_NAME={self.resources[one]}".encode() for one in logical_ids}
        found = []
        for folder in Path("/proc").iterdir():
            try:
                group = (folder / "stat").read_text().rpartition(")")[2].split()[2]
                if int(group) == emulator.pid and names & set((folder / "environ").read_bytes().split(b"\0")):
                    found.append(int(folder.name))
            except (OSError, IndexError):
                continue  # no process, or one that ended meanwhile
        return found

    def kill(self, *logical_ids: str) -> int:
        """How many workers were killed, by a signal that no process can handle."""
        killed = self.workers(*logical_ids)
        for process in killed:
            os.kill(process, signal.SIGKILL)
        return len(killed)

    def kill_while_writing(self, *logical_ids: str) -> int:
        """How many workers were killed with a batch on its way to QuickBooks; needs a fault of latency there."""
        before = self.fired(self.stage.books.simulator)["latency"]

        def is_writing() -> bool:
            """Batches also look for customers that are alike: only a claim says that this one writes."""
            return self.fired(self.stage.books.simulator)["latency"] > before and self.open_intents() > 0

        self.until(is_writing, "a batch of writes on its way to QuickBooks")
        return self.kill(*logical_ids)

    @contextmanager
    def without_rights(self, logical_id: str, policy: str) -> Iterator[None]:
        """The function has a role that allows nothing within."""
        iam = self.stage.aws.client("iam")
        name = {"RoleName": self.resources[f"{logical_id}Role"], "PolicyName": policy}
        document, began = json.dumps(iam.get_role_policy(**name)["PolicyDocument"]), time.time()
        iam.delete_role_policy(**name)
        try:
            yield
        finally:
            iam.put_role_policy(**name, PolicyDocument=document)
            self._without_rights.append((began, time.time()))

    @contextmanager
    def through(self, proxy: AwsFaults) -> Iterator[None]:
        """The functions reach AWS through the proxy within; the emulator's own parts and the operator do not."""
        with self._environment({"AWS_ENDPOINT_URL": proxy.url}):
            yield

    @contextmanager
    def _environment(self, more: Mapping[str, str]) -> Iterator[None]:
        """Every function has these variables too within, and starts anew before and after."""
        client, former = self.stage.aws.client("lambda"), {}
        for name in self.functions:
            found = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            former[name] = found
            client.update_function_configuration(FunctionName=name, Environment={"Variables": {**found, **more}})
        try:
            yield
        finally:
            for name, variables in former.items():
                client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    @contextmanager
    def nobody_works(self) -> Iterator[None]:
        """Messages stay in the queue of live changes within."""
        client = self.stage.aws.client("lambda")
        found = client.list_event_source_mappings(FunctionName=self.resources["ApplyChanges"])["EventSourceMappings"]
        arn = self.resources["ChangesQueue"].rsplit("/", 1)[-1]
        (mapping,) = [one["UUID"] for one in found if one["EventSourceArn"].endswith(f":{arn}")]
        client.update_event_source_mapping(UUID=mapping, Enabled=False)
        time.sleep(1.1)  # the emulator asks each queue once a second
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=mapping, Enabled=True)


def connect(stage: Stage[Act, QuickBooksOnline]) -> Deployed:
    """Configure and connect by the commands that an operator uses; the webhooks' verifier is a second one."""
    deployed = Deployed(stage)
    functions = stage.aws.client("lambda")
    for name in ("ApplyChanges", "RetryChanges"):
        function = {"FunctionName": deployed.resources[name]}
        variables = functions.get_function_configuration(**function)["Environment"]["Variables"]
        # A claim of a dead worker holds for 12 seconds; no call to the simulators takes longer than one.
        variables["TIEOUT_HOLD_BEYOND_WORKER_SECONDS"] = "2"
        functions.update_function_configuration(**function, Environment={"Variables": variables})
    stage.configure()
    stage.books.reconnect(stage, FORMER_VERIFIER)
    stage.connect()
    stage.poll("act")
    stage.poll("quickbooks")
    return deployed
