"""Other people's clients, each used the way its documentation and the integrations built on it do.

None of them is made worse than it is: customers and items stand before, calls are never throttled, a batch is repeated
by itself and not with all before it, and a client that can send a `requestid` sends the same one with each try. All try
three times, urllib3 by its own `Retry`, for POST too.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import Any
from unittest import mock
from uuid import uuid4

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from bench.rivals.books import Books

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries that are not ours
    from intuitlib.client import AuthClient
    from quickbooks import QuickBooks
    from quickbooks.batch import batch_create
    from quickbooks.objects import Invoice, Ref, SalesItemLine, SalesItemLineDetail

TRIES = 3
BATCH = 30
MINOR_VERSION = 75
ANSWER_SECONDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Sale:
    """What is to become an invoice; customer and item by their ids in the books."""

    number: str
    customer: str
    item: str
    amount: str


type Rival = Callable[[Books, Sequence[Sale]], None]


def single(books: Books, sales: Sequence[Sale]) -> None:
    """python-quickbooks, `save`."""
    with _python_quickbooks(books) as client:
        for sale in sales:
            _tried(partial(_invoice(sale).save, qb=client))


def single_with_key(books: Books, sales: Sequence[Sale]) -> None:
    """python-quickbooks, `save`, `request_id`."""
    with _python_quickbooks(books) as client:
        for sale in sales:
            _tried(partial(_invoice(sale).save, qb=client, request_id=uuid4().hex))


def batch(books: Books, sales: Sequence[Sale]) -> None:
    """python-quickbooks, batches of 30."""
    with _python_quickbooks(books) as client:
        for some in batched(sales, BATCH, strict=False):
            _tried(partial(batch_create, [_invoice(sale) for sale in some], qb=client))


def adapter(books: Books, sales: Sequence[Sale]) -> None:
    """requests, urllib3 `Retry`, `requestid`."""
    with requests.Session() as session:
        retry = Retry(total=TRIES - 1, allowed_methods=None, status_forcelist=(429, 500, 502, 503, 504))
        session.mount("http://", HTTPAdapter(max_retries=retry))
        session.headers["Authorization"] = f"Bearer {books.grant['access_token']}"
        for sale in sales:
            with suppress(requests.ConnectionError):
                session.post(
                    f"{books.url}/v3/company/{books.grant['realmId']}/invoice",
                    params={"minorversion": str(MINOR_VERSION), "requestid": uuid4().hex},
                    data=_invoice(sale).to_json(),
                    headers={"Content-Type": "application/json"},
                    timeout=ANSWER_SECONDS_MAX,
                ).raise_for_status()


RIVALS: Sequence[Rival] = (single, single_with_key, batch, adapter)


def _tried(call: Callable[[], object]) -> None:
    """Call until it answers, three times at most; whoever uses such a loop logs the failure then and goes on."""
    for _ in range(TRIES):
        try:
            call()
        except requests.ConnectionError:
            continue
        return


@contextmanager
def _python_quickbooks(books: Books) -> Iterator[Any]:
    discovery = f"{books.url}/.well-known/openid_sandbox_configuration/"
    tokens = {name: books.grant[name] for name in ("access_token", "refresh_token")}
    auth = AuthClient("tieout-sandbox-client", "tieout-sandbox-secret", "http://localhost", discovery, **tokens)
    realm = {"company_id": books.grant["realmId"], "minorversion": MINOR_VERSION}
    with mock.patch.dict(os.environ, {"OAUTHLIB_INSECURE_TRANSPORT": "1"}), auth:  # loopback speaks no TLS
        client = QuickBooks(auth_client=auth, refresh_token=tokens["refresh_token"], **realm)
        client.api_url_v3 = f"{books.url}/v3"
        with client.session:
            yield client


def _invoice(sale: Sale) -> Any:
    invoice, line = Invoice(), SalesItemLine()
    invoice.DocNumber = sale.number
    invoice.CustomerRef = _reference(sale.customer)
    line.Amount = sale.amount
    line.SalesItemLineDetail = SalesItemLineDetail()
    line.SalesItemLineDetail.ItemRef = _reference(sale.item)
    line.SalesItemLineDetail.TaxCodeRef = _reference("NON")
    line.SalesItemLineDetail.Qty, line.SalesItemLineDetail.UnitPrice = 1, sale.amount
    invoice.Line = [line]
    return invoice


def _reference(value: str) -> Any:
    reference = Ref()
    reference.value = value
    return reference
