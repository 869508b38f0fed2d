"""The one door to providers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        write: True if it may change something; decides what a lost answer means.
        spends: Names of the connection's limits that the call counts against; one unit each.
        body: Sent as it is; the caller sets Content-Type.
        timeout_seconds: For the answer; connecting has 5 seconds.
        again: False if a read that got no answer is not to be tried again at once, as what answers one call at a time
            would only have more to do.
    """

    method: str
    url: str
    write: bool
    spends: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout_seconds: float = 30
    again: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:  # noqa: ANN401  JSON is anything
        """The body as JSON, with every number that has a fraction as Decimal.

        Raises:
            ValueError: If it is not JSON.
        """
        return json.loads(self.body, parse_float=Decimal)


class Http(Protocol):
    """Sends requests within the connection's limits."""

    def send(self, request: Request) -> Answer:
        """The provider's answer, whatever its status: the connector's table says what it means.

        Raises:
            UnavailableError: Not done: could not connect; or it was a read and no answer came.
            UncertainError: It was a write and no whole answer came.
            ThrottledError: Not sent: the connection's own budget is used up for now.
            SettingsError: Not sent: the address is neither https nor of this machine.
        """
