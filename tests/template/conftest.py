"""The template as CloudFormation gets it: after SAM's transform, with intrinsics written as short texts."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAM_PYTHON = ROOT / ".tools" / "sam" / "bin" / "python"

# Runs in SAM's own environment: its translator wants other versions than the product.
_PROCESS = """
import json, sys
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

class NoManagedPolicies:
    def load(self):
        return {}

template = yaml_parse(sys.stdin.read())
for resource in template["Resources"].values():
    for name in {"CodeUri", "ContentUri"} & set(resource.get("Properties", {})):
        resource["Properties"][name] = "s3://bucket/key"
json.dump(transform(template, {}, NoManagedPolicies()), sys.stdout)
"""


def short(value: Any) -> Any:
    """{"Ref": "X"} as "X", {"Fn::GetAtt": ["X", "Arn"]} as "X.Arn", {"Fn::Sub": "text"} as "text"; all the way down."""
    match value:
        case {"Ref": str(name)} if len(value) == 1:
            return name
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{name}.{attribute}"
        case {"Fn::Sub": str(text)}:
            return text
        case dict():
            return {name: short(one) for name, one in value.items()}
        case list():
            return [short(one) for one in value]
        case _:
            return value


@pytest.fixture(scope="session")
def template():
    text = (ROOT / "template.yaml").read_text()
    done = subprocess.run(
        [SAM_PYTHON, "-c", _PROCESS],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"AWS_DEFAULT_REGION": "eu-west-1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return short(json.loads(done.stdout))


@pytest.fixture(scope="session")
def resources(template):
    return template["Resources"]


@pytest.fixture(scope="session")
def of_type(resources):
    """Properties by logical id, of all resources of a type."""

    def find(kind):
        return {name: one.get("Properties", {}) for name, one in resources.items() if one["Type"] == kind}

    return find
