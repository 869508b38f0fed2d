from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from tieout_sandbox.cli import app


def test_the_command_prints_its_address_first_and_stops_on_sigterm(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    command = [sys.executable, "-c", "from tieout_sandbox.cli import app; app()", "serve", "quickbooks_online"]
    with subprocess.Popen(
        [*command, "--json", "--state", str(state), "--setting", "requests_per_minute=7"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        settings = requests.get(f"{first['base_url']}/_sandbox/settings", timeout=5).json()
        process.terminate()
        assert process.wait(timeout=10) == 0
    assert settings["requests_per_minute"] == 7
    assert state.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there are: act"),
        (["quickbooks_online", "--setting", "requests_per_minute=0"], "requests_per_minute: Input should be greater"),
        (["quickbooks_online", "--setting", "requests_per_minute"], "not NAME=VALUE"),
        (["quickbooks_online", "--setting", "colour=red"], "colour: Extra inputs"),
        (["quickbooks_online", "--faults", "FILE"], "is no YAML"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults: [", "utf-8")
    result = CliRunner(env={"COLUMNS": "400"}).invoke(
        app, ["serve", *(str(file) if a == "FILE" else a for a in arguments)]
    )
    assert result.exit_code == 2
    assert said in result.output
