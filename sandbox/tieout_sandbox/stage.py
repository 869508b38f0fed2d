"""The stage of the tour: a CRM, the books, the local AWS with the deployed stack, and the operator's terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tieout.mapping import SyncDocument, parse_documents, preset
from tieout_sandbox.local_aws import ROOT, Deployment, LocalAws
from tieout_sandbox.served import ANSWER_SECONDS_MAX, StageError, terminal
from tieout_sandbox.sides import BooksSide, CrmSide, Program
from tieout_sandbox.simulators import books_side, crm_side
from tieout_sandbox.simulators.control import OPERATOR_HEADER

TENANT = "demo"
SYNC = "deals-to-invoices"
QUIET_LOOKS = 3
POLLS_MAX = 10


def sides(crm: str, books: str, deals: int | None = None) -> tuple[CrmSide, BooksSide]:
    """The sides of a pair of providers, with the connections that their preset names.

    Args:
        crm: A provider.
        books: Another one.
        deals: How many deals the CRM begins with; None means as many as the books take in a few minutes.

    Raises:
        SettingsError: If there is no preset of this pair.
        KeyError: If a provider has no such side.
    """
    (sync,) = (one for one in parse_documents(preset(f"{crm}-{books}")) if isinstance(one, SyncDocument))
    target = books_side(books)(sync.target)
    return crm_side(crm)(sync.source, target.deals_max if deals is None else deals), target


class Agent:
    """An agent in a process of its own, beside a system. It knows the bridge's address and nothing of AWS."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith(("AWS_", "TIEOUT_"))
        }
        self._process: subprocess.Popen[bytes] | None = None

    def run_once(self, *arguments: str, given: str = "") -> str:
        """What one of the agent's commands prints.

        Raises:
            StageError: If it does not end well.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            [*terminal(), "agent", *arguments, "--data", str(self.folder)],
            env=self._environment,
            input=given or None,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise StageError(f"`tieout agent {arguments[0]}` ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def start(self) -> None:
        """Have it fetch its work."""
        log = (self.folder / "process.log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*terminal(), "agent", "run", "--data", str(self.folder)],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        """What it has printed so far."""
        return (self.folder / "process.log").read_text("utf-8", "replace")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ANSWER_SECONDS_MAX)
            self._process = None

    def stop(self) -> None:
        """End it in order, or else as a power cut would."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(ANSWER_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


@dataclass
class Stage[C: CrmSide, B: BooksSide]:
    """Everything of the tour, up while the context is open.

    Attributes:
        crm: Where deals are won.
        books: Where their invoices stand.
        say: Gets a line before each step that takes seconds.
        parameters: Of the stack, beside those of samconfig's `local`.
        authorize: True makes the local AWS refuse what a role does not allow; it then speaks TLS.
        agents: By the id of their connection, those that were installed.
    """

    crm: C
    books: B
    say: Callable[[str], None]
    parameters: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT / ".sandbox"
    authorize: bool = False
    agents: dict[str, Agent] = field(default_factory=dict, init=False)
    _resources: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
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
            self.say(f"Starting {self.crm.title} and {self.books.title}")
            for side in (self.crm, self.books):
                resources.enter_context(side.start(self.folder, trust))
            resources.callback(aws.stop)  # before both sides: functions hold lines to them, which they wait for
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
            [*terminal(), *arguments], env=self.environment, input=given or None, text=True, check=False
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
            [*terminal(), *arguments, "--json"],
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
        connections = "---\n".join(side.document(self) for side in (self.crm, self.books))
        (folder / "connections.yaml").write_text(connections)
        (folder / f"{SYNC}.yaml").write_text(preset(f"{self.crm.provider}-{self.books.provider}"))
        self.tieout("config", "apply", str(folder / "connections.yaml"), str(folder / f"{SYNC}.yaml"))
        return folder

    def connect(self) -> None:
        """Sign in to both sides; each is asked at once from where on to look for changes.

        On AWS its schedule does that: a rate begins when it is made. Source: EventBridge Scheduler User Guide,
        "Schedule types", read 2026-11-22.
        """
        for side in (self.crm, self.books):
            side.connect(self)
            self.poll(side.connection)

    def webhook_address(self, connection: str) -> str:
        """Where the connection's webhooks go."""
        return f"{self.stack.outputs['WebhookUrl'].rstrip('/')}/{TENANT}.{connection}"

    def consent(self, connection: str, app: Mapping[str, str], pages: str) -> None:
        """Connect by a consent page, as a browser would, which agrees at once.

        Args:
            connection: Its id.
            app: Secrets that are given to the command.
            pages: How the address of the page begins.

        Raises:
            StageError: If the command does not end well.
        """
        with subprocess.Popen(  # noqa: S603 - our own program
            [*terminal(), "connect", connection, "--secrets-file", "-", "--no-browser"],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise StageError("The terminal could not be opened.")
            process.stdin.write(json.dumps(dict(app)))
            process.stdin.close()
            for line in process.stdout:
                self.say(line.rstrip())
                address = next((word for word in line.split() if word.startswith(pages)), "")
                if address:
                    requests.get(address, headers={OPERATOR_HEADER: "1"}, timeout=ANSWER_SECONDS_MAX)
            if process.wait(ANSWER_SECONDS_MAX) != 0:
                raise StageError(f"`tieout connect {connection}` did not end well.")

    def install_agent(self, connection: str, secrets: Mapping[str, str]) -> Agent:
        """Let an agent in beside the connection's system, start it, and have it prove that the system answers.

        Args:
            connection: Its id.
            secrets: What the system's sign-in needs; they stay in the agent's folder.

        Raises:
            StageError: If one of the commands does not end well.
        """
        folder = self.folder / f"agent-{connection}"
        shutil.rmtree(folder, ignore_errors=True)  # an earlier stage's, which was let in elsewhere
        agent = Agent(folder, self.environment)
        code = self.ask("connect", connection, "--no-wait")["code"]
        address = f"{self.stack.outputs['BridgeUrl']}/bridge/{TENANT}.{connection}"  # the printed one is AWS's own form
        given = json.dumps(dict(secrets))
        trust = ("--ca", str(self.aws.certificate)) if self.aws.certificate else ()
        agent.run_once("install", "--address", address, code, *trust, "--secrets-file", "-", given=given)
        self.agents[connection] = agent
        self._resources.callback(agent.stop)
        agent.start()
        self.tieout("connect", connection)
        return agent

    def own_program(self, connection: str) -> Program:
        """Let the system's own program in: its file is written into the folder.

        Raises:
            StageError: If the command does not end well.
        """
        file = self.folder / f"{connection}.setup"
        told = self.ask("connect", connection, "--no-wait", "--new-code", "--file", str(file))
        address = f"{self.stack.outputs['BridgeUrl']}/webconnector/{TENANT}.{connection}"  # the file has AWS's own form
        return Program(address, told["user"], told["password"])

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
