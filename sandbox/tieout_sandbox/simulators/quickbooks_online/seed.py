"""What a new company has: accounts, terms, tax codes, two items; and its company information and preferences.

Names and ids follow recorded answers of Intuit's own sample company (tests/data/quickbooks_online).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tieout_sandbox.simulators.quickbooks_online.books import HOME_CURRENCY, Books, Record
from tieout_sandbox.simulators.quickbooks_online.settings import Settings

_ACCOUNTS = (
    # id, name, classification, type, subtype
    ("1", "Services", "Revenue", "Income", "ServiceFeeIncome"),
    ("2", "Sales", "Revenue", "Income", "SalesOfProductIncome"),
    ("4", "Undeposited Funds", "Asset", "Other Current Asset", "UndepositedFunds"),
    ("33", "Accounts Payable (A/P)", "Liability", "Accounts Payable", "AccountsPayable"),
    ("35", "Checking", "Asset", "Bank", "Checking"),
    ("79", "Sales of Product Income", "Revenue", "Income", "SalesOfProductIncome"),
    ("80", "Cost of Goods Sold", "Expense", "Cost of Goods Sold", "SuppliesMaterialsCogs"),
    ("81", "Inventory Asset", "Asset", "Other Current Asset", "Inventory"),
    ("84", "Accounts Receivable (A/R)", "Asset", "Accounts Receivable", "AccountsReceivable"),
    ("86", "Discounts given", "Revenue", "Income", "DiscountsRefundsGiven"),
)
_TERMS = (("1", "Due on receipt", 0), ("2", "Net 15", 15), ("3", "Net 30", 30), ("4", "Net 60", 60))
_ITEMS = (("1", "Services"), ("2", "Hours"))
_ADDRESS = {
    "Line1": "123 Sierra Way",
    "City": "San Pablo",
    "Country": "USA",
    "CountrySubDivisionCode": "CA",
    "PostalCode": "87999",
}
_BEGINNING = "2026-01-01T00:00:00-08:00"


def fill(books: Books) -> None:
    """Lay down the records of a new company."""
    for account_id, name, classification, kind, subtype in _ACCOUNTS:
        account = {
            "Name": name,
            "SubAccount": False,
            "FullyQualifiedName": name,
            "Active": True,
            "Classification": classification,
            "AccountType": kind,
            "AccountSubType": subtype,
            "CurrentBalance": Decimal(0),
            "CurrentBalanceWithSubAccounts": Decimal(0),
            "CurrencyRef": HOME_CURRENCY,
        }
        books.create("Account", account, record_id=account_id)
    for term_id, name, days in _TERMS:
        term = {
            "Name": name,
            "Active": True,
            "Type": "Standard",
            "DiscountPercent": Decimal(0),
            "DiscountDays": Decimal(0),
        }
        books.create("Term", {**term, "DueDays": Decimal(days)}, record_id=term_id)
    for code, taxable in (("TAX", True), ("NON", False)):
        tax_code = {"Name": code, "Description": code, "Active": True, "Taxable": taxable, "TaxGroup": False}
        books.create("TaxCode", tax_code, record_id=code)
    for item_id, name in _ITEMS:
        item = {
            "Name": name,
            "Active": True,
            "FullyQualifiedName": name,
            "Taxable": False,
            "UnitPrice": Decimal(0),
            "Type": "Service",
            "IncomeAccountRef": {"value": "1", "name": "Services"},
            "PurchaseCost": Decimal(0),
            "TrackQtyOnHand": False,
        }
        books.create("Item", item, record_id=item_id)


def _singleton(**properties: Any) -> Record:  # noqa: ANN401 - JSON is anything
    return {
        **properties,
        "domain": "QBO",
        "sparse": False,
        "Id": "1",
        "SyncToken": "0",
        "MetaData": {"CreateTime": _BEGINNING, "LastUpdatedTime": _BEGINNING},
    }


def company_info(settings: Settings, realm: str) -> Record:
    """The company's own page. Its id is 1 in every company; the realm is not in it."""
    del realm
    values = {"IndustryType": "Landscaping Services", "OfferingSku": "QuickBooks Online Plus", "NeoEnabled": "true"}
    return _singleton(
        CompanyName=settings.company_name,
        LegalName=settings.company_name,
        CompanyAddr={"Id": "1", **_ADDRESS},
        CustomerCommunicationAddr={"Id": "1", **_ADDRESS},
        LegalAddr={"Id": "1", **_ADDRESS},
        CustomerCommunicationEmailAddr={"Address": "noreply@quickbooks.example"},
        PrimaryPhone={"FreeFormNumber": "4155550100"},
        CompanyStartDate="2026-01-01",
        FiscalYearStartMonth="January",
        Country="US",
        Email={"Address": "noreply@quickbooks.example"},
        WebAddr={},
        SupportedLanguages="en",
        NameValue=[{"Name": name, "Value": value} for name, value in values.items()],
    )


def preferences(settings: Settings, realm: str) -> Record:
    """The company's preferences, as the simulator's settings have them now."""
    del realm
    others = {"WarnDuplicateInvoiceNumber": settings.warn_duplicate_doc_number, "SFCEnabled": True}
    return _singleton(
        AccountingInfoPrefs={
            "UseAccountNumbers": False,
            "TrackDepartments": False,
            "ClassTrackingPerTxn": False,
            "ClassTrackingPerTxnLine": False,
            "FirstMonthOfFiscalYear": "January",
            "TaxYearMonth": "January",
            "TaxForm": "6",
            "CustomerTerminology": "Customers",
            **({"BookCloseDate": settings.closed_until.isoformat()} if settings.closed_until else {}),
        },
        ProductAndServicesPrefs={
            "ForSales": True,
            "ForPurchase": True,
            "QuantityWithPriceAndRate": True,
            "QuantityOnHand": True,
        },
        SalesFormsPrefs={
            "CustomField": [],
            "CustomTxnNumbers": settings.custom_txn_numbers,
            "AllowDeposit": False,
            "AllowDiscount": True,
            "DefaultDiscountAccount": "86",
            "AllowEstimates": True,
            "ETransactionEnabledStatus": "NotApplicable",
            "ETransactionAttachPDF": False,
            "ETransactionPaymentEnabled": False,
            "IPNSupportEnabled": False,
            "AllowServiceDate": False,
            "AllowShipping": False,
            "DefaultTerms": {"value": "3"},
            "UsingPriceLevels": False,
            "DefaultCustomerMessage": "Thank you for your business and have a great day!",
        },
        EmailMessagesPrefs={
            f"{form}Message": {"Subject": f"{form} from {settings.company_name}", "Message": "Thank you."}
            for form in ("Invoice", "Estimate", "SalesReceipt", "Statement")
        },
        VendorAndPurchasesPrefs={"TrackingByCustomer": True, "BillableExpenseTracking": True, "POCustomField": []},
        TimeTrackingPrefs={
            "UseServices": True,
            "BillCustomers": True,
            "ShowBillRateToAll": False,
            "WorkWeekStartDate": "Monday",
            "MarkTimeEntriesBillable": True,
        },
        TaxPrefs={
            "UsingSalesTax": settings.sales_tax_percent > 0,
            "PartnerTaxEnabled": settings.automated_sales_tax,
        },
        CurrencyPrefs={"MultiCurrencyEnabled": False, "HomeCurrency": {"value": HOME_CURRENCY["value"]}},
        ReportPrefs={"ReportBasis": "Accrual", "CalcAgingReportFromTxnDate": False},
        OtherPrefs={"NameValue": [{"Name": name, "Value": str(value).lower()} for name, value in others.items()]},
    )
