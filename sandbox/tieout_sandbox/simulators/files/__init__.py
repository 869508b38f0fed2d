"""Files that people export: there is nothing to serve. What somebody sells who keeps such files is in `sales`."""

from __future__ import annotations

from flask import Flask

from tieout_sandbox.simulators import StartError


def create_app(**_: object) -> Flask:
    """Nothing: files are imported, not asked.

    Raises:
        StartError: Always.
    """
    raise StartError("Files have no server to simulate: `tieout import FILE --connection ID` brings one in.")
