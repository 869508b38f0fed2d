"""The whole history of the real data set, 8,800 deals, under the providers' true limits in simulated time."""

from __future__ import annotations

import pytest

from bench.figure import Figure
from tests.whole_way import WholeWay, whole_way

INVOICES = 4238


def measure() -> list[Figure]:
    """Sync 8,800 deals twice: provider calls and table units (a few minutes)."""
    with pytest.MonkeyPatch.context() as monkeypatch, whole_way(monkeypatch) as way:
        way.connect()
        began = way.clock.now()
        way.backfill()
        report = way.pump()
        minutes = (way.clock.now() - began).total_seconds() / 60
        found = way.summary()
        if found["invoices"] != INVOICES or found["duplicate_doc_numbers"] or report.parked:
            raise AssertionError(f"the history is not what it has to be: {found}, {report}")
        calls = way.calls()
        reads = calls["act"]["reads"] + calls["quickbooks"]["reads"]
        throttled = calls["act"]["throttled"] + calls["quickbooks"]["throttled"]
        figures = [
            Figure("writes at the provider per invoice", calls["quickbooks"]["writes"] / INVOICES, "calls", 0.05),
            Figure("reads at both providers per invoice", reads / INVOICES, "calls", 0.05),
            Figure("calls refused for their number (429)", throttled, "calls", 0),
            Figure("simulated time under the true limits", minutes, "minutes"),
            Figure("table write units per created document", way.units.writes / report.created, "units", 3),
        ]
        return figures + _again(way)


def _again(way: WholeWay) -> list[Figure]:
    way.forget_calls()
    writes, reads = way.units.writes, way.units.reads
    # The budget's and the backfill's own writes go with calls and pages, not with records.
    others = way.units.calls["put"]
    way.backfill()
    report = way.pump()
    spent = way.units.writes - writes - (way.units.calls["put"] - others)
    return [
        Figure("second run: writes at the providers", way.calls()["quickbooks"]["writes"], "calls", 0),
        Figure("second run: table write units per unchanged record", spent / report.unchanged, "units", 0),
        Figure(
            "second run: table read units per unchanged record", (way.units.reads - reads) / report.unchanged, "units"
        ),
    ]
