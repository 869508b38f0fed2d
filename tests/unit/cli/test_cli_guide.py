"""`docs/cli.md` names every command and every exit status, and none besides."""

from __future__ import annotations

import re
from pathlib import Path

from tieout.cli.main import app
from tieout.cli.talk import Code

GUIDE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")
SANDBOX = {"sandbox"}


def commands() -> set[str]:
    own = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    return own | {str(group.name) for group in app.registered_groups}


def test_every_command_has_its_place_in_the_guide():
    headings = set(re.findall(r"^### `tieout ([a-z-]+)", GUIDE, re.MULTILINE))
    assert headings == commands() - SANDBOX


def test_every_command_of_a_group_is_named():
    for group in app.registered_groups:
        if group.name in SANDBOX or group.typer_instance is None:
            continue
        for command in group.typer_instance.registered_commands:
            assert re.search(rf"^### `tieout {group.name}.*\b{command.name}\b", GUIDE, re.MULTILINE), command.name


def test_every_exit_status_is_explained():
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", GUIDE, re.MULTILINE)}
    assert rows == {int(code) for code in Code}


def test_each_command_takes_json():
    nested = [group.typer_instance for group in app.registered_groups if group.name not in SANDBOX]
    every = [*app.registered_commands, *(command for one in nested if one for command in one.registered_commands)]
    assert len(every) > 12
    for command in every:
        assert command.callback is not None
        assert "as_json" in command.callback.__annotations__, command.callback.__name__
