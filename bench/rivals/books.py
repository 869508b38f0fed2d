"""The books that all write to: a simulator that loses answers, and what stands in it at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from tieout_sandbox.simulators.control import OPERATOR_HEADER

PAGE = 1000
ANSWER_SECONDS_MAX = 30
NO_LIMITS = {"requests_per_minute": 1_000_000, "requests_per_second": 1_000_000, "batches_per_minute": 1_000_000}
# A company may switch the warning off; then nothing at the provider hinders a double, and the client is on its own.
SETTINGS: dict[str, Any] = {**NO_LIMITS, "warn_duplicate_doc_number": False}


@dataclass(frozen=True, slots=True)
class Weather:
    """What the books do to whoever writes to them.

    Attributes:
        lost: The share of calls that are done and whose answer never comes.
        honours_request_id: False if the books forget idempotency keys.
    """

    lost: float
    honours_request_id: bool
    seed: int

    def plan(self) -> dict[str, Any]:
        """As the simulator takes it. Reads lose answers too."""
        everything = {"method": "*", "path": "/v3/*"}
        faults: list[dict[str, Any]] = []
        if not self.honours_request_id:
            faults.append({"kind": "ignore_request_id", "match": everything})
        if self.lost:
            faults.append({"kind": "lost_answer", "probability": self.lost, "match": everything})
        return {"seed": self.seed, "faults": faults}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the records.

    Attributes:
        records: How many invoices there had to be.
        duplicates: Invoices beyond one for a record.
        losses: Records without an invoice.
        calls: Calls that reached the books.
        answers_lost: How many of them were done and not answered.
    """

    records: int
    duplicates: int
    losses: int
    calls: int = 0
    answers_lost: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.records + other.records,
            self.duplicates + other.duplicates,
            self.losses + other.losses,
            self.calls + other.calls,
            self.answers_lost + other.answers_lost,
        )

    @property
    def calls_per_record(self) -> float:
        return self.calls / self.records


def compare(wanted: Iterable[str], found: Iterable[str]) -> Outcome:
    """Numbers of the records against numbers of the invoices.

    Raises:
        ValueError: If a number is wanted twice, or an invoice has one that nobody wanted.
    """
    numbers, standing = Counter(wanted), Counter(found)
    if strangers := standing.keys() - numbers.keys():
        raise ValueError(f"{len(strangers)} invoices belong to no record, such as {min(strangers)!r}")
    if repeated := [number for number, count in numbers.items() if count > 1]:
        raise ValueError(f"two records have the number {repeated[0]!r}")
    return Outcome(
        records=len(numbers),
        duplicates=standing.total() - len(standing),
        losses=len(numbers.keys() - standing.keys()),
    )


class Books:
    """The operator's view of the simulator at `url`: it meets no fault and is not counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.grant = self._call("POST", "/_sandbox/grant", {})

    def begin(self, weather: Weather) -> None:
        """Let the weather come, and count calls from zero."""
        self._call("PUT", "/_sandbox/faults", weather.plan())
        self._call("DELETE", "/_sandbox/calls")

    def outcome(self, wanted: Iterable[str]) -> Outcome:
        """What stands in the books against what has to, with the calls since `begin`."""
        compared = compare(wanted, self.numbers())
        faults = self._call("GET", "/_sandbox/faults")["faults"]
        lost = sum(fault["fired"] for fault in faults if fault["kind"] == "lost_answer")
        return compared + Outcome(0, 0, 0, self._call("GET", "/_sandbox/calls")["total"], lost)

    def numbers(self) -> list[str]:
        """The number of each invoice, by the provider's own interface."""
        found: list[str] = []
        while True:
            query = f"SELECT * FROM Invoice STARTPOSITION {len(found) + 1} MAXRESULTS {PAGE}"
            page = self.company("GET", "query", query=query)["QueryResponse"].get("Invoice", [])
            found += [invoice["DocNumber"] for invoice in page]
            if len(page) < PAGE:
                return found

    def company(self, method: str, path: str, body: object = None, **params: str) -> Any:
        """One call of the provider's interface."""
        address = f"/v3/company/{self.grant['realmId']}/{path}"
        return self._call(method, address, body, params, Authorization=f"Bearer {self.grant['access_token']}")

    def _call(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None, **headers: str
    ) -> Any:
        answer = requests.request(
            method,
            f"{self.url}{path}",
            json=body,
            params=params,
            headers={OPERATOR_HEADER: "1", **headers},
            timeout=ANSWER_SECONDS_MAX,
        )
        answer.raise_for_status()
        return answer.json()
