"""Takes files that were dropped into the bucket, one after the other, and imports each as far as there is time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus

from tieout import bootstrap, edge


@edge.function("import_file")
def handler(event: edge.Event, context: edge.Context) -> dict[str, list[dict[str, str]]]:
    """The messages that have to be delivered again."""
    deployment = bootstrap.deployment()
    out_of_time = edge.out_of_time(context, deployment.settings.worker_timeout_seconds)
    failed: list[str] = []
    for message in event["Records"]:
        try:
            for place, run in _files(message["body"]):
                _import(deployment, place, run, out_of_time)
        except Exception as error:  # noqa: BLE001 - the outermost edge: the message is delivered again
            edge.log_failure("A file could not be imported.", error)
            failed.append(message["messageId"])
    edge.count(MessagesFailed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _import(deployment: bootstrap.Deployment, place: str, run: str, out_of_time: Callable[[], bool]) -> None:
    tenant, _, connection = place.split("/")[1].partition(".") if "/" in place else ("", "", "")
    with edge.logger.append_context_keys(tenant=tenant, connection=connection):
        one = deployment.imports().drop(place, run, out_of_time=out_of_time)
        if one is None:
            edge.logger.info("There is nothing to import, or not yet.")
            return
        edge.logger.info("A file was looked at.", state=one.state, row=one.row, rows=dict(one.counts))
        if one.state != "running":
            edge.count(FilesTaken=1, RowsTaken=sum(one.counts.values()))


def _files(body: str) -> Iterator[tuple[str, str]]:
    """Where the files lie that a message tells of, and which import goes on, if one does.

    The bucket's own messages have their names encoded like a form's fields; its first message is a test.

    Source: Amazon S3 User Guide, "Event message structure", read 2026-11-22.
    """
    told = json.loads(body)
    if "place" in told:
        yield told["place"], told["run"]
        return
    for record in told.get("Records", ()):
        yield unquote_plus(record["s3"]["object"]["key"]), ""
