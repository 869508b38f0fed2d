"""The audit trail of the deployed stack: fed by the table's stream, whole, and damaged where somebody changes it."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from tests.e2e.deployed import WON, Deployed
from tieout_sandbox.stage import SYNC, TENANT

pytestmark = pytest.mark.e2e

DEALS = WON[220:224]


def bucket(deployed: Deployed) -> str:
    return deployed.resources["AuditBucket"]


def verify(deployed: Deployed):
    return deployed.stage.ask("audit", "verify")


@contextmanager
def unlocked(deployed: Deployed):
    """What an intruder has to do first: within, the bucket has no policy."""
    storage, name = deployed.stage.aws.client("s3"), bucket(deployed)
    policy = storage.get_bucket_policy(Bucket=name)["Policy"]
    storage.delete_bucket_policy(Bucket=name)
    try:
        yield storage
    finally:
        storage.put_bucket_policy(Bucket=name, Policy=policy)


def objects(deployed: Deployed) -> list[str]:
    pages = deployed.stage.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket(deployed))
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


@pytest.fixture
def trail(deployed):
    """Invoices of these deals, and a trail that tells of them."""
    records = [option for deal in DEALS for option in ("--record", deal["id"])]
    deployed.stage.ask("apply", SYNC, *records, "--yes")
    deployed.settle()
    deployed.until(lambda: verify(deployed)["clean"], "a trail that tells of everything")
    return deployed


def test_the_trail_gives_todays_links(trail):
    found = verify(trail)
    assert found["links"]["alike"] == len(trail.links())
    assert (found["repeated"], found["gaps"], found["links"]["differing"]) == (0, [], [])
    for deal in DEALS:
        told = trail.stage.ask("audit", "show", f"{SYNC}/invoices/{deal['id']}")["entries"]
        assert [one["what"] for one in told][:2] == ["intent opened", "created"]


def test_a_tampered_object_is_named_with_its_line(trail):
    keys = objects(trail)
    key = keys[len(keys) // 2]
    with unlocked(trail) as storage:
        body = storage.get_object(Bucket=bucket(trail), Key=key)["Body"].read()
        lines = body.splitlines(keepends=True)
        entry = json.loads(lines[-1])
        lines[-1] = lines[-1].replace(entry["hash"].encode(), b"0" * 64)
        storage.put_object(Bucket=bucket(trail), Key=key, Body=b"".join(lines))
        try:
            found = verify(trail)
        finally:
            storage.put_object(Bucket=bucket(trail), Key=key, Body=body)
    assert found["clean"] is False
    assert found["damage"]["object"] == key
    assert (found["damage"]["entry"], found["damage"]["line"]) == (entry["seq"], len(lines))
    assert found["damage"]["damage"] == "changed"
    assert verify(trail)["clean"] is True


def test_nothing_in_the_archive_is_overwritten_or_deleted(trail):
    storage, name = trail.stage.aws.client("s3"), bucket(trail)
    key = objects(trail)[0]
    assert key == f"audit/{TENANT}/000000000001.jsonl"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        storage.put_object(Bucket=name, Key=key, Body=b"", IfNoneMatch="*")
    denied = [one for one in policy(trail)["Statement"] if one["Effect"] == "Deny"]
    assert {"s3:DeleteObject", "s3:DeleteObjectVersion"} in [
        set(one["Action"]) for one in denied if isinstance(one["Action"], list)
    ]


def policy(deployed: Deployed):
    return json.loads(deployed.stage.aws.client("s3").get_bucket_policy(Bucket=bucket(deployed))["Policy"])
