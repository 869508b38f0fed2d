"""Takes changes from the dead-letter queue and parks them, so that a person hears of them."""

from __future__ import annotations

from collections.abc import Sequence

from tieout import bootstrap, edge
from tieout.domain.changes import Change


@edge.function("park_change")
def handler(event: edge.Event, _context: edge.Context) -> dict[str, list[dict[str, str]]]:
    """The messages that have to be delivered again."""
    parking = bootstrap.deployment().park_changes()

    def settle(changes: Sequence[Change]) -> None:
        edge.count_ends(parking.park(changes))

    return edge.settle_messages(event, settle)
