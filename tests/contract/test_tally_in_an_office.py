"""Tally as it is always reached: the same connector, called over the bridge, has to do the same."""

from __future__ import annotations

import pytest

from tests.contract.bridged import BridgedWorld
from tests.contract.test_tally import TestContract as TallyContract
from tests.contract.test_tally import world as tally  # noqa: F401 - a fixture


class TestContract(TallyContract):
    @pytest.fixture
    def world(self, tally):  # noqa: F811 - the fixture
        return BridgedWorld(tally)


del TallyContract  # its tests run where they are defined
