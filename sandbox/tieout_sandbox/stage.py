"""The stage of the tour: both simulators, the local AWS with the deployed stack, and the operator's terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tieout.mapping import preset
from tieout_sandbox.local_aws import ROOT, Deployment, LocalAws
from tieout_sandbox.simulators.control import OPERATOR_HEADER

TENANT = "demo"
SYNC = "deals-to-invoices"
ACT_USER, ACT_PASSWORD, ACT_DATABASE = "integration@seller.example", "correct horse", "H1234567890"
WEBHOOK_VERIFIER = "tieout-sandbox-verifier"
RAISED_LIMIT = 60_000
ANSWER_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10
QUIET_LOOKS = 3
POLLS_MAX = 10

CONNECTIONS = """\
kind: connection
id: act
provider: act
settings:
  base_url: {act}/act.web.api
  database: {database}
  requests_per_minute: 10000
---
kind: connection
id: quickbooks
provider: quickbooks_online
settings:
  base_url: {books}
  token_url: {books}/oauth2/v1/tokens/bearer
  consent_url: {books}/connect/oauth2
  requests_per_minute: {limit}
  requests_per_second: {limit}
  batches_per_minute: {limit}
"""


class StageError(Exception):
    """Something on the stage did not do what it has to; the message says what."""


class Simulator:
    """One simulator in a process of its own, as `tieout sandbox serve` runs it."""

    def __init__(self, name: str, *options: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._arguments = [*_terminal(), "sandbox", "serve", name, "--json", *options]
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self.url = ""

    def __enter__(self) -> Self:
        """Start it and read its address.

        Raises:
            StageError: If it does not start; its log says why.
        """
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self._arguments,
                stdout=subprocess.PIPE,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise StageError(f"The simulator did not start:\n{self._log.read_text()[-2000:]}")
        self.url = json.loads(line)["base_url"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it, and nothing else."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer of one call; None if the answer is empty.

        Raises:
            StageError: If the status is not below 400.
        """
        answer = requests.request(
            method,
            f"{self.url}{path}",
            json=body,
            headers={OPERATOR_HEADER: "1", **headers},
            timeout=ANSWER_SECONDS_MAX,
        )
        if answer.status_code >= requests.codes.bad_request:
            raise StageError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None


def _terminal() -> list[str]:
    return [str(Path(sys.executable).parent / "tieout")]


@dataclass
class Stage:
    """Everything of the tour, up while the context is open.

    Attributes:
        say: Gets a line before each step that takes seconds.
        parameters: Of the stack, beside those of samconfig's `local`.
        authorize: True makes the local AWS refuse what a role does not allow; it then speaks TLS.
    """

    say: Callable[[str], None]
    parameters: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT / ".sandbox"
    authorize: bool = False
    _resources: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _act_token: str = field(default="", init=False, repr=False)
    act: Simulator = field(init=False)
    books: Simulator = field(init=False)
    aws: LocalAws = field(init=False)
    stack: Deployment = field(init=False)

    def __enter__(self) -> Self:
        """Start all of it.

        Raises:
            StageError, LocalAwsError: If a part does not start.
        """
        self.folder.mkdir(exist_ok=True)
        with ExitStack() as resources:
            aws = LocalAws(folder=self.folder / "local-aws", say=self.say, authorize=self.authorize)
            self.aws = resources.enter_context(aws)
            # Webhooks are posted to the local AWS, whose certificate is its own.
            trust = {"REQUESTS_CA_BUNDLE": str(aws.certificate)} if aws.certificate else {}
            self.say("Starting the simulators of Act! and QuickBooks Online")
            act = Simulator(
                "act",
                "--setting",
                "data=crm-sales-opportunities",
                "--setting",
                f"calls_per_minute={RAISED_LIMIT}",
                log=self.folder / "act.log",
                environment=trust,
            )
            limits = [
                f"{name}={RAISED_LIMIT}"
                for name in ("requests_per_minute", "requests_per_second", "batches_per_minute")
            ]
            books = Simulator(
                "quickbooks_online",
                *[option for limit in limits for option in ("--setting", limit)],
                log=self.folder / "quickbooks.log",
                environment=trust,
            )
            self.act, self.books = resources.enter_context(act), resources.enter_context(books)
            resources.callback(aws.stop)  # before the simulators: functions hold lines to them, which they wait for
            self.stack = self.aws.deploy(parameters=self.parameters)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop what was started."""
        self._resources.close()

    # The operator

    @property
    def environment(self) -> dict[str, str]:
        """What a terminal needs to operate the local deployment."""
        return {**os.environ, **self.aws.environment, "TIEOUT_STACK": self.stack.name, "TIEOUT_TENANT": TENANT}

    def tieout(self, *arguments: str, given: str = "", ends: tuple[int, ...] = (0,)) -> int:
        """The exit code of a command, run as the operator would; its output goes to the screen.

        Raises:
            StageError: If it is none of `ends`.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            [*_terminal(), *arguments], env=self.environment, input=given or None, text=True, check=False
        )
        if done.returncode not in ends:
            raise StageError(f"`tieout {' '.join(arguments)}` ended with {done.returncode}.")
        return done.returncode

    def ask(self, *arguments: str, given: str = "", ends: tuple[int, ...] = (0, 1)) -> Any:  # noqa: ANN401 - JSON
        """What a command says with `--json`.

        Raises:
            StageError: If its exit code is none of `ends`.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            [*_terminal(), *arguments, "--json"],
            env=self.environment,
            input=given or None,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode not in ends:
            raise StageError(f"`tieout {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def configure(self) -> Path:
        """Write and apply the connections and the preset sync; the folder that holds them."""
        folder = self.folder / "config"
        folder.mkdir(exist_ok=True)
        values = {"act": self.act.url, "books": self.books.url, "database": ACT_DATABASE, "limit": RAISED_LIMIT}
        (folder / "connections.yaml").write_text(CONNECTIONS.format(**values))
        (folder / f"{SYNC}.yaml").write_text(preset("act-quickbooks_online"))
        self.tieout("config", "apply", str(folder / "connections.yaml"), str(folder / f"{SYNC}.yaml"))
        return folder

    def connect(self) -> None:
        """Sign in to both sides: with keys at Act!, with consent at QuickBooks, whose page the simulator approves."""
        keys = json.dumps({"username": ACT_USER, "password": ACT_PASSWORD})
        self.tieout("connect", "act", "--secrets-file", "-", given=keys)
        self.consent()
        # Intuit sends webhooks to one address an app; the simulator is told ours like Intuit's developer portal.
        address = f"{self.stack.outputs['WebhookUrl'].rstrip('/')}/{TENANT}.quickbooks"
        self.books.call("POST", "/_sandbox/settings", {"webhook_url": address, "webhook_form": "cloudevents"})

    def consent(self, verifier: str = WEBHOOK_VERIFIER) -> None:
        """Connect QuickBooks by its consent page, as a browser would.

        Args:
            verifier: The token by which webhooks are known to be Intuit's.

        Raises:
            StageError: If the command does not end well.
        """
        app = {
            "client_id": "tieout-sandbox-client",
            "client_secret": "tieout-sandbox-secret",
            "webhook_verifier": verifier,
        }
        with subprocess.Popen(  # noqa: S603 - our own program
            [*_terminal(), "connect", "quickbooks", "--secrets-file", "-", "--no-browser"],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise StageError("The terminal could not be opened.")
            process.stdin.write(json.dumps(app))
            process.stdin.close()
            for line in process.stdout:
                self.say(line.rstrip())
                address = next((word for word in line.split() if word.startswith(f"{self.books.url}/connect/")), "")
                if address:
                    requests.get(address, headers={OPERATOR_HEADER: "1"}, timeout=ANSWER_SECONDS_MAX)
            if process.wait(ANSWER_SECONDS_MAX) != 0:
                raise StageError("`tieout connect quickbooks` did not end well.")

    # The clockwork, without waiting for it

    def poll(self, connection: str) -> None:
        """What the connection's schedule does each minute, now; as often as it takes while a provider stumbles.

        Raises:
            StageError: If it fails ten times in a row.
        """
        event = json.dumps({"tenant": TENANT, "connection": connection})
        for _ in range(POLLS_MAX - 1):
            try:
                self._invoke(self.stack.outputs["PollFunctionArn"], event)
            except StageError:
                time.sleep(1)
            else:
                return
        self._invoke(self.stack.outputs["PollFunctionArn"], event)

    def mail(self) -> list[tuple[str, str]]:
        """Run what runs each minute, and read what it sent: subjects and texts."""
        self._invoke(self.stack.outputs["SendAlertsFunctionName"], "{}")
        mails: list[tuple[str, str]] = []
        while found := self.aws.read_mail(self.stack):
            mails += [(one["Subject"], one["Message"]) for one in map(json.loads, found)]
        return mails

    def _invoke(self, function: str, event: str) -> None:
        answer = self.aws.client("lambda").invoke(FunctionName=function, Payload=event.encode())
        if answer.get("FunctionError"):
            raise StageError(f"The function {function} failed: {answer['Payload'].read()[:1000].decode()}")

    def waiting(self) -> int:
        """Messages in the queues, those in flight and delayed included."""
        return sum(self.ask("status")["queues"].values())

    def settle(self, seconds_max: float = 120) -> None:
        """Return once the queues stood empty for a few looks.

        Raises:
            StageError: If they do not in time.
        """
        quiet, deadline = 0, time.monotonic() + seconds_max
        while quiet < QUIET_LOOKS:
            if time.monotonic() > deadline:
                raise StageError(f"The queues are not empty after {seconds_max:.0f} seconds.")
            quiet = quiet + 1 if self.waiting() == 0 else 0
            time.sleep(0.3)

    # The sales team

    def act_call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """One call of Act!'s Web API, signed in as its user."""
        if not self._act_token:
            answer = requests.get(
                f"{self.act.url}/act.web.api/authorize",
                auth=(ACT_USER, ACT_PASSWORD),
                headers={OPERATOR_HEADER: "1", "Act-Database-Name": ACT_DATABASE},
                timeout=ANSWER_SECONDS_MAX,
            )
            self._act_token = answer.text.strip().strip('"')
        headers = {"Authorization": f"Bearer {self._act_token}", "Act-Database-Name": ACT_DATABASE}
        return self.act.call(method, f"/act.web.api/api{path}", body, **headers)

    def deals(self, condition: str, count: int) -> list[dict[str, Any]]:
        """The first `count` opportunities that fulfil an OData condition."""
        return list(self.act_call("GET", f"/opportunities?$filter={condition}&$orderby=id&$top={count}"))

    def edit_deal(self, deal_id: str, **fields: object) -> dict[str, Any]:
        """Change an opportunity; as it was before."""
        former = self.act_call("GET", f"/opportunities/{deal_id}")
        self.act_call("PUT", f"/opportunities/{deal_id}", {**former, **fields})
        return dict(former)

    def change_product(self, deal_id: str, name: str, price: float | None = None) -> None:
        """Replace an opportunity's only line by one of this product; at the former price unless one is given."""
        (line,) = self.act_call("GET", f"/opportunities/{deal_id}/products")
        self.act_call("DELETE", f"/opportunities/{deal_id}/products/{line['id']}")
        fresh = {key: line[key] for key in ("quantity", "price", "total", "cost") if key in line}
        if price is not None:
            fresh |= {"price": price, "total": price}
        self.act_call("POST", f"/opportunities/{deal_id}/products", {**fresh, "name": name})
