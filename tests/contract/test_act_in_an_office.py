"""Act! on a server in an office: the same connector, called over the bridge, has to do the same."""

from __future__ import annotations

import pytest

from tests.contract.bridged import BridgedWorld
from tests.contract.test_act import TestContract as ActContract
from tests.contract.test_act import world as act  # noqa: F401 - a fixture


class TestContract(ActContract):
    @pytest.fixture
    def world(self, act):  # noqa: F811 - the fixture
        return BridgedWorld(act)


del ActContract  # its tests run where they are defined
