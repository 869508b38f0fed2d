"""The order in which qbXML wants elements, and how long texts may be: a wrong order is refused whole (0x80040400).

Only what we send. Source: recorded requests with every element of qbXML 13.0 (tests/data/quickbooks_desktop) for
invoices; for the others consolibyte/quickbooks-php `QuickBooks/QBXML/Schema/Object/` (qbXML 7.0), read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Mapping

_REF = ("ListID", "FullName")
_ADDRESS = ("Addr1", "Addr2", "Addr3", "City", "State", "PostalCode", "Country")
_CUSTOMER = (
    "Name",
    "IsActive",
    "ParentRef",
    "CompanyName",
    "FirstName",
    "LastName",
    "BillAddress",
    "ShipAddress",
    "Phone",
    "Email",
    "Contact",
    "TermsRef",
    "ResaleNumber",
    "Notes",
    "CurrencyRef",
)
_ITEM = ("Name", "IsActive", "ManufacturerPartNumber", "SalesTaxCodeRef")
_SALES_OR_PURCHASE = ("Desc", "Price", "AccountRef")
_SALES_AND_PURCHASE = ("SalesDesc", "SalesPrice", "IncomeAccountRef", "PurchaseCost", "ExpenseAccountRef")
_SALES_FORM = (
    "CustomerRef",
    "TxnDate",
    "RefNumber",
    "BillAddress",
    "ShipAddress",
    "IsActive",
    "TermsRef",
    "DueDate",
    "Memo",
    "CustomerMsgRef",
)
_LINE = ("ItemRef", "Desc", "Quantity", "Rate", "Amount", "ServiceDate", "SalesTaxCodeRef")
_LIST_QUERY = (
    "ListID",
    "FullName",
    "MaxReturned",
    "ActiveStatus",
    "FromModifiedDate",
    "NameFilter",
    "IncludeRetElement",
)
_TXN_QUERY = (
    "TxnID",
    "RefNumber",
    "MaxReturned",
    "ModifiedDateRangeFilter",
    "TxnDateRangeFilter",
    "EntityFilter",
    "IncludeLineItems",
    "IncludeLinkedTxns",
    "IncludeRetElement",
)
_FORMS = ("Invoice", "CreditMemo", "Estimate")
_ADDRESSES = ("BillAddress", "ShipAddress")

ORDER: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "CustomerRef",
            "ParentRef",
            "TermsRef",
            "CurrencyRef",
            "SalesTaxCodeRef",
            "AccountRef",
            "IncomeAccountRef",
            "ExpenseAccountRef",
            "ItemRef",
            "CustomerMsgRef",
            "EntityFilter",
        ),
        _REF,
    ),
    "BillAddress": _ADDRESS,
    "ShipAddress": _ADDRESS,
    "CustomerAddRq": ("CustomerAdd",),
    "CustomerModRq": ("CustomerMod",),
    "CustomerAdd": _CUSTOMER,
    "CustomerMod": ("ListID", "EditSequence", *_CUSTOMER),
    **{
        f"Item{kind}{verb}Rq": (f"Item{kind}{verb}",) for kind in ("Service", "NonInventory") for verb in ("Add", "Mod")
    },
    **{f"Item{kind}Add": (*_ITEM, "SalesOrPurchase", "SalesAndPurchase") for kind in ("Service", "NonInventory")},
    **{
        f"Item{kind}Mod": ("ListID", "EditSequence", *_ITEM, "SalesOrPurchaseMod", "SalesAndPurchaseMod")
        for kind in ("Service", "NonInventory")
    },
    **dict.fromkeys(("SalesOrPurchase", "SalesOrPurchaseMod"), _SALES_OR_PURCHASE),
    **dict.fromkeys(("SalesAndPurchase", "SalesAndPurchaseMod"), _SALES_AND_PURCHASE),
    **{f"{form}{verb}Rq": (f"{form}{verb}",) for form in _FORMS for verb in ("Add", "Mod")},
    **{f"{form}Add": (*_SALES_FORM, f"{form}LineAdd") for form in _FORMS},
    **{f"{form}Mod": ("TxnID", "EditSequence", *_SALES_FORM, f"{form}LineMod") for form in _FORMS},
    **{f"{form}LineAdd": _LINE for form in _FORMS},
    **{f"{form}LineMod": ("TxnLineID", *_LINE) for form in _FORMS},
    "TxnVoidRq": ("TxnVoidType", "TxnID"),
    **dict.fromkeys(
        ("CustomerQueryRq", "ItemQueryRq", "ItemDiscountQueryRq", "ItemSubtotalQueryRq", "CurrencyQueryRq"), _LIST_QUERY
    ),
    "AccountQueryRq": (*_LIST_QUERY[:-1], "AccountType", "IncludeRetElement"),
    **{f"{form}QueryRq": _TXN_QUERY for form in (*_FORMS, "ReceivePayment")},
    "NameFilter": ("MatchCriterion", "Name"),
    "ModifiedDateRangeFilter": ("FromModifiedDate",),
    "TxnDateRangeFilter": ("FromTxnDate", "ToTxnDate"),
    "TxnDeletedQueryRq": ("TxnDelType", "DeletedDateRangeFilter"),
    "ListDeletedQueryRq": ("ListDelType", "DeletedDateRangeFilter"),
    "DeletedDateRangeFilter": ("FromDeletedDate",),
    "CompanyQueryRq": (),
    "PreferencesQueryRq": (),
}
"""By aggregate or request, what may stand in it, in order."""

LENGTHS: Mapping[str, int] = {
    "Customer.Name": 41,
    "Customer.CompanyName": 41,
    "Customer.Contact": 41,
    "Customer.FirstName": 25,
    "Customer.LastName": 25,
    "Customer.Phone": 21,
    "Customer.Email": 1023,
    "Customer.ResaleNumber": 15,
    "Customer.Notes": 4095,
    "ItemService.Name": 31,
    "ItemNonInventory.Name": 31,
    "ItemNonInventory.ManufacturerPartNumber": 31,
    "SalesOrPurchase.Desc": 4095,
    "SalesAndPurchase.SalesDesc": 4095,
    **{f"{form}.RefNumber": 11 for form in _FORMS},
    **{f"{form}.Memo": 4095 for form in _FORMS},
    **{f"{form}Line.Desc": 4095 for form in _FORMS},
    **{f"{address}.{name}": 41 for address in _ADDRESSES for name in ("Addr1", "Addr2", "Addr3")},
    **{f"{address}.City": 31 for address in _ADDRESSES},
    **{f"{address}.State": 21 for address in _ADDRESSES},
    **{f"{address}.PostalCode": 13 for address in _ADDRESSES},
    **{f"{address}.Country": 31 for address in _ADDRESSES},
}
"""By aggregate (without `Add` and `Mod`) and element, the most characters."""


def length_max(aggregate: str, name: str) -> int | None:
    """The most characters that this element may have; None if we know of no limit."""
    return LENGTHS.get(f"{aggregate.removesuffix('Add').removesuffix('Mod')}.{name}")
