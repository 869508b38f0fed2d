from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from tests.aws import BUCKET, EXCHANGE, create_bucket, create_exchange
from tieout.adapters import s3
from tieout.adapters.s3 import S3Archive, S3Exchange, object_name
from tieout.domain.errors import UnavailableError
from tieout.ports.files import Dropped

DOWN: Any = {"HTTPStatusCode": 503}
FORBIDDEN: Any = {"HTTPStatusCode": 403}


@pytest.fixture
def archive(clients):
    create_bucket(clients)
    return S3Archive(clients.s3, BUCKET)


def test_an_object_is_written_once(archive):
    assert archive.put("acme", 1, b"one\n") is True
    assert archive.put("acme", 1, b"other\n") is False
    assert archive.get("acme", 1) == b"one\n"


def test_what_is_not_there_is_none(archive):
    assert archive.get("acme", 7) is None


def test_names_are_in_the_order_of_their_numbers(archive):
    for first in (1, 2, 10, 100, 9_999):
        archive.put("acme", first, b"x\n")
    assert [one.first for one in archive.objects("acme")] == [1, 2, 10, 100, 9_999]
    assert [one.first for one in archive.objects("acme", after=10)] == [100, 9_999]
    assert all(one.written_at.tzinfo is not None for one in archive.objects("acme"))


def test_tenants_whose_names_begin_alike_stay_apart(archive):
    archive.put("acme", 1, b"x\n")
    archive.put("acme-2", 1, b"y\n")
    assert [one.first for one in archive.objects("acme")] == [1]
    assert archive.get("acme-2", 1) == b"y\n"


def test_other_objects_are_left_out(archive, clients):
    archive.put("acme", 5, b"x\n")
    clients.s3.put_object(Bucket=BUCKET, Key="audit/acme/000000000006.txt", Body=b"")
    clients.s3.put_object(Bucket=BUCKET, Key="audit/acme/notes.jsonl", Body=b"")
    assert [one.first for one in archive.objects("acme")] == [5]


def test_many_are_read_in_the_order_that_was_asked_for(archive):
    firsts = list(range(1, 30))
    for first in firsts:
        archive.put("acme", first, str(first).encode())
    assert list(archive.read("acme", [*firsts, 99])) == [*((one, str(one).encode()) for one in firsts), (99, None)]


def test_more_than_a_page_is_listed(archive, clients, monkeypatch):
    for first in range(1, 8):
        archive.put("acme", first, b"x\n")
    listed = clients.s3.list_objects_v2
    monkeypatch.setattr(clients.s3, "list_objects_v2", lambda **asked: listed(**asked, MaxKeys=3))
    assert [one.first for one in archive.objects("acme")] == list(range(1, 8))


def test_a_trail_of_too_many_pages_is_an_error(archive, clients, monkeypatch):
    for first in range(1, 8):
        archive.put("acme", first, b"x\n")
    listed = clients.s3.list_objects_v2
    monkeypatch.setattr(clients.s3, "list_objects_v2", lambda **asked: listed(**asked, MaxKeys=1))
    monkeypatch.setattr(s3, "PAGES_MAX", 3)
    with pytest.raises(RuntimeError, match="pages"):
        list(archive.objects("acme"))


@pytest.mark.parametrize(("busy", "stored"), [(1, True), (s3.TRIES_MAX, False)])
def test_a_write_beside_another_is_tried_again_a_few_times(clients, busy, stored):
    with Stubber(clients.s3) as answers:
        for _ in range(busy):
            answers.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        if stored:
            answers.add_response("put_object", {})
            assert S3Archive(clients.s3, BUCKET).put("acme", 1, b"x\n") is True
        else:
            with pytest.raises(UnavailableError):
                S3Archive(clients.s3, BUCKET).put("acme", 1, b"x\n")
        answers.assert_no_pending_responses()


def test_other_refusals_rise(clients):
    archive = S3Archive(clients.s3, BUCKET)
    with Stubber(clients.s3) as answers:
        answers.add_client_error("put_object", "AccessDenied", http_status_code=403)
        with pytest.raises(ClientError, match="AccessDenied"):
            archive.put("acme", 1, b"x\n")


def test_the_name_of_an_object():
    assert object_name("acme", 42) == "audit/acme/000000000042.jsonl"


# Files in and out


@pytest.fixture
def exchange(clients):
    create_exchange(clients)
    return S3Exchange(clients.s3, EXCHANGE)


def test_a_file_comes_in_and_results_go_out(exchange, clients, tmp_path):
    body = bytes(range(256)) * 20_000
    clients.s3.put_object(Bucket=EXCHANGE, Key="inbox/a b.csv", Body=body, Metadata={"complete": "yes"})
    assert exchange.there("inbox/a b.csv") == Dropped("inbox/a b.csv", len(body), {"complete": "yes"})
    path = tmp_path / "file"
    exchange.fetch("inbox/a b.csv", path)
    assert path.read_bytes() == body
    exchange.hand_out(path, "outbox/r.csv")
    assert clients.s3.get_object(Bucket=EXCHANGE, Key="outbox/r.csv")["Body"].read() == body
    exchange.drop("outbox/r.csv")
    exchange.drop("outbox/r.csv")
    assert exchange.there("outbox/r.csv") is None


def test_a_file_that_was_taken_away_cannot_be_fetched_now(exchange, tmp_path):
    with pytest.raises(UnavailableError):
        exchange.fetch("inbox/none.csv", tmp_path / "file")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (ClientError({"Error": {"Code": "503"}, "ResponseMetadata": DOWN}, "HeadObject"), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://s3"), UnavailableError),
        (ClientError({"Error": {"Code": "403"}, "ResponseMetadata": FORBIDDEN}, "HeadObject"), ClientError),
    ],
)
def test_what_s3_cannot_answer_now_may_work_later_and_what_is_not_allowed_rises(exchange, monkeypatch, failure, error):
    def fail(**_):
        raise failure

    monkeypatch.setattr(exchange._client, "head_object", fail)
    with pytest.raises(error):
        exchange.there("inbox/a.csv")
