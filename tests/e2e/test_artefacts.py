"""What `sam build` made, run as Lambda runs it: the function's folder, the layers, and nothing of this environment.

The local AWS cannot show a missing dependency, as its functions see its own packages.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tieout_sandbox.local_aws import ROOT

pytestmark = pytest.mark.e2e

BUILD = ROOT / ".sandbox" / "build"
FUNCTIONS = (
    "ReceiveWebhook",
    "ServeBridge",
    "PollChanges",
    "ApplyChanges",
    "RetryChanges",
    "ParkChange",
    "ImportFile",
    "SendAlerts",
    "ArchiveAudit",
)
LAYERS = [str(BUILD / name / "python") for name in ("TieoutLayer", "DependenciesLayer")]

# -I and -S leave only the standard library on the path.
_IMPORT_HANDLER = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import app
assert callable(app.handler)
outside = [m.__file__ for m in list(sys.modules.values()) if "site-packages" in (getattr(m, "__file__", None) or "")]
print(json.dumps({"outside": outside, "modules": sorted(sys.modules)}))
"""
_IMPORT_ALL = """
import importlib, json, pkgutil, sys
sys.path[:0] = json.loads(sys.argv[1])
import tieout
names = [m.name for m in pkgutil.walk_packages(tieout.__path__, "tieout.", onerror=lambda name: None)]
names = [name for name in names if not name.startswith("tieout.cli")]
office = []
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in ("sqlalchemy", "pymssql"):
            raise
        office.append(name)
print(json.dumps([names, office]))
"""


def run(code: str, path: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, json.dumps(path)],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def _built(stack):
    """Deploying builds."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_imports_with_nothing_but_its_layers_and_an_empty_environment(name):
    found = json.loads(run(_IMPORT_HANDLER, [str(BUILD / name), *LAYERS]))
    assert found["outside"] == []


def test_every_module_of_the_layer_imports_with_the_dependency_layer_alone():
    names, office = json.loads(run(_IMPORT_ALL, LAYERS))
    assert {"tieout.bootstrap", "tieout.engine.apply", "tieout.connectors"} <= set(names)
    assert {name.rpartition(".")[0] for name in office} == {"tieout.connectors.goldmine"}, "what only an agent loads"


def test_a_missing_dependency_is_found():
    with pytest.raises(AssertionError, match="ModuleNotFoundError: No module named"):
        run(_IMPORT_ALL, LAYERS[:1])


def test_the_functions_hold_no_dependency_of_their_own():
    for name in FUNCTIONS:
        assert {path.suffix for path in (BUILD / name).iterdir()} <= {".py"}


def test_the_package_layer_holds_the_package_alone():
    assert {path.name for path in (BUILD / "TieoutLayer" / "python").iterdir()} <= {"tieout", "pyproject.toml"}


def test_the_built_template_has_no_anchors_left():
    text = (BUILD / "template.yaml").read_text()
    assert "lambda.amazonaws.com" in text
    assert not [
        line for line in text.splitlines() if line.rstrip().endswith("*lambda_trust") or "&lambda_trust" in line
    ]


def test_the_layers_together_fit_lambdas_limit():
    size = sum(path.stat().st_size for layer in LAYERS for path in _files(layer))
    # 250 MB unpacked, layers and function together. Source: Lambda quotas.
    assert size < 200 * 1024 * 1024


def _files(folder: str) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file()]
