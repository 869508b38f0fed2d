"""Message sets to the company file, through the door that the connection is given."""

from __future__ import annotations

from collections.abc import Sequence

from tieout.connectors.quickbooks_desktop.errors import not_taken, refusal, unreadable
from tieout.connectors.quickbooks_desktop.qbxml import Ask, Replies, Reply, UnreadableError, message_set, parse_replies
from tieout.ports.http import Http, Request

# There is no address: the Web Connector fetches the requests.
ADDRESS = "qbxml:"
_OK = 200


class Client:
    """Asks and writes."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def ask(self, *requests: Ask) -> list[Reply]:
        """The replies to queries, in their order; each found what it may have found.

        Raises:
            ProviderError: If one of them was refused, or there is no answer.
        """
        replies = self.try_to(*requests)
        for reply in replies:
            if not reply.found:
                raise refusal(reply.code, reply.message, write=False)
        return replies

    def try_to(self, *requests: Ask) -> list[Reply]:
        """The replies to queries, in their order, refusals too.

        Raises:
            ProviderError: If there is no answer.
        """
        replies = self._send(message_set(requests), write=False)
        try:
            return [replies.by_position[position] for position in range(len(requests))]
        except KeyError:
            raise unreadable("a reply is missing", write=False) from None

    def write(self, requests: Sequence[Ask], set_id: str) -> Replies:
        """The replies to what was to be written.

        Raises:
            UncertainError: Maybe done.
            ProviderError: Not done: nothing of it.
        """
        return self._send(message_set(requests, set_id=set_id), write=True)

    def _send(self, text: str, *, write: bool) -> Replies:
        request = Request(
            method="POST", url=ADDRESS, write=write, headers={"Content-Type": "text/xml"}, body=text.encode()
        )
        answer = self._http.send(request)
        if answer.status != _OK:
            raise not_taken(answer, write=write)
        try:
            return parse_replies(answer.body)
        except UnreadableError as error:
            raise unreadable(str(error), write=write) from None
