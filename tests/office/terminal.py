"""`tieout` on a computer where a connector for paper books is installed, too."""

from __future__ import annotations

from tests.office.paper import PAPER
from tieout import connectors
from tieout.cli.main import app

if __name__ == "__main__":
    connectors.PROVIDERS = (*connectors.PROVIDERS, PAPER)
    app()
