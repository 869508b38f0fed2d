"""Settings of a connection: what is taken, and what is refused with a name."""

from __future__ import annotations

import pytest

from tests.contract.fakes import ManualClock, MemoryLease, MemorySecrets
from tieout.connectors import PROVIDERS, provider
from tieout.connectors.quickbooks_online import CONNECTOR
from tieout.connectors.quickbooks_online.manifest import BATCH_SPENDS, MANIFEST, limits_of, parse_settings
from tieout.domain.connections import Connection
from tieout.domain.errors import SettingsError
from tieout.ports.connector import Context, Limit, Window


def test_production_and_sandbox_have_their_own_addresses():
    assert parse_settings({}).api_url == "https://quickbooks.api.intuit.com"
    assert parse_settings({"environment": "sandbox"}).api_url == "https://sandbox-quickbooks.api.intuit.com"
    assert parse_settings({"base_url": "http://127.0.0.1:8080/"}).api_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "settings",
    [
        {"realm_id": "12a"},
        {"environment": "test"},
        {"base_url": "http://example.test"},
        {"base_url": "http://127.0.0.1.example.test"},
        {"token_url": "ftp://127.0.0.1"},
        {"token_url": "https://oauth.platform.intuit.com@example.test/"},
        {"token_url": "https://example.test\\@oauth.platform.intuit.com/"},
        {"base_url": "http://localhost:8080@example.test/"},
        {"base_url": "https://example.test?"},
        {"consent_url": "https:///x"},
        {"batches_per_minute": 0},
        {"batches_per_minute": 7},  # the search for a customer would use up what its write needs
        {"surprise": 1},
    ],
)
def test_wrong_settings_are_refused_by_name(settings):
    connection = Connection("acme", "books", "quickbooks_online", settings=settings)

    with pytest.raises(SettingsError, match=next(iter(settings))):
        CONNECTOR.limits_of(connection)


def test_the_fewest_batches_that_let_customers_be_written_are_taken():
    settings = parse_settings({"batches_per_minute": 8})

    assert {limit.name: limit.calls for limit in limits_of(settings)}["batches_per_minute"] == 8


def test_a_connection_without_a_company_is_refused():
    connection = Connection("acme", "books", "quickbooks_online")
    context = Context(connection, MemorySecrets({}), object(), ManualClock(), MemoryLease())

    with pytest.raises(SettingsError, match="which QuickBooks company"):
        CONNECTOR.open(context)


def test_providers_are_found_by_name():
    assert provider("quickbooks_online") is CONNECTOR
    assert len({each.manifest.provider for each in PROVIDERS}) == len(PROVIDERS)
    with pytest.raises(SettingsError) as caught:
        provider("quickbook")
    assert "quickbooks_online" in caught.value.next_step


def test_a_quota_of_a_day_counts_only_if_it_is_set():
    settings = parse_settings({"requests_per_day": 12_000})

    assert limits_of(settings)[-1] == Limit("requests_per_day", 12_000, 86_400, Window.QUOTA)
    assert limits_of(parse_settings({})) == MANIFEST.limits
    assert {limit.name for limit in limits_of(settings)} == set(BATCH_SPENDS), "each is spent by a call"


def test_the_manifests_limits_are_those_of_the_provider_with_one_second_call_kept_back():
    assert [(limit.name, limit.calls, limit.per_seconds) for limit in MANIFEST.limits] == [
        ("requests_per_minute", 500, 60),
        ("requests_per_second", 9, 1),
        ("requests_in_flight", 10, 125),
        ("batches_per_minute", 40, 60),
    ]
