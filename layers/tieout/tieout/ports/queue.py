"""Queues of changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tieout.domain.changes import Change


class ChangeQueue(Protocol):
    """Where accepted changes wait. A change that was sent is durable."""

    def send(self, changes: Sequence[Change]) -> None:
        """Queue each change on its lane. Changes of one connection and kind travel together, up to 50 a message.

        Raises:
            UnavailableError: If some could not be stored; sending all again does no harm.
        """

    def send_later(self, changes: Sequence[Change], *, delay_seconds: int) -> None:
        """Queue for another try after `delay_seconds` (0 to 900).

        Raises:
            UnavailableError: If some could not be stored; sending all again does no harm.
        """

    def waiting(self) -> dict[str, int]:
        """About how many messages stand in each queue, those in flight or delayed included, by queue name."""
