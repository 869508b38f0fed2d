from __future__ import annotations

from datetime import timedelta
from unittest.mock import Mock

import pytest

from tieout.adapters.secrets_manager import SecretsManager
from tieout.domain.errors import SettingsError

BUNDLE = {"refresh_token": "s3cr3t-töken", "client_secret": ""}


@pytest.fixture
def secrets(clients, clock):
    return SecretsManager(clients.secrets_manager, "tieout/test", clock)


@pytest.fixture
def other(clients, clock):
    """Another worker's."""
    return SecretsManager(clients.secrets_manager, "tieout/test", clock)


def test_a_connection_without_secrets_says_what_to_do(secrets):
    with pytest.raises(SettingsError) as raised:
        secrets.read("acme", "act")
    assert "tieout connect act" in raised.value.next_step


def test_secrets_come_back_as_they_were_by_tenant_and_connection(secrets, other, clients):
    secrets.write("acme", "act", BUNDLE)
    assert other.read("acme", "act") == BUNDLE
    with pytest.raises(SettingsError):
        other.read("globex", "act")
    (listed,) = clients.secrets_manager.list_secrets()["SecretList"]
    assert listed["Name"] == "tieout/test/acme/act"


def test_secrets_that_are_being_deleted_say_how_to_get_them_back(secrets, other, clients, monkeypatch):
    secrets.write("acme", "act", BUNDLE)
    clients.secrets_manager.delete_secret(SecretId="tieout/test/acme/act")
    # moto lets a write through; AWS refuses it as it refuses the read.
    refused = clients.secrets_manager.exceptions.InvalidRequestException({"Error": {}}, "PutSecretValue")
    monkeypatch.setattr(clients.secrets_manager, "put_secret_value", Mock(side_effect=refused))
    for ask in (lambda: other.read("acme", "act"), lambda: other.write("acme", "act", BUNDLE)):
        with pytest.raises(SettingsError) as raised:
            ask()
        assert "restore-secret --secret-id tieout/test/acme/act" in raised.value.next_step


def test_a_bundle_is_replaced_whole(secrets, other):
    secrets.write("acme", "act", BUNDLE)
    secrets.write("acme", "act", {"refresh_token": "new"})
    assert other.read("acme", "act") == {"refresh_token": "new"}


def test_a_copy_is_up_to_five_minutes_old_unless_fresh(secrets, other, clock):
    secrets.write("acme", "act", BUNDLE)
    assert secrets.read("acme", "act") == BUNDLE
    other.write("acme", "act", {"refresh_token": "rotated"})
    clock.time += timedelta(minutes=5) - timedelta(microseconds=1)
    assert secrets.read("acme", "act") == BUNDLE
    clock.time += timedelta(microseconds=1)
    assert secrets.read("acme", "act") == {"refresh_token": "rotated"}
    other.write("acme", "act", BUNDLE)
    assert secrets.read("acme", "act", fresh=True) == BUNDLE
    assert secrets.read("acme", "act") == BUNDLE


def test_what_was_written_is_read_at_once(secrets):
    secrets.write("acme", "act", BUNDLE)
    secrets.write("acme", "act", {"refresh_token": "new"})
    assert secrets.read("acme", "act") == {"refresh_token": "new"}


def test_a_callers_copy_is_its_own(secrets):
    secrets.write("acme", "act", BUNDLE)
    copy = dict(secrets.read("acme", "act"))
    secrets.read("acme", "act").pop("refresh_token")
    assert secrets.read("acme", "act") == copy


def test_a_write_that_failed_does_not_stay_in_memory(secrets, clients, monkeypatch):
    secrets.write("acme", "act", BUNDLE)

    def fail(**_):
        raise ConnectionResetError

    monkeypatch.setattr(clients.secrets_manager, "put_secret_value", fail)
    with pytest.raises(ConnectionResetError):
        secrets.write("acme", "act", {"refresh_token": "never stored"})
    assert secrets.read("acme", "act") == BUNDLE


@pytest.mark.parametrize("text", ["not json s3cr3t", '["s3cr3t"]', '{"token": 7}'])
def test_secrets_of_another_form_are_refused_without_showing_them(secrets, clients, text):
    clients.secrets_manager.create_secret(Name="tieout/test/acme/act", SecretString=text)
    with pytest.raises(SettingsError) as raised:
        secrets.read("acme", "act")
    assert "s3cr3t" not in repr(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_two_that_create_at_once_both_end_well(secrets, other, clients, monkeypatch):
    create = clients.secrets_manager.create_secret

    def late(**request):
        other_client_request = request | {"SecretString": '{"who":"other"}'}
        create(**other_client_request)
        return create(**request)

    monkeypatch.setattr(clients.secrets_manager, "create_secret", late)
    secrets.write("acme", "act", BUNDLE)
    assert other.read("acme", "act") == BUNDLE


def test_no_secret_shows(secrets):
    secrets.write("acme", "act", BUNDLE)
    assert "s3cr3t" not in repr(secrets)
