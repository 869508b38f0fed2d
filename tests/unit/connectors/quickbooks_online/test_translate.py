"""From our documents to Intuit's, and the notes that carry our tag."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from tieout.connectors.quickbooks_online.company import List
from tieout.connectors.quickbooks_online.translate import own_number, same_name, to_item, to_record
from tieout.domain.documents import (
    Address,
    Allocation,
    CreditNote,
    Customer,
    Discount,
    Invoice,
    Item,
    ItemType,
    Line,
    Payment,
    RecordUpdate,
)
from tieout.domain.effects import Effect, Operation
from tieout.domain.errors import RejectedError
from tieout.domain.records import Kind

DAY = dt.date(2026, 1, 5)


class FakeCompany:
    """Knows three names."""

    def __init__(self, *, numbers_itself=True, multi_currency=False, home_currency="USD"):
        self.numbers_itself = numbers_itself
        self.multi_currency = multi_currency
        self.home_currency = home_currency

    def id_of(self, where, name):
        return {(List.TERMS, "Net 30"): "3", (List.ACCOUNTS, "Sales"): "79", (List.TAX_CODES, "20% S"): "6"}[
            where, name
        ]

    def name_of(self, where, ref):
        return ref.name

    def income_account_id(self):
        return "1"


def effect(kind, document, operation=Operation.CREATE):
    update = {"target_id": "9", "target_version": "4"} if operation is Operation.UPDATE else {}
    return Effect("0" * 32, operation, kind, document, "abcdefghijkl", **update)


def written(kind, document, operation=Operation.CREATE, **company):
    item = to_item(effect(kind, document, operation), FakeCompany(**company), "1")
    return next(value for value in item.values() if isinstance(value, dict))


def invoice(*lines, **fields):
    lines = lines or (Line(item="1", amount=Decimal(10)),)
    return Invoice(customer="7", date=DAY, currency="USD", lines=lines, **fields)


def test_a_whole_invoice():
    document = invoice(
        Line(item="21", quantity=Decimal(2), unit_price=Decimal("50.00"), amount=Decimal("100.00"), tax_code="TAX"),
        number="INV-4711",
        terms="Net 30",
        due_date=dt.date(2026, 2, 4),
        note="for you",
        discount=Discount(amount=Decimal("5.00")),
        tax_total=Decimal("1.90"),
    )

    assert to_item(effect(Kind.INVOICE, document), FakeCompany(), "1") == {
        "bId": "1",
        "operation": "create",
        "Invoice": {
            "CustomerRef": {"value": "7"},
            "TxnDate": DAY,
            "DocNumber": "INV-4711",
            "DueDate": dt.date(2026, 2, 4),
            "SalesTermRef": {"value": "3"},
            "PrivateNote": "for you\n[tieout:abcdefghijkl]",
            "TxnTaxDetail": {"TotalTax": Decimal("1.90")},
            "Line": [
                {
                    "DetailType": "SalesItemLineDetail",
                    "Amount": Decimal("100.00"),
                    "SalesItemLineDetail": {
                        "ItemRef": {"value": "21"},
                        "Qty": Decimal(2),
                        "UnitPrice": Decimal("50.00"),
                        "TaxCodeRef": {"value": "TAX"},
                    },
                },
                {
                    "DetailType": "DiscountLineDetail",
                    "Amount": Decimal("5.00"),
                    "DiscountLineDetail": {"PercentBased": False},
                },
            ],
        },
    }


def test_an_update_is_sparse_and_names_the_version():
    body = written(Kind.INVOICE, invoice(number=None), Operation.UPDATE)

    assert (body["Id"], body["SyncToken"], body["sparse"]) == ("9", "4", True)
    assert body["DocNumber"] == ""
    assert "PrivateNote" not in body
    assert body["CustomerRef"] == {"value": "7"}
    assert len(body["Line"]) == 1


@pytest.mark.parametrize(
    ("quantity", "price", "amount", "sent"),
    [
        ("3", "0.333", "1.00", True),
        ("1", "0.005", "0.01", True),  # half up
        ("-1", "0.005", "-0.01", True),
        ("0", "7", "0", True),
        ("3", "33.33", "100.00", False),
        ("1", None, "5.00", False),
    ],
)
def test_quantity_and_price_are_sent_only_if_they_give_the_amount(quantity, price, amount, sent):
    line = Line(
        item="1",
        quantity=Decimal(quantity),
        unit_price=None if price is None else Decimal(price),
        amount=Decimal(amount),
    )

    (body,) = written(Kind.INVOICE, invoice(line))["Line"]

    assert body["Amount"] == Decimal(amount)
    assert ("Qty" in body["SalesItemLineDetail"], "UnitPrice" in body["SalesItemLineDetail"]) == (sent, sent)


@pytest.mark.parametrize(("code", "value"), [("TAX", "TAX"), ("NON", "NON"), ("5", "5"), ("20% S", "6")])
def test_tax_codes(code, value):
    (line,) = written(Kind.INVOICE, invoice(Line(item="1", amount=Decimal(1), tax_code=code)))["Line"]

    assert line["SalesItemLineDetail"]["TaxCodeRef"] == {"value": value}


def test_a_discount_in_percent_is_rounded_half_up():
    line = Line(item="1", amount=Decimal("0.50"))

    discount = written(Kind.INVOICE, invoice(line, discount=Discount(percent=Decimal(5))))["Line"][-1]

    assert discount["Amount"] == Decimal("0.03")
    assert discount["DiscountLineDetail"] == {"PercentBased": True, "DiscountPercent": Decimal(5)}


@pytest.mark.parametrize("amount", ["0.50", "0.70", "10.10", "33.30", "0.00"])
def test_the_discount_sent_is_the_one_that_the_total_expects(amount):
    document = invoice(Line(item="1", amount=Decimal(amount)), discount=Discount(percent=Decimal(5)))

    discount = written(Kind.INVOICE, document)["Line"][-1]

    assert document.expected_total() == Decimal(amount) - discount["Amount"]


@pytest.mark.parametrize(
    ("number", "numbers_itself", "sent"),
    [("A1", True, "A1"), ("A1", False, "A1"), (None, True, None), (None, False, "T-ABCDEFGHIJKL")],
)
def test_document_numbers(number, numbers_itself, sent):
    for kind, document in (
        (Kind.INVOICE, invoice(number=number)),
        (Kind.CREDIT_NOTE, _credit_note(number)),
    ):
        assert written(kind, document, numbers_itself=numbers_itself).get("DocNumber") == sent


def _credit_note(number):
    line = Line(item="1", amount=Decimal(10))
    return CreditNote(customer="7", date=DAY, currency="USD", lines=(line,), number=number)


def test_our_number_fits():
    assert len(own_number("abcdefghijkl")) <= 21


def test_the_currency_is_named_only_where_there_are_several():
    assert "CurrencyRef" not in written(Kind.INVOICE, invoice())
    assert written(Kind.INVOICE, invoice(), multi_currency=True, home_currency="EUR")["CurrencyRef"] == {"value": "USD"}
    assert "CurrencyRef" not in written(Kind.INVOICE, invoice(), Operation.UPDATE, multi_currency=True)
    assert "CurrencyRef" not in written(Kind.INVOICE, invoice(), home_currency=None)
    with pytest.raises(RejectedError) as caught:
        written(Kind.INVOICE, invoice(), home_currency="EUR")
    assert caught.value.field == "currency"


def test_an_empty_field_is_left_out_of_a_new_record_and_emptied_in_an_old_one():
    document = Customer(name="Acme", email=None, phone=None, billing_address=None, note=None, contact_name=None)

    new = written(Kind.CUSTOMER, document)
    old = written(Kind.CUSTOMER, document, Operation.UPDATE)

    assert new == {"DisplayName": "Acme", "Notes": "[tieout:abcdefghijkl]"}
    assert old["PrimaryEmailAddr"] == {"Address": ""}
    assert old["PrimaryPhone"] == {"FreeFormNumber": ""}
    assert old["Notes"] == "[tieout:abcdefghijkl]"
    assert set(old["BillAddr"].values()) == {""}
    assert (old["GivenName"], old["FamilyName"]) == ("", "")
    assert "CompanyName" not in old


def test_a_parent_is_written_with_job_and_taken_away_with_it():
    assert written(Kind.CUSTOMER, Customer(name="North", parent="12")) | {"Notes": ""} == {
        "DisplayName": "North",
        "ParentRef": {"value": "12"},
        "Job": True,
        "Notes": "",
    }
    assert "ParentRef" not in written(Kind.CUSTOMER, Customer(name="North", parent=None))


@pytest.mark.parametrize(
    ("name", "given", "family"), [("Ada King  Lovelace", "Ada King", "Lovelace"), ("Cher", "Cher", ""), (" ", "", "")]
)
def test_a_contacts_name_is_kept_in_parts(name, given, family):
    body = written(Kind.CUSTOMER, Customer(name="Acme", contact_name=name))

    assert (body["GivenName"], body["FamilyName"]) == (given, family)


def test_given_parts_go_before_a_contacts_name():
    body = written(Kind.CUSTOMER, Customer(name="Acme", contact_name="A B", given_name="Ada"))

    assert body["GivenName"] == "Ada"
    assert "FamilyName" not in body


@pytest.mark.parametrize(
    ("ours", "theirs", "read"),
    [("FR", "FRA", "FR"), ("US", "USA", "US"), ("Narnia", "Narnia", "Narnia"), (None, None, None)],
)
def test_countries(ours, theirs, read):
    address = Address(line1="1 Main St", country=ours)
    body = written(Kind.CUSTOMER, Customer(name="Acme", billing_address=address))
    record = to_record(Kind.CUSTOMER, {"Id": "1", **body}, FakeCompany())

    assert body["BillAddr"].get("Country") == theirs
    assert record.fields["billing_address"]["country"] == read


def test_an_item_earns_to_the_default_account_and_keeps_its_own_type():
    new = written(Kind.ITEM, Item(name="GTX Pro", price=Decimal("0.001")))
    old = written(Kind.ITEM, Item(name="GTX Pro", income_account="Sales"), Operation.UPDATE)

    assert new == {
        "Name": "GTX Pro",
        "Type": "Service",
        "UnitPrice": Decimal("0.001"),
        "IncomeAccountRef": {"value": "1"},
    }
    assert "Type" not in old
    assert old["IncomeAccountRef"] == {"value": "79"}
    assert written(Kind.ITEM, Item(name="x", type=ItemType.NON_INVENTORY))["Type"] == "NonInventory"


def test_a_payment_and_its_allocations():
    document = Payment(
        customer="7",
        date=DAY,
        currency="USD",
        amount=Decimal("9.99"),
        number="wire 1",
        allocations=(Allocation(invoice="5", amount=Decimal("9.99")),),
    )

    assert written(Kind.PAYMENT, document) == {
        "CustomerRef": {"value": "7"},
        "TxnDate": DAY,
        "TotalAmt": Decimal("9.99"),
        "PaymentRefNum": "wire 1",
        "PrivateNote": "[tieout:abcdefghijkl]",
        "Line": [{"Amount": Decimal("9.99"), "LinkedTxn": [{"TxnId": "5", "TxnType": "Invoice"}]}],
    }


def test_a_kind_that_is_not_the_books_is_refused():
    with pytest.raises(RejectedError):
        written(Kind.DEAL, RecordUpdate(fields={}))


@pytest.mark.parametrize(
    ("stored", "note", "reference"),
    [
        (None, None, None),
        ("", None, None),
        ("plain", "plain", None),
        ("[tieout:abcdefghijkl]", None, "abcdefghijkl"),
        ("two\nlines\n[tieout:abcdefghijkl]", "two\nlines", "abcdefghijkl"),
        ("[tieout:zzzzzzzzzzzz] theirs\n[tieout:abcdefghijkl]", " theirs", "abcdefghijkl"),
        ("[tieout:short]", "[tieout:short]", None),
        ("Voided - x\n[tieout:abcdefghijkl]", "Voided - x", "abcdefghijkl"),
    ],
)
def test_the_tag_is_read_and_taken_out_of_the_note(stored, note, reference):
    record = to_record(Kind.INVOICE, {"Id": "1", "TotalAmt": 5, "Balance": 5, "PrivateNote": stored}, FakeCompany())

    assert record.fields["note"] == note
    assert record.fields.get("reference") == reference
    assert record.fields["state"] == "open"


@pytest.mark.parametrize(
    ("total", "balance", "note", "state"),
    [
        ("100", "100", None, "open"),
        ("100", "40", None, "partly_paid"),
        ("100", "0", None, "paid"),
        ("0", "0", None, "paid"),
        ("0", "0", "Voided", "voided"),
        ("0", "0", "Voided\n[tieout:abcdefghijkl]", "voided"),
        ("100", "100", "Voided", "voided"),
        ("100", "100", "Voided check, see letter", "open"),
    ],
)
def test_states(total, balance, note, state):
    row = {"Id": "1", "TotalAmt": Decimal(total), "Balance": Decimal(balance), "PrivateNote": note}

    assert to_record(Kind.INVOICE, row, FakeCompany()).fields["state"] == state


def test_only_lines_that_sell_are_lines():
    sale = {
        "Amount": Decimal(5),
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": {"ItemRef": {"value": "1"}},
    }
    row = {
        "Id": "1",
        "Line": [
            sale,
            {"DetailType": "DescriptionOnly", "Description": "hello", "DescriptionLineDetail": {}},
            {"DetailType": "GroupLineDetail", "Amount": 5, "GroupLineDetail": {"Line": [sale]}},
            {"DetailType": "SubTotalLineDetail", "Amount": 10, "SubTotalLineDetail": {}},
            {
                "DetailType": "DiscountLineDetail",
                "Amount": 1,
                "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 10},
            },
        ],
    }

    fields = to_record(Kind.INVOICE, row, FakeCompany()).fields

    assert [line["amount"] for line in fields["lines"]] == [5, 5]
    assert fields["discount"] == {"percent": 10}
    assert fields["lines"][0]["quantity"] == 1
    assert fields["lines"][0]["unit_price"] is None


def test_a_masked_tax_id_is_not_read():
    row = {"Id": "1", "DisplayName": "Jo", "PrimaryTaxIdentifier": "XXXXX6789"}

    assert "tax_id" not in to_record(Kind.CUSTOMER, row, FakeCompany()).fields
    assert to_record(Kind.CUSTOMER, {"Id": "1", "DisplayName": "Jo"}, FakeCompany()).fields["tax_id"] is None


def test_names_are_the_same_but_for_case_and_spaces():
    assert same_name(" Acme  Corp\t") == same_name("ACME corp")
    assert same_name("Acme Corp") != same_name("AcmeCorp")
