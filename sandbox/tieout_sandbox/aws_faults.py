"""Faults of AWS itself: a proxy between the functions and the local AWS that makes calls fail the way AWS does.

The proxy is microburst (`.tools/microburst`, made by `make setup`): it answers with the codes and the wire forms of the
services' own descriptions, so that the functions' SDK takes its real ways, its own retries included.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tieout_sandbox.local_aws import LocalAws, LocalAwsError, free_port

ANSWER_SECONDS_MAX = 10
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 3
# Its own command has no seed: the dice are thrown by Python's `random`.
_PROGRAM = "import random, sys; random.seed(int(sys.argv.pop(1))); from microburst.cli import main; sys.exit(main())"
_COUNTED = re.compile(r'^microburst_faults_total{service="(.*)",operation="(.*)",action="(.*)"} (\d+)$', re.MULTILINE)
_LOST_ANSWER = {"response": {"abort_frac": 0.0}}

type Rule = Mapping[str, Any]


def throttled(service: str, code: str, probability: float, **more: object) -> Rule:
    """Calls of the service are refused with this code; nothing is done."""
    return {"service": service, "error": {"code": code}, "probability": probability, **more}


def failed(service: str, code: str, probability: float, **more: object) -> Rule:
    """Calls of the service are answered with a 500; nothing is done."""
    return {"service": service, "error": {"code": code, "status": 500}, "probability": probability, **more}


def cancelled(probability: float, *reasons: str, **more: object) -> Rule:
    """Transactions are cancelled for these reasons, one for each of their parts; nothing is done."""
    fields = {"CancellationReasons": [{"Code": reason} for reason in reasons]}
    error = {"code": "TransactionCanceledException", "fields": fields}
    return {
        "service": "dynamodb",
        "operation": "TransactWriteItems",
        "error": error,
        "probability": probability,
        **more,
    }


def reset(service: str, probability: float, **more: object) -> Rule:
    """The connection is reset before the work."""
    return {"service": service, "reset": True, "probability": probability, **more}


def timed_out(service: str, seconds: float, times: int, **more: object) -> Rule:
    """The call is held for so long, and not done."""
    return {"service": service, "timeout_ms": seconds * 1000, "times": times, **more}


def lost_answer(service: str, probability: float, **more: object) -> Rule:
    """The work is done, and the connection ends without an answer."""
    return {"service": service, "probability": probability, **_LOST_ANSWER, **more}


@dataclass
class AwsFaults:
    """The proxy, running while the context is open; at first no rule is in force.

    Attributes:
        aws: What stands behind it. It may check signatures; the proxy signs anew, with rights to everything.
        seed: Of its dice. Functions run side by side, so the same seed does not give the same story.
    """

    aws: LocalAws
    folder: Path
    seed: int = 0
    url: str = field(default="", init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        """Start it and return when it answers.

        Raises:
            LocalAwsError: If it is not installed or does not answer in 20 seconds.
        """
        python = self.aws.tools / "microburst" / "bin" / "python"
        if not python.exists():
            raise LocalAwsError(f"microburst is not installed ({python} is missing). Run `make setup`.")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log = self.folder / "aws-faults.log"
        trust = {"SSL_CERT_FILE": str(self.aws.certificate)} if self.aws.certificate else {}
        options = ["--upstream", self.aws.endpoint, "--port", str(port), "--resign"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own tool, by its path
                [str(python), "-c", _PROGRAM, str(self.seed), *options],
                env={"PATH": os.defpath, **trust, **self.aws.environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LocalAwsError(f"The proxy for faults did not start; its log is {log}:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """End the process that was started here, and nothing else."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def force(self, *rules: Rule) -> None:
        """Put these rules in force, and no others. The first that fires for a call is the only one."""
        answer = requests.post(f"{self.url}/_microburst/rules", json=list(rules), timeout=ANSWER_SECONDS_MAX)
        answer.raise_for_status()

    def fired(self) -> Counter[tuple[str, str, str]]:
        """How often faults fired since the start, by service, operation and what was done."""
        found = _COUNTED.findall(self._metrics())
        return Counter({(service, operation, _said(action)): int(count) for service, operation, action, count in found})

    def seen(self) -> int:
        """How many calls came through so far."""
        found = re.search(r"^microburst_requests_total (\d+)$", self._metrics(), re.MULTILINE)
        return int(found[1]) if found else 0

    def _metrics(self) -> str:
        answer = requests.get(f"{self.url}/_microburst/metrics", timeout=ANSWER_SECONDS_MAX)
        answer.raise_for_status()
        return answer.text

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_microburst/health", timeout=2) as answer:  # noqa: S310  loopback
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False


def _said(action: str) -> str:
    """The fault in our words."""
    kind, _, rest = action.partition(":")
    return {"error": rest, "response": "answer lost", "timeout": "time-out", "reset": "reset"}[kind]
