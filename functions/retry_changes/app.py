"""Takes changes from the retry queue, once their time has come, and tries them again."""

from __future__ import annotations

from collections.abc import Sequence

from tieout import bootstrap, edge
from tieout.domain.changes import Change


@edge.function("retry_changes")
def handler(event: edge.Event, context: edge.Context) -> dict[str, list[dict[str, str]]]:
    """The messages that have to be delivered again."""
    deployment = bootstrap.deployment()
    worker = deployment.apply_changes()
    out_of_time = edge.out_of_time(context, deployment.settings.worker_timeout_seconds)

    def settle(changes: Sequence[Change]) -> None:
        edge.count_ends(worker.apply(changes, out_of_time=out_of_time))

    return edge.settle_messages(event, settle)
