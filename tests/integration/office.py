"""Somebody with files: exports, a bucket to drop them into, and what becomes of them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

from functions.import_file import app as import_file
from tests.aws import EXCHANGE
from tests.engine.world import TENANT
from tests.integration.conftest import LambdaContext, Stack, sample
from tieout.connectors.files import CONNECTOR
from tieout.domain.changes import Change
from tieout.domain.connections import Connection
from tieout.domain.files import Import
from tieout.domain.records import Kind
from tieout.engine.imports import Imported, Imports, Wish
from tieout.files import Choices
from tieout.mapping import preset
from tieout.ports.state import StoredSync

OFFICE = Connection(TENANT, "office", "files")
TITLES = ("Company", "First Name", "Last Name", "E-mail Address", "Business Phone", "Account")
NOTHING_FAILED: dict[str, list[dict[str, str]]] = {"batchItemFailures": []}
INBOX = f"inbox/{TENANT}.office/contacts.csv"

type People = list[tuple[str, ...]]


def people(count: int, **changed: str) -> People:
    """Rows of an export, each of another company; `changed` replaces phones by the row's place."""
    return [
        (f"Company {place}", "Ada", f"Miller {place}", f"ada{place}@acme.example", changed.get(f"n{place}", "1"), "")
        for place in range(count)
    ]


def export(rows: People, titles: tuple[str, ...] = TITLES) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([titles, *rows])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


class Office:
    """Somebody with files, and what becomes of them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.context = LambdaContext()

    @property
    def imports(self) -> Imports:
        return self.stack.deployment.imports()

    def take(self, content: bytes, name: str = "contacts.csv", *, time_for: int = 10_000, **wish: Any) -> Imported:
        """Import it as a person does who agrees with what is suggested; `time_for` so many batches."""
        file, left = io.BytesIO(content), [time_for]

        def out_of_time() -> bool:
            left[0] -= 1
            return left[0] < 0

        look = self.imports.look(OFFICE, file, name)
        return self.imports.run(OFFICE, look, Wish(name, **wish), out_of_time=out_of_time)

    def decide(self, content: bytes, choices: Choices | None = None, **columns: Any) -> None:
        """A person says how files like this are read."""
        look = self.imports.look(OFFICE, io.BytesIO(content), "x.csv", choices=choices)
        look = replace(look, columns=look.columns.model_copy(update=columns))
        self.imports.save(OFFICE, look, "ada")

    def drop(self, content: bytes, place: str = INBOX, **marks: str) -> None:
        self.stack.clients.s3.put_object(Bucket=EXCHANGE, Key=place, Body=content, Metadata=marks)

    def work(self, event: Any = None) -> dict[str, list[dict[str, str]]]:
        return import_file.handler(event or sample_of(INBOX), self.context)

    def messages(self) -> list[str]:
        """Takes everything that is due from the queue of files."""
        url = self.stack.deployment.settings.files_queue_url
        found = self.stack.clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for one in found:
            self.stack.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return [one["Body"] for one in found]

    def work_until_done(self) -> int:
        """How many messages it took."""
        for count in range(50):
            bodies = self.messages()
            if not bodies:
                return count
            for body in bodies:
                assert self.work(event_of(body)) == NOTHING_FAILED
        raise AssertionError("it goes on for ever")

    def results(self, one: Import) -> list[dict[str, str]]:
        (place,) = one.results
        body = self.stack.clients.s3.get_object(Bucket=EXCHANGE, Key=place)["Body"].read()
        return list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"))))

    def states(self, one: Import) -> list[str]:
        return [line["state"] for line in self.results(one) if line["state"]]

    def objects(self, prefix: str) -> list[str]:
        found = self.stack.clients.s3.list_objects_v2(Bucket=EXCHANGE, Prefix=prefix).get("Contents", [])
        return [one["Key"] for one in found]

    def queued(self) -> list[Change]:
        return [*self.stack.queued("changes"), *self.stack.queued("backfill")]

    def ids(self, kind: Kind = Kind.COMPANY) -> set[str]:
        connector = self.stack.deployment.connect(OFFICE)
        found: set[str] = set()
        after: str | None = None
        while True:
            ids, after = connector.ids(kind, after)
            found |= set(ids)
            if after is None:
                return found

    def last(self) -> Import:
        return max(self.stack.deployment.file_rows.imports(TENANT, "office"), key=lambda one: one.started_at)

    def alerts(self) -> list[Any]:
        return list(self.stack.deployment.alerts.pending(TENANT))

    def poll(self) -> int:
        return sum(self.stack.deployment.poll_changes().poll(TENANT, "office").queued.values())


def sample_of(place: str) -> Any:
    event = sample("import_file")
    told = json.loads(event["Records"][0]["body"])
    told["Records"][0]["s3"]["object"]["key"] = place.replace(" ", "+")
    event["Records"][0]["body"] = json.dumps(told)
    return event


def event_of(body: str) -> Any:
    event = sample("import_file")
    event["Records"][0]["body"] = body
    return event


def open_office(stack: Stack) -> Office:
    """An office whose files feed a connection that a sync reads."""
    stack.entries["files"] = CONNECTOR  # type: ignore[assignment]  # a real one among the stand-ins
    stack.deployment.config.put_connection(OFFICE)
    text = preset("act-quickbooks_online").replace("source: act", "source: office").replace("\nname: ", "\nname: of-")
    stack.deployment.config.put_sync(StoredSync(TENANT, "of-deals", 1, text, stack.world.clock.now()))
    return Office(stack)
