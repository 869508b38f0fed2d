from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import requests


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
