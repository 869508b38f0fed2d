"""What every simulator stands on: the server, the faults, the throttle, the state file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from flask import Flask
from pydantic import BaseModel, ConfigDict, ValidationError

from tieout_sandbox.simulators.clock import SimulatedClock, WallClock
from tieout_sandbox.simulators.control import install
from tieout_sandbox.simulators.faults import IGNORE_REQUEST_ID, FaultPlan
from tieout_sandbox.simulators.limits import Throttle
from tieout_sandbox.simulators.server import serve
from tieout_sandbox.simulators.storage import StateFile


class Settings(BaseModel):
    model_config = ConfigDict(validate_assignment=True, extra="forbid")

    calls_per_minute: int = 5


class Tally:
    """A simulator with one end-point, which counts the work that was done."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self.done = 0
        self.ignored = 0
        self.closed = 0
        self.body = b""
        self.clock = SimulatedClock()
        self.app = Flask("tally")
        self.app.add_url_rule("/v3/company/<realm>/batch", view_func=self._work, methods=["POST", "GET"])
        install(
            self.app,
            clock=self.clock,
            faults=plan,
            error_body=lambda status: (json.dumps({"own": status}).encode(), "application/json"),
            settings=Settings(),
            on_close=self._close,
        )

    def _work(self, realm: str) -> dict[str, str]:
        from flask import request  # noqa: PLC0415 - only inside a request

        self.done += 1
        self.ignored += bool(request.environ.get(IGNORE_REQUEST_ID))
        self.body = request.get_data()
        return {"realm": realm, "from_port": request.environ.get("REMOTE_PORT", "")}

    def _close(self) -> None:
        self.closed += 1


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


def plan(*faults: dict[str, object], seed: int = 1) -> FaultPlan:
    return FaultPlan.model_validate({"seed": seed, "faults": list(faults)})


def test_a_connection_is_kept_between_calls(session: requests.Session) -> None:
    tally = Tally()
    with serve(tally.app) as url:
        answers = [session.get(f"{url}/v3/company/1/batch").json() for _ in range(3)]
    assert [answer["realm"] for answer in answers] == ["1", "1", "1"]
    assert len({answer["from_port"] for answer in answers}) == 1
    assert tally.closed == 1


def test_a_body_in_chunks_arrives_whole(session: requests.Session) -> None:
    tally = Tally()
    with serve(tally.app) as url:
        for _ in range(2):
            session.post(f"{url}/v3/company/1/batch", data=iter([b"one,", b"two"]))
            assert tally.body == b"one,two"


def test_a_stopped_server_answers_no_kept_connection(session: requests.Session) -> None:
    tally = Tally()
    with serve(tally.app) as url:
        session.get(f"{url}/v3/company/1/batch")
    with pytest.raises(requests.ConnectionError):
        session.get(f"{url}/v3/company/1/batch")


@pytest.mark.parametrize(("kind", "done"), [("reset", 0), ("lost_answer", 1)])
def test_the_connection_is_really_reset(session: requests.Session, kind: str, done: int) -> None:
    tally = Tally(plan({"kind": kind, "times": 1, "match": {"method": "POST", "path": "/v3/company/*/batch"}}))
    with serve(tally.app) as url:
        assert session.get(f"{url}/v3/company/1/batch").status_code == 200
        with pytest.raises(requests.ConnectionError):
            session.post(f"{url}/v3/company/1/batch", json={"some": "body"})
        assert tally.done == 1 + done
        assert session.post(f"{url}/v3/company/1/batch").status_code == 200


def test_a_status_fault_has_the_providers_body_and_does_no_work(session: requests.Session) -> None:
    tally = Tally(plan({"kind": "status", "status": 429}))
    with serve(tally.app) as url:
        answer = session.post(f"{url}/v3/company/1/batch")
    assert (answer.status_code, answer.json(), tally.done) == (429, {"own": 429}, 0)


def test_latency_waits_and_goes_on_with_the_other_faults() -> None:
    tally = Tally(plan({"kind": "latency", "seconds": 40}, {"kind": "ignore_request_id"}))
    before = tally.clock.now()
    assert tally.app.test_client().post("/v3/company/1/batch").status_code == 200
    assert tally.clock.now() - before == timedelta(seconds=40)
    assert tally.ignored == 1


def test_the_same_seed_hits_the_same_calls() -> None:
    def statuses(seed: int) -> list[int]:
        client = Tally(plan({"kind": "status", "status": 503, "probability": 0.3}, seed=seed)).app.test_client()
        return [client.get("/v3/company/1/batch").status_code for _ in range(200)]

    first = statuses(7)
    assert statuses(7) == first
    assert statuses(8) != first
    assert 30 < first.count(503) < 90


def test_faults_are_replaced_and_counted_at_run_time() -> None:
    client = Tally().app.test_client()
    fault = {"kind": "status", "status": 500, "times": 2, "match": {"method": "POST"}}
    assert client.put("/_sandbox/faults", json={"faults": [fault]}).status_code == 200
    statuses = [client.post("/v3/company/1/batch").status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    client.get("/v3/company/1/batch")
    (reported,) = client.get("/_sandbox/faults").get_json()["faults"]
    assert (reported["matched"], reported["fired"]) == (3, 2)


def test_a_wrong_fault_is_refused_and_the_former_ones_stay() -> None:
    client = Tally(plan({"kind": "status", "status": 500})).app.test_client()
    answer = client.put("/_sandbox/faults", json={"faults": [{"kind": "latency"}]})
    assert answer.status_code == 400
    assert "seconds" in answer.get_json()["problems"][0]["problem"]
    assert client.post("/v3/company/1/batch").status_code == 500


def test_calls_are_counted_by_route_and_end() -> None:
    client = Tally(plan({"kind": "lost_answer", "times": 1, "match": {"method": "POST"}})).app.test_client()
    with pytest.raises(ConnectionError):
        client.post("/v3/company/77/batch")
    client.post("/v3/company/78/batch")
    client.get("/nowhere")
    report = client.get("/_sandbox/calls").get_json()
    assert report["total"] == 3
    assert report["routes"]["POST /v3/company/{id}/batch"] == {"calls": 2, "by_status": {"200": 1, "dropped": 1}}
    assert client.delete("/_sandbox/calls").get_json()["total"] == 0


def test_settings_change_at_run_time_and_wrong_ones_do_not() -> None:
    client = Tally().app.test_client()
    assert client.post("/_sandbox/settings", json={"calls_per_minute": 9}).get_json() == {"calls_per_minute": 9}
    assert client.post("/_sandbox/settings", json={"calls_per_hour": 9}).status_code == 400
    assert client.get("/_sandbox/settings").get_json() == {"calls_per_minute": 9}


def test_a_faults_file_is_yaml(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text('seed: 7\nfaults:\n  - {kind: reset, probability: 0.05, match: {path: "/v3/*"}}\n', "utf-8")
    read = FaultPlan.read(file)
    assert (read.seed, read.faults[0].probability, read.faults[0].match.method) == (7, 0.05, "*")
    file.write_text("faults: [{kind: explode}]", "utf-8")
    with pytest.raises(ValidationError):
        FaultPlan.read(file)


def test_a_throttle_slides_and_keeps_accounts_apart() -> None:
    clock = SimulatedClock()
    throttle = Throttle(60)
    assert all(throttle.take("a", 3, clock.now()) for _ in range(3))
    assert not throttle.take("a", 3, clock.now())
    assert throttle.take("b", 3, clock.now())
    clock.advance(59.9)
    assert not throttle.take("a", 3, clock.now())
    clock.advance(0.1)
    assert throttle.take("a", 3, clock.now())


def test_state_is_saved_on_close_and_loaded_again(tmp_path: Path) -> None:
    state = {"n": 1}
    kept = StateFile(tmp_path / "state.json", lambda: state)
    assert kept.load() is None
    state["n"] = 2
    kept.changed()
    kept.close()
    again = StateFile(tmp_path / "state.json", dict)
    assert again.load() == {"n": 2}
    again.close()
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_the_wall_clock_is_aware_utc() -> None:
    assert WallClock().now().utcoffset() == timedelta(0)
