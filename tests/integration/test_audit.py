"""The function that archives, from a stream's records to the bucket, and the auditor's way back to the table."""

from __future__ import annotations

from typing import Any

import pytest

from functions.apply_changes import app as apply_changes
from functions.archive_audit import app as archive_audit
from tests.aws import BUCKET, START, TABLE
from tests.engine.world import TENANT
from tests.integration.conftest import sample
from tieout.adapters.s3 import object_name
from tieout.domain.audit import Damage, Entry, What

YESTERDAY = int(START.timestamp()) - 24 * 60 * 60  # before the bucket's clock, which is the machine's
NOTHING_FAILED: dict[str, Any] = {"batchItemFailures": []}


class Table:
    """The table's items as they stood when last looked at, and what its stream tells of them since."""

    def __init__(self, clients: Any) -> None:
        self._clients = clients
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self.numbers = 0

    def told(self) -> list[dict[str, Any]]:
        """Records of the stream."""
        items = self._clients.dynamodb.scan(TableName=TABLE)["Items"]
        now = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
        changed = [key for key in sorted({*self._known, *now}) if self._known.get(key) != now.get(key)]
        records = [self._record(self._known.get(key), now.get(key)) for key in changed]
        self._known = now
        return records

    def _record(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
        self.numbers += 1
        item = new or old or {}
        told = {
            "ApproximateCreationDateTime": YESTERDAY + self.numbers,
            "Keys": {name: item[name] for name in ("pk", "sk")},
            "SequenceNumber": f"{self.numbers:024}",
        }
        told |= {"NewImage": new} if new else {}
        told |= {"OldImage": old} if old else {}
        return {**sample("archive_audit")["Records"][0], "eventID": f"e{self.numbers}", "dynamodb": told}


@pytest.fixture
def table(stack):
    return Table(stack.clients)


def archive(stack, records):
    return archive_audit.handler({"Records": records}, stack.context)


def entries(stack, tenant=TENANT):
    trail = stack.deployment.audit().trail(tenant)
    return [one[1] for one in trail.read(lambda _name, _count: None) if isinstance(one, tuple)]


def verify(stack):
    return stack.deployment.audit().verify(TENANT, lambda _name, _count: None)


def worked(stack):
    for name in ("d1", "d2", "d3"):
        stack.world.deal(name)
    apply_changes.handler(sample("apply_changes"), stack.context)


def test_what_the_engine_did_is_in_the_trail_and_gives_todays_links(stack, table):
    assert archive(stack, table.told()) == NOTHING_FAILED
    worked(stack)
    assert archive(stack, table.told()) == NOTHING_FAILED
    said = [one.what for one in entries(stack)]
    assert said[:2] == [What.CONNECTED, What.CONNECTED]
    assert said.count(What.APPLIED) == 1
    verdict = verify(stack)
    assert verdict.clean
    assert verdict.alike == len([item for item in table._known if "#link#" in item[0]]) > 3


def test_the_sample_is_archived_once(stack):
    for _ in range(2):
        assert archive(stack, sample("archive_audit")["Records"]) == NOTHING_FAILED
    assert [one.what for one in entries(stack)] == [What.INTENT_OPENED, What.CREATED, What.PAUSED]
    assert len(stack.clients.s3.list_objects_v2(Bucket=BUCKET)["Contents"]) == 1


def test_nothing_for_the_trail_writes_nothing(stack):
    records = [one for one in sample("archive_audit")["Records"] if "#target#" in one["dynamodb"]["Keys"]["pk"]["S"]]
    assert archive(stack, records) == NOTHING_FAILED
    assert stack.clients.s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


def test_each_tenant_has_a_chain_of_its_own(stack):
    first, *_ = sample("archive_audit")["Records"]
    other = sample("archive_audit")["Records"][0]
    for place in (other["dynamodb"]["Keys"], other["dynamodb"]["NewImage"]):
        place["pk"] = {"S": "other#link#deals-to-invoices"}
    other["eventID"] = "another"
    assert archive(stack, [first, other]) == NOTHING_FAILED
    assert [one.tenant for one in entries(stack)] == [TENANT]
    assert [one.tenant for one in entries(stack, "other")] == ["other"]


def test_a_record_that_cannot_be_read_holds_up_its_tenant_alone_and_keeps_the_order(stack, lines):
    records = sample("archive_audit")["Records"]
    other = sample("archive_audit")["Records"][0]
    for place in (other["dynamodb"]["Keys"], other["dynamodb"]["NewImage"]):
        place["pk"] = {"S": "other#link#deals-to-invoices"}
    del records[2]["dynamodb"]["NewImage"]["source_id"]
    bad = records[2]["dynamodb"]["SequenceNumber"]
    assert archive(stack, [*records, other]) == {"batchItemFailures": [{"itemIdentifier": bad}]}
    assert [one.what for one in entries(stack)] == [What.INTENT_OPENED]
    assert [one.what for one in entries(stack, "other")] == [What.INTENT_OPENED]
    assert [one["error"] for one in lines() if one.get("level") == "ERROR"] == [["KeyError"]]
    assert [one["AuditTenantsFailed"] for one in lines() if "AuditTenantsFailed" in one] == [[1]]


def test_what_cannot_be_archived_is_told_again_from_its_first_record_on(stack, monkeypatch):
    records = sample("archive_audit")["Records"]
    put = stack.clients.s3.put_object
    monkeypatch.setattr(stack.clients.s3, "put_object", lambda **_: 1 / 0)
    first = records[0]["dynamodb"]["SequenceNumber"]
    assert archive(stack, records) == {"batchItemFailures": [{"itemIdentifier": first}]}
    monkeypatch.setattr(stack.clients.s3, "put_object", put)
    assert archive(stack, records) == NOTHING_FAILED
    assert [one.seq for one in entries(stack)] == [1, 2, 3]


def test_a_function_that_dies_after_it_archived_doubles_nothing(stack, monkeypatch):
    records = sample("archive_audit")["Records"]
    with monkeypatch.context() as broken:
        broken.setattr(stack.deployment.tips, "advance", lambda *_: 1 / 0)
        assert archive(stack, records)["batchItemFailures"]
    del stack.deployment._archiver  # another process
    assert archive(stack, records) == NOTHING_FAILED
    assert [one.seq for one in entries(stack)] == [1, 2, 3]
    assert stack.deployment.tips.tip(TENANT).seq == 3


def test_a_changed_object_is_named(stack, table):
    archive(stack, table.told())
    worked(stack)
    archive(stack, table.told())
    [_, second] = [one["Key"] for one in stack.clients.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    body = stack.clients.s3.get_object(Bucket=BUCKET, Key=second)["Body"].read()
    stack.clients.s3.put_object(Bucket=BUCKET, Key=second, Body=body.replace(b'"1054', b'"1055', 1))
    flaw = verify(stack).flaw
    assert (flaw.damage, object_name(TENANT, flaw.first)) == (Damage.CHANGED, second)


def test_the_log_says_what_keeps_the_trail_from_going_on(stack, lines, monkeypatch):
    records = sample("archive_audit")["Records"]
    with monkeypatch.context() as dying:
        dying.setattr(stack.deployment.tips, "advance", lambda *_: 1 / 0)
        archive(stack, records[:1])
    [key] = [one["Key"] for one in stack.clients.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=b"gone")
    del stack.deployment._archiver  # another process
    assert archive(stack, records)["batchItemFailures"]
    told = [one for one in lines() if one.get("level") == "ERROR"][-1]
    assert (told["tenant"], told["error"]) == (TENANT, ["TieoutError"])
    assert told["detail"] == "the object that begins with entry 1 is damaged; see `tieout audit verify`"


def test_the_trail_holds_no_secrets(stack, table):
    stack.deployment.secrets.write(TENANT, "act", {"token": "open-sesame"})
    worked(stack)
    archive(stack, table.told())
    assert all("open-sesame" not in str(one) for one in entries(stack))
    assert all(isinstance(one, Entry) for one in entries(stack))
