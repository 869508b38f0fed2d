"""The outbox and installations in the table, and large texts beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.aws import EXCHANGE, START, TABLE, create_exchange, mocked, template
from tests.bridge import MemoryInstallations, MemoryOutbox
from tests.unit.bridge.served import MemoryParcels
from tieout.adapters import waker
from tieout.adapters.aws import Clients
from tieout.adapters.dynamodb.bridge import INLINE_BYTES_MAX, DynamoInstallations, DynamoOutbox
from tieout.adapters.dynamodb.values import from_attributes
from tieout.adapters.parcels import S3Parcels
from tieout.adapters.waker import LambdaWaker
from tieout.domain.bridge import Ended, Installation, Job, JobState
from tieout.domain.errors import ClaimedError

LARGE = "ü" * (INLINE_BYTES_MAX // 2) + "x"
JUST = "ü" * (INLINE_BYTES_MAX // 2)


def a_job(number: int = 1, *, connection: str = "books", tenant: str = "acme", body: str = "{}") -> Job:
    return Job(
        tenant,
        connection,
        f"2026-11-22T09:00:0{number}.000000Z-ab",
        "write",
        body,
        True,
        START + timedelta(seconds=number),
        START + timedelta(seconds=number + 12),
    )


def leased(job: Job, lease: str = "l1") -> Job:
    return replace(job, state=JobState.LEASED, lease=lease, instance="i1", leased_at=START + timedelta(seconds=5))


def ended(job: Job, result: str | None = "r", how: Ended = Ended.DONE) -> Job:
    return replace(leased(job), state=JobState.ENDED, ended=how, result=result)


@pytest.fixture
def parcels(clients):
    create_exchange(clients)
    return S3Parcels(clients, EXCHANGE)


@pytest.fixture(params=["table", "memory"])
def outbox(request):
    """What holds for the table has to hold for the stand-in of other tests."""
    if request.param == "memory":
        return MemoryOutbox()
    return DynamoOutbox(request.getfixturevalue("table"), request.getfixturevalue("parcels"))


@pytest.fixture
def stored(table, parcels):
    return DynamoOutbox(table, parcels)


@pytest.fixture(params=["table", "memory"])
def installations(request):
    return MemoryInstallations() if request.param == "memory" else DynamoInstallations(request.getfixturevalue("table"))


def items(clients):
    return [from_attributes(item) for item in clients.dynamodb.scan(TableName=TABLE)["Items"]]


# Jobs


def test_a_job_comes_back_as_it_was_put(outbox):
    job = a_job()
    outbox.put(job)
    assert outbox.job("acme", "books", job.id) == job
    assert outbox.change(leased(job), was=JobState.QUEUED)
    assert outbox.job("acme", "books", job.id) == leased(job)
    assert outbox.change(ended(job), was=JobState.LEASED, lease="l1")
    assert outbox.job("acme", "books", job.id) == ended(job)
    assert outbox.drop(ended(job), was=JobState.ENDED)
    assert outbox.job("acme", "books", job.id) is None
    assert outbox.jobs("acme", "books") == []


@pytest.mark.parametrize("how", list(Ended))
@pytest.mark.parametrize("result", [None, "", "text"])
def test_every_end_comes_back(outbox, how, result):
    job = a_job()
    outbox.put(job)
    outbox.change(leased(job), was=JobState.QUEUED)
    outbox.change(ended(job, result, how), was=JobState.LEASED, lease="l1")
    assert outbox.job("acme", "books", job.id) == ended(job, result, how)


def test_jobs_are_listed_the_oldest_first(outbox):
    for number in (3, 1, 2):
        outbox.put(a_job(number))
    assert [job.id for job in outbox.jobs("acme", "books")] == [a_job(number).id for number in (1, 2, 3)]


def test_what_a_list_leaves_out_is_not_lost_when_the_job_is_changed(outbox):
    outbox.put(a_job(body=LARGE))
    (listed,) = outbox.jobs("acme", "books")
    assert outbox.change(leased(listed), was=JobState.QUEUED)
    assert outbox.job("acme", "books", listed.id).body == LARGE


def test_of_two_who_fetch_a_job_one_gets_it(outbox):
    job = a_job()
    outbox.put(job)
    assert outbox.change(leased(job, "one"), was=JobState.QUEUED)
    assert not outbox.change(leased(job, "other"), was=JobState.QUEUED)
    assert outbox.job("acme", "books", job.id).lease == "one"


def test_who_fetches_and_who_takes_back_cannot_both(outbox):
    job = a_job()
    outbox.put(job)
    outbox.change(leased(job), was=JobState.QUEUED)
    assert not outbox.drop(job, was=JobState.QUEUED)
    other = a_job(2)
    outbox.put(other)
    assert outbox.drop(other, was=JobState.QUEUED)
    assert not outbox.change(leased(other), was=JobState.QUEUED)
    assert outbox.job("acme", "books", other.id) is None, "no half of a job is left"


@pytest.mark.parametrize(
    ("was", "lease"), [(JobState.QUEUED, ""), (JobState.ENDED, ""), (JobState.LEASED, "l2"), (JobState.QUEUED, "l1")]
)
def test_a_report_counts_for_the_lease_that_it_is_of(outbox, was, lease):
    job = a_job()
    outbox.put(job)
    outbox.change(leased(job), was=JobState.QUEUED)
    assert not outbox.change(ended(job), was=was, lease=lease)
    assert outbox.job("acme", "books", job.id) == leased(job)
    assert not outbox.drop(job, was=JobState.ENDED)


def test_an_end_is_not_changed(outbox):
    job = a_job()
    outbox.put(job)
    outbox.change(leased(job), was=JobState.QUEUED)
    outbox.change(ended(job), was=JobState.LEASED, lease="l1")
    assert not outbox.change(ended(job, None, Ended.LOST), was=JobState.LEASED, lease="l1")
    assert outbox.job("acme", "books", job.id).ended is Ended.DONE


def test_tenants_and_connections_are_apart(outbox):
    outbox.put(a_job())
    for tenant, connection in (("acme", "book"), ("acme", "books2"), ("acm", "books"), ("other", "books")):
        assert outbox.job(tenant, connection, a_job().id) is None
        assert outbox.jobs(tenant, connection) == []


@pytest.mark.parametrize("name", ["jobs", "bridge", "job", "installation", "connection", "sync", "link", "books"])
def test_connections_that_are_named_like_parts_of_keys_are_apart(table, stored, name):
    installations = DynamoInstallations(table)
    for connection in (name, "other"):
        stored.put(a_job(connection=connection))
        installations.put_installation(Installation("acme", connection, machine=connection))
    assert [job.connection for job in stored.jobs("acme", name)] == [name]
    assert installations.installation("acme", name).machine == name
    assert len(installations.installations("acme")) == 2


def test_no_name_makes_two_keys_one(stored, table):
    for tenant, connection in (("acme#bridge", "x"), ("acme", "x#jobs"), ("#", "x")):
        with pytest.raises(ValueError, match="#"):
            stored.put(a_job(tenant=tenant, connection=connection))
        with pytest.raises(ValueError, match="#"):
            stored.jobs(tenant, connection)
    with pytest.raises(ValueError, match="#"):
        DynamoInstallations(table).installation("acme#", "x")


def test_what_nobody_takes_away_goes_by_itself(stored, clients):
    stored.put(a_job())
    (item,) = items(clients)
    assert item["expires_at"] == int((a_job().queued_at + timedelta(hours=12)).timestamp())
    declared = template()["Resources"]["Table"]["Properties"]["TimeToLiveSpecification"]
    assert declared == {"AttributeName": "expires_at", "Enabled": True}


# Large texts


@pytest.mark.parametrize(("body", "apart"), [("", 0), (JUST, 0), (LARGE, 1), ("ü" * 1_000_000, 1)])
def test_a_large_body_stands_beside_the_table(stored, clients, parcels, body, apart):
    job = a_job(body=body)
    stored.put(job)
    assert stored.job("acme", "books", job.id).body == body
    (item,) = items(clients)
    assert ("body" not in item) == bool(apart)
    assert (parcels.get(job.call_parcel, bytes_max=10**7) is not None) == bool(apart)


@pytest.mark.parametrize(("result", "apart"), [("", False), (JUST, False), (LARGE, True)])
def test_a_large_result_stands_beside_the_table(stored, clients, result, apart):
    job = a_job(body=JUST)
    stored.put(job)
    stored.change(leased(job), was=JobState.QUEUED)
    assert stored.change(ended(job, result), was=JobState.LEASED, lease="l1")
    found = stored.job("acme", "books", job.id)
    assert (found.result, found.result_apart) == (result, apart)
    assert len(json.dumps(items(clients), default=str, ensure_ascii=False).encode()) < 409_600


def test_what_the_agent_put_is_read_from_there(stored, parcels):
    job = a_job()
    stored.put(job)
    stored.change(leased(job), was=JobState.QUEUED)
    parcels.put(job.report_parcel, LARGE.encode())
    stored.change(replace(ended(job, None), result_apart=True), was=JobState.LEASED, lease="l1")
    assert stored.job("acme", "books", job.id).result == LARGE


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * 20_000_001])
def test_what_is_not_there_or_no_text_or_too_large_is_no_result(stored, parcels, content):
    job = a_job()
    stored.put(job)
    stored.change(leased(job), was=JobState.QUEUED)
    if content is not None:
        parcels.put(job.report_parcel, content)
    stored.change(replace(ended(job, None), result_apart=True), was=JobState.LEASED, lease="l1")
    assert stored.job("acme", "books", job.id).result is None


def test_a_body_that_is_gone_is_empty(stored, clients):
    job = a_job(body=LARGE)
    stored.put(job)
    clients.s3.delete_object(Bucket=EXCHANGE, Key=job.call_parcel)
    assert stored.job("acme", "books", job.id).body == ""


# Installations


def test_an_installation_comes_back_as_it_was_put(installations):
    put = Installation(
        "acme",
        "books",
        code_hash="c",
        code_until=START,
        key_hash="k",
        enrolled_at=START,
        sequence=10**15 - 1,
        seen_at=START + timedelta(microseconds=1),
        worked_at=START,
        instance="i",
        machine="Büro",
        system="Windows",
        version="1",
        told_at=START,
        session="s",
    )
    kept = installations.put_installation(put)
    assert kept == replace(put, revision=1)
    assert installations.installation("acme", "books") == kept
    emptied = installations.put_installation(Installation("acme", "books", revision=1))
    assert installations.installation("acme", "books") == emptied == Installation("acme", "books", revision=2)


def test_of_two_who_change_it_at_once_one_does(installations):
    first = installations.put_installation(Installation("acme", "books"))
    installations.put_installation(replace(first, machine="one"))
    with pytest.raises(ClaimedError):
        installations.put_installation(replace(first, machine="other"))
    with pytest.raises(ClaimedError):
        installations.put_installation(Installation("acme", "books"))
    assert installations.installation("acme", "books").machine == "one"
    with pytest.raises(ClaimedError):
        installations.put_installation(Installation("acme", "new", revision=3))


def test_installations_of_tenants_are_apart(installations):
    for tenant, connection in (("acme", "b"), ("acme", "a"), ("acme-2", "a")):
        installations.put_installation(Installation(tenant, connection))
    assert sorted(one.connection for one in installations.installations("acme")) == ["a", "b"]
    assert installations.installation("acme-2", "b") is None


# Parcels

NAME = "bridge/acme.books/2026-11-22T09:00:01.000000Z-ab/report"
CONTENT = b"what was announced"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_a_parcel_comes_back(parcels):
    parcels.put(NAME, CONTENT)
    assert parcels.get(NAME, bytes_max=len(CONTENT)) == CONTENT
    assert parcels.get(NAME, bytes_max=len(CONTENT) - 1) is None
    assert parcels.get(NAME + "2", bytes_max=100) is None


def test_the_stand_in_of_other_tests_does_alike():
    memory = MemoryParcels()
    memory.put(NAME, CONTENT)
    assert memory.get(NAME, bytes_max=len(CONTENT)) == CONTENT
    assert memory.get(NAME, bytes_max=len(CONTENT) - 1) is None
    assert memory.get(NAME + "2", bytes_max=100) is None


def test_nothing_there_is_told_as_denied_to_who_may_not_list(clients, parcels):
    with Stubber(clients.s3) as stubber:
        stubber.add_client_error("get_object", "AccessDenied", http_status_code=403)
        assert parcels.get(NAME, bytes_max=100) is None


def test_what_s3_does_not_answer_rises(clients, parcels):
    with Stubber(clients.s3) as stubber:
        stubber.add_client_error("get_object", "InternalError", http_status_code=500)
        with pytest.raises(ClientError):
            parcels.get(NAME, bytes_max=100)


REGIONS = pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "eu-central-1", "ap-south-2"])


@REGIONS
def test_an_address_takes_only_what_was_announced(monkeypatch, region):
    """S3 checks what is signed: length, checksum and name. moto checks none of it, so this is what counts."""
    with mocked(monkeypatch):
        address, headers = S3Parcels(Clients(region=region), EXCHANGE).address_to_put(
            NAME, size=len(CONTENT), sha256=DIGEST, seconds=600
        )
    parts, query = urlsplit(address), parse_qs(urlsplit(address).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"], "what KMS encrypts is given to no other"
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {"content-length", "host", "x-amz-checksum-sha256"}
    assert query["X-Amz-Expires"] == ["600"]
    assert headers == {
        "content-length": str(len(CONTENT)),
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
    }
    assert parts.scheme == "https"
    regional = f"{EXCHANGE}.s3.{region}.amazonaws.com"
    assert parts.hostname == (regional if region != "us-east-1" else f"{EXCHANGE}.s3.amazonaws.com")
    assert parts.path.endswith("/report")


@REGIONS
def test_an_address_gives_one_parcel_for_a_while(monkeypatch, region):
    with mocked(monkeypatch):
        address = S3Parcels(Clients(region=region), EXCHANGE).address_to_get(NAME, seconds=600)
    query = parse_qs(urlsplit(address).query)
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["600"])


# Waking


def test_a_poll_is_started_in_a_run_of_its_own(clients):
    with Stubber(clients.functions) as stubber:
        stubber.add_response(
            "invoke",
            {"StatusCode": 202},
            {
                "FunctionName": "poll",
                "InvocationType": "Event",
                "Payload": b'{"tenant": "acme", "connection": "books"}',
            },
        )
        LambdaWaker(clients, "poll").poll("acme", "books")
        stubber.assert_no_pending_responses()


def test_a_poll_that_cannot_be_started_comes_by_its_schedule(clients, caplog):
    with Stubber(clients.functions) as stubber:
        stubber.add_client_error("invoke", "TooManyRequestsException", "Rate exceeded for Jo Canary")
        LambdaWaker(clients, "poll").poll("acme", "books")
    (record,) = [one for one in caplog.records if one.name == waker.__name__]
    assert record.error == "TooManyRequestsException"
    assert "Canary" not in caplog.text
