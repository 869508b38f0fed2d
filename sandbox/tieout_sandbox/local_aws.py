"""A local AWS that takes the unmodified template: an emulator as a child process, `sam build`, `sam deploy`.

The emulator and SAM live in environments of their own (`.tools/`, made by `make setup`). What the emulator drops
silently and the product needs is set through the public API after deploying; `_fill_gaps` names it.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-west-1"
ACCOUNT = "000000000000"

_START_SECONDS_MAX = 30
_STOP_SECONDS_MAX = 3  # it keeps nothing; open lines of TLS would hold it for longer
_COMMAND_SECONDS_MAX = 300
_TAIL_LINES = 25


class LocalAwsError(Exception):
    """The local AWS could not be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack that stands.

    Attributes:
        outputs: The stack's outputs by name; the same that the stack has on AWS.
        mailbox_url: A queue that gets what people would get by e-mail; the emulator sends none.
    """

    name: str
    outputs: Mapping[str, str]
    mailbox_url: str


@dataclass
class LocalAws:
    """The emulator, running while the context is open.

    Attributes:
        folder: Holds its logs and temporary files.
        say: Gets a line before each step that takes seconds.
        authorize: True makes it refuse what a role does not allow. It then speaks TLS, which the stack's policies ask
            for; this needs the `openssl` command.
    """

    folder: Path = ROOT / ".sandbox" / "local-aws"
    tools: Path = ROOT / ".tools"
    say: Callable[[str], None] = field(default=lambda _line: None)
    authorize: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _port: int = field(default=0, init=False, repr=False)

    def __enter__(self) -> Self:
        """Start it and return when it answers.

        Raises:
            LocalAwsError: If it is not installed or does not answer in 30 seconds.
        """
        self.say("Starting the local AWS")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it, and the functions' workers with it."""
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where its API answers."""
        return f"{'https' if self.authorize else 'http'}://127.0.0.1:{self._port}"

    @property
    def certificate(self) -> Path | None:
        """What a client trusts when it speaks TLS; None if it does not."""
        return self._temporary / "ministack-tls" / "server.crt" if self.authorize else None

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What an AWS client needs in its environment to talk to it and to nothing else."""
        trust = {"AWS_CA_BUNDLE": str(self.certificate)} if self.certificate else {}
        return {
            **trust,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }

    def client(self, service: str) -> Any:  # noqa: ANN401  boto3 makes its clients at run time
        """A boto3 client of this service."""
        return self._session.client(
            service, endpoint_url=self.endpoint, verify=str(self.certificate) if self.certificate else None
        )

    def deploy(self, stack: str = "tieout-local", parameters: Mapping[str, str] | None = None) -> Deployment:
        """Build and deploy the template with SAM, with the parameters of samconfig's `local` unless given here.

        Raises:
            LocalAwsError: If SAM fails; holds the end of what it said.
        """
        values = {**_local_parameters(), "Architecture": _architecture(), **(parameters or {})}
        overrides = [f'{name}="{value}"' for name, value in values.items()]
        build = ROOT / ".sandbox" / "build"
        with _one_at_a_time(ROOT / ".sandbox" / "build.lock"):
            self.say("Building the functions and layers (sam build)")
            self._sam("build", "--config-env", "local", "--build-dir", str(build), "--parameter-overrides", *overrides)
            if sys.platform != "linux":
                self._install_own_wheels(build)
            self.say(f"Deploying the stack {stack} (sam deploy)")
            template = ("--template-file", str(build / "template.yaml"), "--config-file", str(ROOT / "samconfig.toml"))
            names = ("--config-env", "local", "--stack-name", stack)
            self._sam("deploy", *template, *names, "--parameter-overrides", *overrides)
        found = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
        return self._fill_gaps(stack, outputs)

    def read_mail(self, deployment: Deployment) -> list[str]:
        """Up to ten e-mails that were published since the last look, as the topic got them; each is given once."""
        queue = self.client("sqs")
        answer = queue.receive_message(QueueUrl=deployment.mailbox_url, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            queue.delete_message(QueueUrl=deployment.mailbox_url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in answer.get("Messages", [])]

    def stop(self) -> None:
        """End the emulator and its workers: the process group that was started here, and nothing else."""
        if self._process is None:
            return
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, signal_number)
                self._process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                break
        self._process = None
        shutil.rmtree(self._temporary, ignore_errors=True)  # each worker leaves a copy of the layers, 100 MB

    @property
    def _temporary(self) -> Path:
        return self.folder / f"tmp-{self._port}"

    def _start(self) -> None:
        program = self._tool("ministack")
        self._port = free_port()
        self._temporary.mkdir(parents=True)
        # A clean environment: what stands in it would leak into the functions.
        environment = {
            "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "TMPDIR": str(self._temporary),
            "STATE_DIR": str(self._temporary / "state"),
            "S3_DATA_DIR": str(self._temporary / "s3"),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self._port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AUTH": "true" if self.authorize else "false",
            "USE_SSL": "1" if self.authorize else "0",
        }
        log = self.folder / "emulator.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  our own tool, by its path
                [str(program)], env=environment, stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LocalAwsError(f"The local AWS did not start; its log is {log}:\n{_tail(log.read_text())}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
            url = f"{self.endpoint}/_ministack/health"
            with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310  our own loopback address
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False

    def _sam(self, *arguments: str) -> None:
        program = self._tool("sam")
        # Proxies and certificates of this machine are kept for pip; its AWS account is not.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
        # `sam build` takes the python3.13 that comes first, and its pip.
        environment["PATH"] = f"{program.parent}:{os.environ.get('PATH', os.defpath)}"
        direct = ",".join(filter(None, ("127.0.0.1", os.environ.get("NO_PROXY") or os.environ.get("no_proxy"))))
        environment |= {"NO_PROXY": direct, "no_proxy": direct, **self.environment}
        try:
            done = subprocess.run(  # noqa: S603  our own tool, by its path
                [str(program), *arguments],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_COMMAND_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalAwsError(f"sam {arguments[0]} was not done after {_COMMAND_SECONDS_MAX} seconds") from error
        (self.folder / f"sam-{arguments[0]}.log").write_text(done.stdout)
        if done.returncode != 0:
            raise LocalAwsError(f"sam {arguments[0]} failed:\n{_tail(done.stdout)}")

    def _install_own_wheels(self, build: Path) -> None:
        """Replace Amazon Linux's compiled packages: the emulator runs the functions on this machine's system."""
        target = build / "DependenciesLayer" / "python"
        requirements = ROOT / "layers" / "dependencies" / "requirements.txt"
        python = str(self._tool("sam").with_name("python3.13"))
        pip = [python, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps"]
        subprocess.run(  # noqa: S603  our own list of packages
            [*pip, "--target", str(target), "-r", str(requirements)], check=True, timeout=_COMMAND_SECONDS_MAX
        )

    def _fill_gaps(self, stack: str, outputs: Mapping[str, str]) -> Deployment:
        """Set what the emulator's CloudFormation drops, let roles send batches, and give its e-mails a place."""
        table = outputs["TableName"]
        self.client("dynamodb").update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
        )
        if self.authorize:
            self._allow_batches(stack)
            self._allow_conditional_writes(outputs["AuditBucket"])
        queue = self.client("sqs")
        mailbox = queue.create_queue(QueueName=f"{stack}-mailbox")["QueueUrl"]
        arn = queue.get_queue_attributes(QueueUrl=mailbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [{**policy, "Resource": arn}]})
        queue.set_queue_attributes(QueueUrl=mailbox, Attributes={"Policy": document})
        self.client("sns").subscribe(TopicArn=outputs["AlertTopicArn"], Protocol="sqs", Endpoint=arn)
        api = f"{self.endpoint}/_aws/execute-api/{outputs['ApiId']}/$default"
        return Deployment(stack, {**outputs, "WebhookUrl": f"{api}/webhooks/", "BridgeUrl": api}, mailbox)

    def _allow_batches(self, stack: str) -> None:
        """Let a role that may send messages send several at once.

        The emulator asks for sqs:SendMessageBatch there; AWS knows no such right and asks for sqs:SendMessage.
        Source: Service Authorization Reference, "Actions defined by Amazon SQS", read 2026-11-22.
        """
        iam = self.client("iam")
        resources = self.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        for role in [one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::IAM::Role"]:
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
                for statement in document["Statement"]:
                    if "sqs:SendMessage" in statement["Action"]:
                        actions = statement["Action"]
                        listed = [actions] if isinstance(actions, str) else actions
                        statement["Action"] = [*listed, "sqs:SendMessageBatch"]
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    def _allow_conditional_writes(self, bucket: str) -> None:
        """Take out of the bucket's policy what the emulator cannot decide: it does not know `s3:if-none-match`.

        It honours the header itself: an object where one stands is refused.
        """
        storage = self.client("s3")
        document = json.loads(storage.get_bucket_policy(Bucket=bucket)["Policy"])
        known = [one for one in document["Statement"] if "Null" not in one.get("Condition", {})]
        storage.put_bucket_policy(Bucket=bucket, Policy=json.dumps({**document, "Statement": known}))

    def _tool(self, name: str) -> Path:
        program = self.tools / name / "bin" / name
        if not program.exists():
            raise LocalAwsError(f"{name} is not installed ({program} is missing). Run `make setup`.")
        return program

    @cached_property
    def _session(self) -> Any:  # noqa: ANN401  its stub lists each service by name
        return boto3.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key="local", region_name=REGION)


def free_port() -> int:
    """One that nothing listens on, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _architecture() -> str:
    return "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"


def _local_parameters() -> dict[str, str]:
    """The parameters of samconfig's `local`."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    pairs = (text.split("=", 1) for text in config["local"]["deploy"]["parameters"]["parameter_overrides"])
    return {name: value.strip('"') for name, value in pairs}


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock: two builds at once would write over each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
