"""What a cold start imports, as a ratio to `import boto3` alone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from bench.figure import Figure

ROOT = Path(__file__).parents[1]
ROUNDS = 5
FUNCTIONS = (
    "receive_webhook",
    "poll_changes",
    "apply_changes",
    "retry_changes",
    "park_change",
    "import_file",
    "send_alerts",
    "archive_audit",
)
BUILDS = {
    "receive_webhook": "receive_webhook",
    "poll_changes": "poll_changes",
    "apply_changes": "apply_changes",
    "retry_changes": "apply_changes",
    "park_change": "park_changes",
    "import_file": "imports",
    "send_alerts": "send_alerts",
    "archive_audit": "archive_audit",
}
SETTINGS = {
    "TIEOUT_TABLE": "t",
    "TIEOUT_CHANGES_QUEUE_URL": "http://127.0.0.1/c",
    "TIEOUT_BACKFILL_QUEUE_URL": "http://127.0.0.1/b",
    "TIEOUT_RETRY_QUEUE_URL": "http://127.0.0.1/r",
    "TIEOUT_ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:0:t",
    "TIEOUT_SECRETS_PREFIX": "p",
    "TIEOUT_AUDIT_BUCKET": "b",
    "TIEOUT_EXCHANGE_BUCKET": "e",
    "TIEOUT_FILES_QUEUE_URL": "http://127.0.0.1/f",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


def measure() -> list[Figure]:
    """Import each handler in a fresh process: processor time as a ratio to `import boto3`."""
    nothing = _seconds("pass")
    boto3 = _seconds("import boto3") - nothing
    figures = []
    for name in FUNCTIONS:
        imported = _seconds(f"import functions.{name}.app") - nothing
        figures.append(Figure(f"import of {name}", imported / boto3, "x import boto3", 1.5))
    for name in FUNCTIONS:
        build = f"import functions.{name}.app; from tieout import bootstrap; bootstrap.deployment().{BUILDS[name]}()"
        figures.append(
            Figure(f"import of {name}, and all built", (_seconds(build) - nothing) / boto3, "x import boto3")
        )
    return figures


def _seconds(code: str) -> float:
    """The least processor time of a few runs, after one that writes the byte code."""
    times = []
    for _ in range(ROUNDS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, **SETTINGS})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times[1:])
