"""Takes what the table's stream tells and puts it into each tenant's audit trail."""

from __future__ import annotations

from tieout import bootstrap, edge


@edge.function("archive_audit")
def handler(event: edge.Event, _context: edge.Context) -> dict[str, list[dict[str, str]]]:
    """The records that the stream has to tell again."""
    return edge.settle_stream(event, bootstrap.deployment().archive_audit().archive)
