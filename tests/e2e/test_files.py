"""A file into the bucket of a deployed stack: the bucket tells the queue, the function imports, the results come out.

With the function's own rights, and with so little time that a long file takes several runs.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tieout_sandbox.local_aws import Deployment, LocalAws

pytestmark = pytest.mark.e2e

WAIT_SECONDS_MAX = 100
TENANT, CONNECTION = "default", "office"
INBOX, OUTBOX = f"inbox/{TENANT}.{CONNECTION}/", f"outbox/{TENANT}.{CONNECTION}/"
LONG = 20_000


@dataclass
class Office:
    """Somebody with files, a bucket and a terminal."""

    aws: LocalAws
    stack: Deployment
    folder: Path

    @property
    def bucket(self) -> str:
        return self.stack.outputs["ExchangeBucket"]

    def ask(self, *arguments: str) -> Any:
        """What a command says that ends well."""
        program = Path(sys.executable).parent / "tieout"
        done = subprocess.run(
            [program, *arguments, "--stack", self.stack.name, "--json"],
            env={"PATH": os.environ["PATH"], **self.aws.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS_MAX,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def file(
        self, name: str, count: int, titles: tuple[str, ...] = ("Company", "E-mail Address", "Phone"), whose: str = ""
    ) -> Path:
        """A file of so many people; those of one `whose` are the same."""
        path, whose = self.folder / name, whose or Path(name).stem
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            rows = ((f"{whose} {one}", f"{whose}-{one}@example.com", str(one)) for one in range(count))
            csv.writer(file).writerows([titles, *rows])
        return path

    def drop(self, path: Path) -> None:
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=f"{INBOX}{path.name}", Body=path.read_bytes())

    def objects(self, prefix: str) -> list[str]:
        found = self.aws.client("s3").list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def results(self, stem: str) -> list[dict[str, str]]:
        """The lines about rows, once they are there."""
        until(lambda: any(stem in one for one in self.objects(OUTBOX)), f"the results of {stem}")
        (place,) = [one for one in self.objects(OUTBOX) if stem in one]
        body = self.aws.client("s3").get_object(Bucket=self.bucket, Key=place)["Body"].read()
        lines = csv.DictReader(io.StringIO(body.decode("utf-8-sig")))
        return [line for line in lines if line["row"]]


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not done():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS_MAX} seconds for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def office(aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Office:
    folder = tmp_path_factory.mktemp("office")
    stack = aws.deploy("tieout-office", {"WorkerTimeoutSeconds": "10", "VisibilityTimeoutSeconds": "10"})
    opened = Office(aws, stack, folder)
    documents = folder / "documents.yaml"
    documents.write_text(f"kind: connection\nid: {CONNECTION}\nprovider: files\n", "utf-8")
    opened.ask("config", "apply", str(documents))
    return opened


def test_a_file_is_imported_by_a_command_and_the_next_one_by_being_dropped(office: Office):
    done = office.ask("import", str(office.file("first.csv", 50, whose="buyer")), "--connection", CONNECTION, "--yes")
    assert done["counts"] == {"new": 50}
    office.drop(office.file("second.csv", 60, whose="buyer"))
    states = [line["state"] for line in office.results("second")]
    assert (states.count("unchanged"), states.count("new"), len(states)) == (50, 10, 60)


def test_a_long_file_is_imported_in_several_runs(office: Office):
    office.ask("import", str(office.file("known.csv", 1)), "--connection", CONNECTION, "--yes")
    office.drop(office.file("long.csv", LONG))
    lines = office.results("long")
    assert [line["row"] for line in lines] == [str(row) for row in range(2, LONG + 2)]
    assert {line["state"] for line in lines} <= {"new", "unchanged"}
    assert office.objects("work/") == []


def test_a_file_that_nobody_knows_waits_and_an_e_mail_tells_the_command(office: Office):
    office.drop(office.file("unknown.csv", 3, ("Foo", "Bar", "Baz")))
    mails: list[str] = []

    def told() -> bool:
        """What runs each minute, now."""
        alerts = office.stack.outputs["SendAlertsFunctionName"]
        office.aws.client("lambda").invoke(FunctionName=alerts, Payload=b"{}")
        mails.extend(office.aws.read_mail(office.stack))
        return any("unknown.csv" in mail for mail in mails)

    until(told, "the e-mail")
    (mail,) = [mail.replace("\\", "") for mail in mails if "unknown.csv" in mail]  # it may stand in an envelope of JSON
    assert f'tieout import "{INBOX}unknown.csv" --connection {CONNECTION} --tenant {TENANT}' in mail
    options = ("--as", "company", "--map", "Foo=name", "--key", "Bar", "--yes")
    done = office.ask("import", f"{INBOX}unknown.csv", "--connection", CONNECTION, *options)
    assert sum(done["counts"].values()) == 3
