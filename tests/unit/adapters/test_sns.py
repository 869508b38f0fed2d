from __future__ import annotations

import json

import pytest

from tieout.adapters.sns import SnsMail
from tieout.domain.errors import UnavailableError


@pytest.fixture
def inbox(clients):
    """A queue that is subscribed to the topic, and the topic."""
    topic = clients.sns.create_topic(Name="alerts")["TopicArn"]
    url = clients.sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic, url


def read(clients, url):
    (message,) = clients.sqs.receive_message(QueueUrl=url)["Messages"]
    return json.loads(message["Body"])


def test_a_message_arrives_with_its_tenant(clients, inbox):
    topic, url = inbox
    SnsMail(clients.sns, topic).send("acme", "3 invoices wait", "Größe & Söhne: 12.00 EUR")
    message = read(clients, url)
    assert (message["Subject"], message["Message"]) == ("3 invoices wait", "Größe & Söhne: 12.00 EUR")
    assert message["MessageAttributes"]["tenant"]["Value"] == "acme"


@pytest.mark.parametrize(
    ("subject", "sent"),
    [
        ("Größe & Söhne: café", "Groe & Sohne: cafe".replace("Groe", "Gro?e")),
        ("two\nlines\r\n  and\ttabs", "two lines and tabs"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 97 + "..."),
        ("日本", "??"),
    ],
)
def test_a_subject_is_one_line_of_ascii(clients, inbox, subject, sent):
    topic, url = inbox
    SnsMail(clients.sns, topic).send("acme", subject, "text")
    assert read(clients, url)["Subject"] == sent


def test_a_text_that_is_too_long_is_cut_and_says_so(clients, inbox):
    topic, url = inbox
    SnsMail(clients.sns, topic).send("acme", "s", "ß" * 200_000)
    text = read(clients, url)["Message"]
    assert len(text.encode()) < 256 * 1024
    assert text.endswith("shows the rest.)\n")


def test_a_topic_that_is_gone_is_unavailable(clients):
    mail = SnsMail(clients.sns, "arn:aws:sns:eu-west-1:123456789012:gone")
    with pytest.raises(UnavailableError):
        mail.send("acme", "s", "t")
