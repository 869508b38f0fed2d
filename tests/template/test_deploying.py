"""What somebody who deploys it meets: the questions, the outputs, the configurations, the exceptions."""

import re
import tomllib

import pytest
from ruamel.yaml import YAML

from tests.template.conftest import ROOT
from tieout.bootstrap import Settings

PARAMETERS = {
    "AlertEmail": "",
    "PollSchedule": "rate(1 hour)",
    "FileRetentionDays": 30,
    "Architecture": "arm64",
    "LogRetentionDays": 30,
    "LogLevel": "INFO",
    "RetryBaseSeconds": 15,
    "WorkerTimeoutSeconds": 120,
    "VisibilityTimeoutSeconds": 720,
}


@pytest.fixture(scope="module")
def samconfig():
    return tomllib.loads((ROOT / "samconfig.toml").read_text())


def test_the_questions_are_few_described_and_have_an_answer(template):
    parameters = template["Parameters"]
    assert {name: one["Default"] for name, one in parameters.items()} == PARAMETERS
    for one in parameters.values():
        assert len(one["Description"]) > 20
        assert "AllowedPattern" in one or "AllowedValues" in one or {"MinValue", "MaxValue"} <= set(one)


def test_every_question_has_its_place_and_label(template):
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(PARAMETERS)
    assert set(interface["ParameterLabels"]) == set(PARAMETERS)


@pytest.mark.parametrize(
    "good", ["rate(1 minute)", "rate(5 minutes)", "rate(1 hour)", "rate(24 hours)", "cron(0 6 ? * MON-FRI *)"]
)
def test_a_schedule_may_be(template, good):
    assert re.search(template["Parameters"]["PollSchedule"]["AllowedPattern"], good)


@pytest.mark.parametrize(
    "bad", ["", "hourly", "rate(1 minutes)", "rate(0 minutes)", "rate(30 seconds)", "rate(2 hour)", "rate(1 hour) x"]
)
def test_a_schedule_may_not_be(template, bad):
    assert not re.search(template["Parameters"]["PollSchedule"]["AllowedPattern"], bad)


@pytest.mark.parametrize(("address", "good"), [("", True), ("a@b.example", True), ("a", False), ("a@b@c.d", False)])
def test_an_alert_address(template, address, good):
    assert bool(re.search(template["Parameters"]["AlertEmail"]["AllowedPattern"], address)) is good


def test_the_outputs_are_what_the_operators_commands_read(template):
    outputs = {name: "5" if name.endswith("Seconds") else "value" for name in template["Outputs"]}
    settings = Settings.of_outputs(outputs)
    # The stack's name is known to whoever asked for its outputs.
    settings.need(*(name for name in Settings.model_fields if name != "stack"))
    assert {
        "WebhookUrl",
        "PollFunctionArn",
        "PollSchedule",
        "ScheduleGroup",
        "SchedulerRoleArn",
        "SendAlertsFunctionName",
        "DeadLetterQueueUrl",
        "LostQueueUrl",
    } <= set(outputs)


def test_the_functions_variables_are_settings(of_type):
    known = {"TIEOUT_" + name.upper() for name in Settings.model_fields}
    for function in of_type("AWS::Lambda::Function").values():
        given = {name for name in function["Environment"]["Variables"] if name.startswith("TIEOUT_")}
        assert given <= known


def test_configurations(samconfig, template):
    assert set(samconfig) == {"version", "default", "local", "staging", "production"}
    stacks = {name: one["deploy"]["parameters"]["stack_name"] for name, one in samconfig.items() if name != "version"}
    assert stacks == {
        "default": "tieout",
        "local": "tieout-local",
        "staging": "tieout-staging",
        "production": "tieout",
    }
    for name in stacks:
        parameters = samconfig[name]["deploy"]["parameters"]
        assert parameters["capabilities"] == "CAPABILITY_IAM"
        given = {pair.split("=", 1)[0] for pair in parameters.get("parameter_overrides", [])}
        assert given <= set(template["Parameters"])
    assert samconfig["production"]["deploy"]["parameters"]["confirm_changeset"] is True


def test_every_exception_of_checkov_has_a_reason_beside_it():
    lines = [line for line in (ROOT / ".checkov.yaml").read_text().splitlines() if line.strip().startswith("- CKV")]
    assert lines
    assert not [line for line in lines if not re.search(r"# .{30,}", line)]


def test_every_exception_in_the_template_has_a_reason(resources):
    skips = [skip for one in resources.values() for skip in one.get("Metadata", {}).get("checkov", {}).get("skip", [])]
    assert {skip["id"] for skip in skips} == {"CKV_AWS_119", "CKV_AWS_309", "CKV_AWS_18", "CKV_AWS_21"}
    assert all(len(skip["comment"]) > 30 for skip in skips)


def pinned(text: str) -> list[str]:
    """`name==version` of each package; every one has a hash, so that a changed file is not installed."""
    one = r"([\w.-]+==[\w.!+]+)(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"({one})+", text), "not pinned, without a hash, or with more than that"
    return [found.group(1) for found in re.finditer(one, text)]


@pytest.mark.parametrize("path", sorted((ROOT / "sandbox" / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_tools_are_pinned_with_their_hashes_and_name_no_registry(path):
    asked = re.findall(r"^([\w-]+==\S+)", path.with_suffix(".in").read_text(), flags=re.MULTILINE)
    assert asked
    assert set(asked) <= set(pinned(path.read_text()))


def test_the_dependency_layer_is_pinned_with_its_hashes_and_holds_no_command_line():
    names = {one.split("==")[0] for one in pinned((ROOT / "layers" / "dependencies" / "requirements.txt").read_text())}
    assert {"pydantic", "boto3", "requests", "aws-lambda-powertools"} <= names
    assert not names & {"typer", "rich", "click", "flask", "moto", "tieout"}


def test_layers_are_built_for_the_architecture_that_is_deployed():
    source = YAML().load(ROOT / "template.yaml")
    for name in ("DependenciesLayer", "TieoutLayer"):
        metadata = source["Resources"][name]["Metadata"]
        assert metadata["BuildMethod"] == "python3.13"
        assert (metadata["BuildArchitecture"].tag.value, metadata["BuildArchitecture"].value) == (
            "!Ref",
            "Architecture",
        )
