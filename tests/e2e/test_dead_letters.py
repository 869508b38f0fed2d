"""What no worker can settle: it ends where a person sees it, is not lost, and does not go round for ever."""

from __future__ import annotations

import time

import pytest

from tests.e2e.deployed import WON
from tieout_sandbox.stage import TENANT

pytestmark = pytest.mark.e2e

WITHOUT_RIGHTS = WON[300:301]
SHORT = ("ChangesQueue", "ChangesDeadLetterQueue")
GARBAGE = "not a change, with a name: Jane Doe"


def test_garbage_ends_in_the_lost_queue_after_five_tries_of_each_function(deployed):
    began = time.time()
    with deployed.visibility(1, *SHORT):
        deployed.send("ChangesQueue", GARBAGE)
        deployed.until(lambda: deployed.depth("LostQueue") == 1, "the message among the lost ones")
        deployed.settle()
    queue = deployed.stage.aws.client("sqs")
    (lost,) = queue.receive_message(QueueUrl=deployed.resources["LostQueue"])["Messages"]
    queue.delete_message(QueueUrl=deployed.resources["LostQueue"], ReceiptHandle=lost["ReceiptHandle"])

    assert lost["Body"] == GARBAGE
    lines = deployed.logged("A message is not of our form.", since=began)
    tries = {name: sum(f'"{name}"' in line for line in lines) for name in ("apply_changes", "park_change")}
    assert tries == {"apply_changes": 5, "park_change": 5}
    assert deployed.logged("Jane Doe", since=began) == []


def test_what_five_workers_failed_on_is_parked_told_and_goes_on_when_it_is_retried(deployed):
    (deal,) = WITHOUT_RIGHTS
    stage, began = deployed.stage, time.time()
    stage.mail()
    with deployed.visibility(1, *SHORT), deployed.without_rights("ApplyChanges", "apply_changes"):
        deployed.see([deal])
        deployed.until(deployed.unsynced, "the change to be parked")
        deployed.settle()
    assert deployed.logged("AccessDenied", since=began), "so the search for refusals can find one"
    assert deployed.refusals() == []
    (mail,) = [text for _, text in stage.mail() if "worker failed" in text]
    command = f"tieout parked retry --tenant {TENANT} --cause worker-failed"
    assert command in mail
    parked = stage.ask("parked", "list")
    assert "worker-failed" in str(parked)
    assert deployed.invoices([deal]) == {}

    stage.tieout(*command.split()[1:])
    deployed.settle()

    assert deployed.invoices([deal]) == deployed.wanted([deal])
    assert deployed.unsynced() == []
