"""Alerts: one message for one cause of one tenant in an hour, and what it says if no letter can be written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.engine.test_around import Mailbox, letter
from tests.engine.world import CRM, START, FakeClock, MemoryState
from tieout.domain.changes import Alert
from tieout.domain.connections import Connection
from tieout.engine.alerts import AlertReport, Letter, SendAlerts


class Post:
    """Two tenants, their alerts, and a mailbox."""

    def __init__(self, write: Letter = letter) -> None:
        self.state, self.mailbox, self.clock = MemoryState(), Mailbox(), FakeClock()
        for tenant in ("acme", "globex"):
            self.state.put_connection(Connection(tenant, CRM, "fake_crm", account="1"))
        self.sender = SendAlerts(
            config=self.state, alerts=self.state, mail=self.mailbox, letter=write, clock=self.clock
        )

    def raised(self, tenant: str, cause: str, *, next_step: str = "Do it.") -> None:
        subject, reason = f"About {cause}", f"It is {cause}."
        self.state.put([Alert(tenant, cause, subject, reason, next_step, f"tieout fix {cause}", START)])


@pytest.fixture
def post() -> Post:
    return Post()


def test_each_cause_of_each_tenant_is_a_message_of_its_own(post: Post):
    for tenant, cause in (("acme", "x"), ("acme", "y"), ("globex", "x")):
        post.raised(tenant, cause)
    assert post.sender.send() == AlertReport(sent=3, told=3)
    assert post.mailbox.sent == [
        ("acme", "1 About x", "It is x."),
        ("acme", "1 About y", "It is y."),
        ("globex", "1 About x", "It is x."),
    ]


def test_what_comes_again_within_the_hour_gathers_and_is_told_when_it_ends(post: Post):
    for _ in range(2):
        post.raised("acme", "x")
        post.raised("acme", "y")
        report = post.sender.send()
    assert report == AlertReport(gathering=2)

    post.clock.time = START + timedelta(seconds=3599)
    assert post.sender.send().gathering == 2
    post.clock.time = START + timedelta(seconds=3600)
    assert post.sender.send() == AlertReport(sent=2, told=2)


def test_messages_that_fail_are_counted_and_their_hour_begins_with_the_one_that_goes(post: Post):
    post.raised("acme", "x")
    post.raised("globex", "x")
    post.mailbox.fails = True
    assert post.sender.send() == AlertReport(failed=2)
    post.mailbox.fails = False
    assert post.sender.send() == AlertReport(sent=2, told=2)


@pytest.mark.parametrize(
    ("next_step", "text"),
    [
        ("Do it.", "About x.\n\nIt is x.\n\nDo it.\n\ntieout fix x"),
        ("", "About x.\n\nIt is x.\n\ntieout fix x"),
    ],
)
def test_the_bare_facts_of_one_alert(next_step: str, text: str):
    def faulty(_: Sequence[Alert]) -> tuple[str, str]:
        raise KeyError("a field of the template")

    post = Post(faulty)
    post.raised("acme", "x", next_step=next_step)
    post.sender.send()
    assert post.mailbox.sent == [("acme", "Tieout: About x", text)]
