"""What may stand in a request, in which order, and how long it may be: qbXML is a sequence, and another one is refused.

Each line is an aggregate or request and its elements in order; `*` marks what may repeat, a number the most characters.
Source: requests with every element of qbXML 13.0 that were recorded (tests/data/quickbooks_desktop) for InvoiceAdd and
the item query; the others from consolibyte/quickbooks-php `QuickBooks/QBXML/Schema/Object/`, read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_LISTS = (
    "Customer Vendor Item ItemService ItemNonInventory ItemInventory ItemDiscount ItemSubtotal StandardTerms Currency"
)
_TXNS = "Invoice CreditMemo Estimate ReceivePayment"
_REFS = (
    "CustomerRef ClassRef ARAccountRef TemplateRef ParentRef TermsRef SalesRepRef ShipMethodRef ItemSalesTaxRef "
    "CustomerMsgRef CustomerSalesTaxCodeRef ItemRef PriceLevelRef SalesTaxCodeRef OverrideItemAccountRef CurrencyRef "
    "AccountRef IncomeAccountRef ExpenseAccountRef COGSAccountRef AssetAccountRef CustomerTypeRef JobTypeRef "
    "PreferredPaymentMethodRef PaymentMethodRef DepositToAccountRef UnitOfMeasureSetRef PurchaseTaxCodeRef "
    "PrefVendorRef InventorySiteRef"
)
_CUSTOMER = (
    "Name41 IsActive ClassRef ParentRef CompanyName41 Salutation15 FirstName25 MiddleName5 LastName25 JobTitle41 "
    "BillAddress ShipAddress PrintAs110 Phone21 Mobile21 Pager21 AltPhone21 Fax21 Email1023 Cc1023 Contact41 "
    "AltContact41 CustomerTypeRef TermsRef SalesRepRef OpenBalance OpenBalanceDate SalesTaxCodeRef ItemSalesTaxRef "
    "SalesTaxCountry31 ResaleNumber15 AccountNumber99 CreditLimit PreferredPaymentMethodRef JobStatus JobStartDate "
    "JobProjectedEndDate JobEndDate JobDesc99 JobTypeRef Notes4095 PriceLevelRef ExternalGUID CurrencyRef"
)
_HEAD = (
    "CustomerRef ClassRef ARAccountRef TemplateRef TxnDate RefNumber11 BillAddress ShipAddress IsPending "
    "IsFinanceCharge PONumber25 TermsRef DueDate SalesRepRef FOB13 ShipDate ShipMethodRef ItemSalesTaxRef Memo4095 "
    "CustomerMsgRef IsToBePrinted IsToBeEmailed CustomerSalesTaxCodeRef Other29 ExchangeRate ExternalGUID"
)
_ESTIMATE = (
    "CustomerRef ClassRef TemplateRef TxnDate RefNumber11 BillAddress ShipAddress IsActive PONumber25 TermsRef DueDate "
    "SalesRepRef FOB13 ItemSalesTaxRef Memo4095 CustomerMsgRef IsToBeEmailed CustomerSalesTaxCodeRef Other29 "
    "ExchangeRate ExternalGUID"
)
_LINE = (
    "ItemRef Desc4095 Quantity UnitOfMeasure31 Rate RatePercent PriceLevelRef ClassRef Amount InventorySiteRef "
    "ServiceDate SalesTaxCodeRef OverrideItemAccountRef Other129 Other229"
)
_ESTIMATE_LINE = (
    "ItemRef Desc4095 Quantity UnitOfMeasure31 Rate RatePercent ClassRef Amount InventorySiteRef SalesTaxCodeRef "
    "MarkupRate MarkupRatePercent PriceLevelRef OverrideItemAccountRef Other129 Other229"
)
_ITEM = "Name31 IsActive ClassRef ParentRef UnitOfMeasureSetRef IsTaxIncluded SalesTaxCodeRef"
_GOODS = "Name31 IsActive ClassRef ParentRef ManufacturerPartNumber31 UnitOfMeasureSetRef IsTaxIncluded SalesTaxCodeRef"

_INVENTORY = (
    "ItemInventoryAdd: Name31 IsActive ParentRef ManufacturerPartNumber31 SalesTaxCodeRef SalesDesc4095 SalesPrice "
    "IncomeAccountRef PurchaseDesc4095 PurchaseCost COGSAccountRef AssetAccountRef"
)
_PAYMENT = (
    "ReceivePaymentAdd: CustomerRef ARAccountRef TxnDate RefNumber20 TotalAmount ExchangeRate PaymentMethodRef "
    "Memo4095 DepositToAccountRef ExternalGUID IsAutoApply AppliedToTxnAdd*"
)
_ACCOUNTS = (
    "AccountQueryRq: ListID* FullName* MaxReturned ActiveStatus FromModifiedDate ToModifiedDate NameFilter "
    "NameRangeFilter AccountType* IncludeRetElement*50 OwnerID*"
)

_TEXT = "\n".join(
    [
        *(f"{name}: ListID FullName209" for name in _REFS.split()),
        *(
            f"{name}: Addr141 Addr241 Addr341 Addr441 Addr541 City31 State21 PostalCode13 Country31 Note41"
            for name in ("BillAddress", "ShipAddress")
        ),
        f"CustomerAdd: {_CUSTOMER}",
        f"CustomerMod: ListID EditSequence16 {_CUSTOMER}",
        "VendorAdd: Name41 IsActive CompanyName41",
        f"ItemServiceAdd: {_ITEM} SalesOrPurchase SalesAndPurchase",
        f"ItemServiceMod: ListID EditSequence16 {_ITEM} SalesOrPurchaseMod SalesAndPurchaseMod",
        f"ItemNonInventoryAdd: {_GOODS} SalesOrPurchase SalesAndPurchase",
        f"ItemNonInventoryMod: ListID EditSequence16 {_GOODS} SalesOrPurchaseMod SalesAndPurchaseMod",
        _INVENTORY,
        "ItemDiscountAdd: Name31 IsActive ParentRef ItemDesc4095 SalesTaxCodeRef DiscountRate AccountRef",
        "StandardTermsAdd: Name31 IsActive StdDueDays",
        "CurrencyAdd: Name64 IsActive CurrencyCode3",
        "ItemSubtotalAdd: Name31 IsActive ItemDesc4095",
        *(f"SalesOrPurchase{end}: Desc4095 Price PricePercent AccountRef" for end in ("", "Mod")),
        *(
            f"SalesAndPurchase{end}: SalesDesc4095 SalesPrice IncomeAccountRef PurchaseDesc4095 PurchaseCost "
            "PurchaseTaxCodeRef ExpenseAccountRef PrefVendorRef"
            for end in ("", "Mod")
        ),
        *(f"{name}Add: {_HEAD} LinkToTxnID* {name}LineAdd*" for name in ("Invoice", "CreditMemo")),
        *(f"{name}Mod: TxnID EditSequence16 {_HEAD} {name}LineMod*" for name in ("Invoice", "CreditMemo")),
        *(f"{name}LineAdd: {_LINE}" for name in ("Invoice", "CreditMemo")),
        *(f"{name}LineMod: TxnLineID {_LINE}" for name in ("Invoice", "CreditMemo")),
        f"EstimateAdd: {_ESTIMATE} EstimateLineAdd*",
        f"EstimateMod: TxnID EditSequence16 {_ESTIMATE} EstimateLineMod*",
        f"EstimateLineAdd: {_ESTIMATE_LINE}",
        f"EstimateLineMod: TxnLineID {_ESTIMATE_LINE}",
        _PAYMENT,
        "AppliedToTxnAdd: TxnID PaymentAmount DiscountAmount",
        *(
            f"{name}{verb}Rq: {name}{verb} IncludeRetElement*50"
            for name in (*_LISTS.split(), *_TXNS.split())
            for verb in ("Add", "Mod")
        ),
        *(
            f"{name}QueryRq: ListID* FullName* MaxReturned ActiveStatus FromModifiedDate ToModifiedDate NameFilter "
            "NameRangeFilter IncludeRetElement*50 OwnerID*"
            for name in _LISTS.split()
        ),
        _ACCOUNTS,
        *(
            f"{name}QueryRq: TxnID* RefNumber* RefNumberCaseSensitive* MaxReturned ModifiedDateRangeFilter "
            "TxnDateRangeFilter EntityFilter AccountFilter RefNumberFilter RefNumberRangeFilter PaidStatus "
            "IncludeLineItems IncludeLinkedTxns IncludeRetElement*50 OwnerID*"
            for name in _TXNS.split()
        ),
        "NameFilter: MatchCriterion Name",
        "NameRangeFilter: FromName ToName",
        "ModifiedDateRangeFilter: FromModifiedDate ToModifiedDate",
        "TxnDateRangeFilter: FromTxnDate ToTxnDate DateMacro",
        "EntityFilter: ListID* FullName* ListIDWithChildren FullNameWithChildren",
        "RefNumberFilter: MatchCriterion RefNumber",
        "RefNumberRangeFilter: FromRefNumber ToRefNumber",
        "TxnVoidRq: TxnVoidType TxnID",
        "TxnDelRq: TxnDelType TxnID",
        "ListDelRq: ListDelType ListID",
        "TxnDeletedQueryRq: TxnDelType* DeletedDateRangeFilter IncludeRetElement*50",
        "ListDeletedQueryRq: ListDelType* DeletedDateRangeFilter IncludeRetElement*50",
        "DeletedDateRangeFilter: FromDeletedDate ToDeletedDate",
        "HostQueryRq: IncludeRetElement*50",
        "CompanyQueryRq: IncludeRetElement*50 OwnerID*",
        "PreferencesQueryRq: PreferencesType* IncludeRetElement*50",
    ]
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the sequence: whether the element may repeat there, and the most characters of its text (0: any)."""

    repeats: bool
    length_max: int


def _slots() -> Iterator[tuple[str, dict[str, Slot]]]:
    for line in _TEXT.splitlines():
        name, _, elements = line.partition(": ")
        yield name, dict(map(_slot, elements.split()))


_NUMBERED = ("Addr1", "Addr2", "Addr3", "Addr4", "Addr5", "Other1", "Other2")


def _slot(text: str) -> tuple[str, Slot]:
    repeats = "*" in text
    bare = text.replace("*", "")
    numbered = next((each for each in _NUMBERED if bare.startswith(each) and bare != "Other29"), None)
    name = numbered or bare.rstrip("0123456789")
    return name, Slot(repeats, int(bare.removeprefix(name) or 0))


SCHEMA: dict[str, dict[str, Slot]] = dict(_slots())

KEYS = frozenset({"ListID", "FullName", "TxnID", "RefNumber"})
"""Of a query, either one of these is given, or filters are."""
FILTERS = frozenset(
    {
        "MaxReturned",
        "ActiveStatus",
        "FromModifiedDate",
        "ToModifiedDate",
        "NameFilter",
        "ModifiedDateRangeFilter",
        "TxnDateRangeFilter",
        "EntityFilter",
        "AccountType",
    }
)
