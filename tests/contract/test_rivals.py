"""The comparison with other clients counts right: a planted double and a planted loss are seen, and a real one too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.rivals.books import SETTINGS, Books, Outcome, Weather, compare
from bench.rivals.cells import of_rival, of_tieout
from bench.rivals.clients import adapter, batch, single, single_with_key
from tieout_sandbox.simulators import create_app
from tieout_sandbox.simulators.clock import SimulatedClock
from tieout_sandbox.simulators.server import serve


@pytest.fixture
def books() -> Iterator[Books]:
    with serve(create_app("quickbooks_online", clock=SimulatedClock(), **SETTINGS), 0) as url:
        yield Books(url)


def test_as_many_as_wanted_is_neither_double_nor_loss() -> None:
    assert compare(["1", "2", "3"], ["3", "1", "2"]) == Outcome(records=3, duplicates=0, losses=0)


def test_doubles_and_losses_are_counted_apart() -> None:
    assert compare(["1", "2", "3", "4"], ["1", "1", "1", "2", "2"]) == Outcome(records=4, duplicates=3, losses=2)


def test_an_invoice_of_no_record_is_no_result() -> None:
    with pytest.raises(ValueError, match="1 invoices belong to no record, such as '9'"):
        compare(["1"], ["1", "9"])


def test_two_records_of_one_number_are_no_result() -> None:
    with pytest.raises(ValueError, match="two records have the number '1'"):
        compare(["1", "1"], ["1"])


def test_planted_double_and_loss_are_seen_in_the_books(books: Books) -> None:
    customer = books.company("POST", "customer", {"DisplayName": "Acme"})["Customer"]["Id"]
    detail = {"ItemRef": {"value": "1"}, "TaxCodeRef": {"value": "NON"}}
    line = {"DetailType": "SalesItemLineDetail", "Amount": "5.00", "SalesItemLineDetail": detail}
    for number in ("A", "B", "B"):
        invoice = {"CustomerRef": {"value": customer}, "DocNumber": number, "Line": [line]}
        books.company("POST", "invoice", invoice)
    assert books.outcome(["A", "B", "C"]) == Outcome(records=3, duplicates=1, losses=1)


def test_numbers_are_read_beyond_one_page(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.rivals.books.PAGE", 2)
    test_planted_double_and_loss_are_seen_in_the_books(books)


HALF = Weather(lost=0.5, honours_request_id=False, seed=3)


@pytest.mark.parametrize("client", [single, single_with_key, adapter])
def test_who_repeats_a_call_doubles_once_for_each_answer_lost_but_the_last(client) -> None:
    found = of_rival(client, HALF, 20)
    given_up = found.answers_lost - found.duplicates
    assert found.duplicates > 0
    assert given_up >= 0, "a record whose three answers were all lost has three invoices, two of them doubles"
    assert found.calls - found.answers_lost + given_up == 20 + (client is not adapter)


def test_who_repeats_a_batch_doubles_all_of_it() -> None:
    found = of_rival(batch, HALF, 240)
    assert found.duplicates > 0
    assert found.duplicates % 30 == 0


def test_a_key_that_is_honoured_saves_single_writes() -> None:
    kept = Weather(lost=0.5, honours_request_id=True, seed=3)
    assert of_rival(single_with_key, kept, 20).duplicates == 0
    assert of_rival(adapter, kept, 20).duplicates == 0


def test_tieout_doubles_and_loses_nothing() -> None:
    found = of_tieout(Weather(lost=0.3, honours_request_id=False, seed=1), 40)
    assert (found.records, found.duplicates, found.losses) == (40, 0, 0)
    assert found.answers_lost > 0
