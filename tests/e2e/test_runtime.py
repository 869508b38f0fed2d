"""What `sam build` made, run by Lambda's own Runtime Interface Client on the sample events, with the layers alone."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.e2e.runtime_api import runtime
from tieout_sandbox.local_aws import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="Lambda's client is published for Linux alone"),
]

BUILD = ROOT / ".sandbox" / "build"
LAYERS = [BUILD / name / "python" for name in ("TieoutLayer", "DependenciesLayer")]
HANDLER = "app.handler"
NOTHING_FAILED: dict[str, Any] = {"batchItemFailures": []}
# The sample events are of a tenant that this stack does not know.
ANSWERS = {
    "receive_webhook": {"statusCode": 404},
    "serve_bridge": {
        "statusCode": 403,
        "headers": {"Content-Type": "application/json", "Cache-Control": "no-store"},
        "body": json.dumps(
            {
                "error": "revoked",
                "message": "This agent is not let in (any more).",
                "next_step": "Ask whoever runs Tieout for a new code: `tieout connect CONNECTION --new-code`.",
            }
        ),
        "isBase64Encoded": False,
    },
    "poll_changes": {"asked": 1, "queued": 0},
    "apply_changes": NOTHING_FAILED,
    "retry_changes": NOTHING_FAILED,
    "park_change": NOTHING_FAILED,
    "import_file": NOTHING_FAILED,
    "send_alerts": {"sent": 0, "gathering": 0},
    "archive_audit": NOTHING_FAILED,
}


@pytest.fixture(scope="module")
def variables(aws, stack):
    """Of each function by its logical id: its own, and where its AWS is."""
    functions = aws.client("lambda")
    found = aws.client("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    names = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for one in found
        if one["ResourceType"] == "AWS::Lambda::Function"
    }
    return {
        logical: {
            **functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"],
            **aws.environment,
        }
        for logical, name in names.items()
    }


def logical_id(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def test_every_sample_event_is_run():
    assert {path.stem for path in (ROOT / "events").glob("*.json")} == set(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_function_answers_and_fails_as_lambda_wants_it(name, variables):
    event = json.loads((ROOT / "events" / f"{name}.json").read_text())
    function = logical_id(name)
    with runtime(BUILD / function, LAYERS, variables[function], HANDLER) as api:
        assert api.invoke(event) == ("response", ANSWERS[name])
        assert api.invoke(event) == ("response", ANSWERS[name]), "a warm one answers alike"
        kind, error = api.invoke(["no such event: Jane Doe"])
    if name == "send_alerts":
        assert kind == "response", "it reads nothing of its event"
        return
    assert kind == "error"
    assert error["errorType"] == "RuntimeError"
    assert error["errorMessage"].startswith(f"{name} failed with ")
    assert "Jane Doe" not in str(error)


@pytest.mark.parametrize(
    ("layers", "handler"), [(LAYERS[:1], HANDLER), (LAYERS, "app.handle"), (LAYERS, "main.handler")]
)
def test_what_cannot_start_says_so(layers, handler, variables):
    with runtime(BUILD / "ApplyChanges", layers, variables["ApplyChanges"], handler) as api:
        kind, error = api.answers.get(timeout=30)
    assert kind == "error"
    assert error["errorType"] in {"Runtime.ImportModuleError", "Runtime.HandlerNotFound"}
