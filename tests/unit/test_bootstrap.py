from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.aws import StillClock, deploy, mocked, template
from tests.engine.world import START, World
from tests.integration.conftest import FakeEntry
from tieout import bootstrap
from tieout.bootstrap import Deployment, Settings
from tieout.domain.changes import Lane
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError, UnavailableError

FUNCTIONS = {
    "ReceiveWebhook": "receive_webhook",
    "PollChanges": "poll_changes",
    "ServeBridge": "serve_bridge",
    "ApplyChanges": "apply_changes",
    "RetryChanges": "apply_changes",
    "ParkChange": "park_changes",
    "ImportFile": "imports",
    "SendAlerts": "send_alerts",
    "ArchiveAudit": "archive_audit",
}


def test_settings_are_read_from_the_environment():
    settings = Settings.of_environment(
        {"TIEOUT_TABLE": "t", "TIEOUT_RETRY_BASE_SECONDS": "30", "TIEOUT_OTHER": "x", "PATH": "/bin"}
    )
    assert (settings.table, settings.retry_base_seconds, settings.worker_timeout_seconds) == ("t", 30, 120)
    assert settings.changes_queue_url == ""


def test_settings_are_read_from_the_stacks_outputs():
    outputs = {name: f"value of {name}" for name in template()["Outputs"]}
    settings = Settings.of_outputs(outputs | {"RetryBaseSeconds": "20", "WorkerTimeoutSeconds": "60"})
    read = settings.model_dump()
    assert (read.pop("stack"), read.pop("hold_beyond_worker_seconds")) == ("", 60)
    assert (read.pop("retry_base_seconds"), read.pop("worker_timeout_seconds")) == (20, 60)
    assert all(value.startswith("value of ") for value in read.values()), read
    assert settings.table == "value of TableName"


def test_what_is_missing_is_listed_whole():
    with pytest.raises(SettingsError) as raised:
        Settings(secrets_prefix="p").need("table", "changes_queue_url", "secrets_prefix")
    assert "TIEOUT_TABLE, TIEOUT_CHANGES_QUEUE_URL." in raised.value.message


def test_what_cannot_be_read_is_listed_whole():
    with pytest.raises(SettingsError) as raised:
        Settings.of_environment({"TIEOUT_RETRY_BASE_SECONDS": "soon", "TIEOUT_WORKER_TIMEOUT_SECONDS": "0"})
    assert "TIEOUT_RETRY_BASE_SECONDS" in raised.value.message
    assert "TIEOUT_WORKER_TIMEOUT_SECONDS" in raised.value.message


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_template_gives_each_function_what_its_use_case_needs(function, monkeypatch):
    written = template()
    variables = written["Globals"]["Function"]["Environment"]["Variables"]
    variables |= written["Resources"][function]["Properties"].get("Environment", {}).get("Variables", {})
    numbers = {"TIEOUT_RETRY_BASE_SECONDS": "15", "TIEOUT_WORKER_TIMEOUT_SECONDS": "120"}
    settings = Settings.of_environment({name: numbers.get(name, value) for name, value in variables.items()})
    with mocked(monkeypatch) as clients:
        assert getattr(Deployment(settings, clients=clients), FUNCTIONS[function])()


@pytest.mark.parametrize("use_case", [*set(FUNCTIONS.values()), "measure_unsynced"])
def test_a_use_case_without_settings_is_refused(use_case):
    with pytest.raises(SettingsError, match="TIEOUT_TABLE"):
        getattr(Deployment(Settings()), use_case)()


def test_a_worker_leaves_documents_alone_for_longer_than_it_can_live(monkeypatch):
    with mocked(monkeypatch) as clients:
        settings = deploy(clients).model_copy(update={"worker_timeout_seconds": 300})
        worker = Deployment(settings, clients=clients).apply_changes()
    assert worker._policy.hold_seconds == 360


def test_the_functions_deployment_is_built_once_from_the_environment(monkeypatch):
    monkeypatch.setenv("TIEOUT_TABLE", "from-the-environment")
    bootstrap.deployment.cache_clear()
    try:
        assert bootstrap.deployment() is bootstrap.deployment()
        assert bootstrap.deployment().settings.table == "from-the-environment"
    finally:
        bootstrap.deployment.cache_clear()


def test_connections_share_their_budget_and_lease_through_the_table(monkeypatch):
    with mocked(monkeypatch) as clients:
        settings, world = deploy(clients), World()
        entries = [FakeEntry(world.crm), FakeEntry(world.crm)]
        workers = [
            Deployment(settings, clients=clients, clock=StillClock(START), provider=lambda _, one=entry: one)
            for entry in entries
        ]
        for worker in workers:
            opened = worker.connect(Connection("acme", "act", "fake_crm"))
            assert worker.connect(Connection("acme", "act", "fake_crm")) is opened, "it keeps what it looked up"
            worker.connect(Connection("acme", "act", "fake_crm", settings={"changed": True}))
        first, again, other = entries[0].contexts[0], entries[0].contexts[1], entries[1].contexts[0]
        assert first.http is again.http, "one line to the provider a connection and process"
        assert first.http is not other.http
        with first.lease("token"):
            with pytest.raises(UnavailableError), other.lease("token"):
                pytest.fail("it is held by another worker")
            with other.lease("another"):
                pass


HEAVY = ("babel", "phonenumbers", "stdnum", "jinja2", "ruamel", "slugify", "boto3")


@pytest.mark.parametrize(
    "function",
    [
        "receive_webhook",
        "poll_changes",
        "apply_changes",
        "retry_changes",
        "park_change",
        "import_file",
        "send_alerts",
        "archive_audit",
    ],
)
def test_importing_a_handler_needs_no_environment_and_loads_nothing_heavy(function):
    code = f"import sys, json, functions.{function}.app; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": "."}, capture_output=True, check=True, text=True
    )
    loaded = set(json.loads(done.stdout))
    assert not loaded & set(HEAVY)
    assert not {name for name in loaded if name.startswith(("tieout.mapping", "tieout.connectors"))}
    assert "tieout.engine.apply" not in loaded


def test_both_lanes_spend_one_budget_through_doors_of_their_own(monkeypatch):
    with mocked(monkeypatch) as clients:
        entry = FakeEntry(World().crm)
        deployment = Deployment(deploy(clients), clients=clients, clock=StillClock(START), provider=lambda _: entry)
        connection = Connection("acme", "act", "fake_crm")
        deployment.connect(connection)
        deployment.connect(connection, lane=Lane.BACKFILL)
        live, history = (context.http for context in entry.contexts)
        assert live is deployment.http(connection)
        assert history is deployment.http(connection, Lane.BACKFILL)
        assert live is not history
        assert live._ended == history._ended, "one budget's method"
