"""QuickBooks Online's faults: codes and sentences, as a company's own answer and as the gateway's.

Sources: error codes page of API v3, read 2026-01; sentences from recorded answers (tests/data/quickbooks_online).
Codes marked `own choice` are not documented for the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tieout_sandbox.simulators.quickbooks_online.times import wire_time


@dataclass(eq=False)
class FaultError(Exception):
    """A refused request: one fault in Intuit's form.

    Attributes:
        kind: ValidationFault, SystemFault, AuthenticationFault or AuthorizationFault.
    """

    code: str
    message: str
    detail: str
    element: str = ""
    kind: str = "ValidationFault"
    status: int = 400

    def body(self) -> dict[str, Any]:
        """The value of `Fault`."""
        error = {"Message": self.message, "Detail": self.detail, "code": self.code, "element": self.element}
        return {"Error": [error], "type": self.kind}


def required(element: str) -> FaultError:
    """2020: a required property is missing."""
    return FaultError(
        "2020",
        "Required param missing, need to supply the required value for the API",
        f"Required parameter {element} is missing in the request",
        element,
    )


def unknown_property(name: str) -> FaultError:
    """2010: the entity has no such property."""
    return FaultError(
        "2010",
        "Request has invalid or unsupported property",
        f"Property Name:{name} specified is unsupported or invalid",
        name,
    )


def too_long(element: str, length_max: int, length: int) -> FaultError:
    """2050: a text is longer than QuickBooks keeps."""
    message = (
        "String length specified does not match the supported length. "
        f"Min:0 Max:{length_max} supported. Supplied length:{length}"
    )
    return FaultError("2050", message, message, element)


def bad_format(element: str, kind: str, value: object) -> FaultError:
    """2080: no number, date or boolean where one is due."""
    message = {"decimal": "Illegal number format"}.get(kind, f"Illegal {kind} format")
    return FaultError("2080", message, f"{message}: {value}", element)


def bad_enumeration(element: str, value: object) -> FaultError:
    """2170: a value that the enumeration does not have."""
    return FaultError("2170", "Invalid Enumeration", f"Invalid Enumeration : {value}", element)


def bad_reference(what: str, value: object) -> FaultError:
    """2500: a reference to a record that never was."""
    return FaultError("2500", "Invalid Reference Id", f"Invalid Reference Id : {what} element id {value} not found")


def not_found() -> FaultError:
    """610: deleted, never there, or inactive."""
    return FaultError(
        "610",
        "Object Not Found",
        "Object Not Found : Something you're trying to use has been made inactive. "
        "Check the fields with accounts, customers, items, vendors or employees.",
    )


def parent_and_job() -> FaultError:
    """6150: a parent without `Job`, or `Job` without a parent."""
    return FaultError(
        "6150",
        "ParentRef Required Error",
        "ParentRef is either required or not if Job is true or false.",
        "Job",
    )


def stale() -> FaultError:
    """5010: the SyncToken is not the record's."""
    return FaultError(
        "5010",
        "Stale Object Error",
        "Stale Object Error : You and Pat Baker were working on this at the same time. "
        "Pat Baker finished before you did, so your work was not saved.",
    )


def duplicate_name(whose: str) -> FaultError:
    """6240: the name is taken."""
    return FaultError(
        "6240",
        "Duplicate Name Exists Error",
        f"The name supplied already exists. : Another {whose} is already using this name. Please use a different name.",
    )


def duplicate_number(number: str, entity: str, held_by: str) -> FaultError:
    """6140: the document number is taken."""
    return FaultError(
        "6140",
        "Duplicate Document Number Error",
        "Duplicate Document Number Error : You must specify a different number. This number has already been used. "
        f"DocNumber={number} is assigned to TxnType={entity} with TxnId={held_by}",
    )


def wrong_amount(sent: object) -> FaultError:
    """6070: Amount is not Qty * UnitPrice."""
    return FaultError(
        "6070",
        "Amount calculation incorrect in the request.",
        f"Amount calculation incorrect in the request. Amount is not equal to UnitPrice * Qty. Supplied value:{sent}",
        "Line.Amount",
    )


def wrong_tax_code() -> FaultError:
    """6100: a company in the United States takes TAX and NON only."""
    return FaultError(
        "6100",
        "Invalid tax code",
        "Invalid tax code. For US companies, the tax code of a line is either TAX or NON.",
        "Line.SalesItemLineDetail.TaxCodeRef",
    )


def closed_period() -> FaultError:
    """6210: the books are closed for that day."""
    return FaultError(
        "6210",
        "Account Period Closed, Cannot Update Through Services API",
        "The account period has closed and the account books cannot be updated through the QBO Services API. "
        "Please use the QBO website to make these changes.",
    )


def business(detail: str) -> FaultError:
    """6000: a rule of the business, said in `detail`."""
    return FaultError(
        "6000",
        "A business validation error has occurred while processing your request",
        f"Business Validation Error: {detail}",
    )


def not_linkable(detail: str) -> FaultError:
    """620: the transaction cannot be linked."""
    return FaultError("620", "Transaction cannot be linked", f"Invalid linked transaction : {detail}", "Line.LinkedTxn")


def unsupported(operation: str) -> FaultError:
    """500: the operation is not supported."""
    return FaultError(
        "500", "Unsupported Operation", f"Operation {operation} is not supported.", operation, kind="SystemFault"
    )


def bad_query_text(detail: str) -> FaultError:
    """4000: the query does not parse."""
    return FaultError("4000", "Error parsing query", f"QueryParserError: {detail}")


def bad_query(detail: str) -> FaultError:
    """4001: the query parses and asks for what cannot be."""
    return FaultError("4001", "Invalid query", f"QueryValidationError: {detail}")


def batch_too_large(items_max: int) -> FaultError:
    """1040: more items than a batch may have."""
    return FaultError(
        "1040", "Batch too large", f"The maximum number of items in a batch request is {items_max}", "BatchItemRequest"
    )


def system() -> FaultError:
    """10000: something broke at Intuit's."""
    return FaultError(
        "10000",
        "An application error has occurred while processing your request",
        "System Failure Error: the request could not be completed",
        kind="SystemFault",
        status=500,
    )


_GATEWAY = {
    401: ("AuthenticationFailed", "003200", "AUTHENTICATION", "Token expired or invalid"),
    403: ("ApplicationAuthorizationFailed", "003100", "AuthorizationFault", "The app is not authorized for the realm"),
    429: ("ThrottleExceeded", "003001", "SERVICE", "The request limit was reached. Try again later"),
}


def gateway_body(status: int, now: datetime) -> dict[str, Any]:
    """What the gateway answers before a company is reached: lower-case names, and the code inside the message."""
    name, code, kind, detail = _GATEWAY[status]
    error = {
        "message": f"message={name}; errorCode={code}; statusCode={status}",
        "detail": detail,
        "code": code.lstrip("0"),
        "element": None,
    }
    empty_lists: dict[str, list[Any]] = {
        name: [] for name in ("batchItemResponse", "attachableResponse", "syncErrorResponse", "cdcresponse")
    }
    empty = dict.fromkeys(("warnings", "intuitObject", "report", "queryResponse", "requestId", "status"))
    return {
        **empty,
        **empty_lists,
        "fault": {"error": [error], "type": kind},
        "time": int(now.timestamp() * 1000),
    }


def fault_answer(fault: FaultError, now: datetime) -> dict[str, Any]:
    """A whole answer that is a fault."""
    return {"Fault": fault.body(), "time": wire_time(now, milliseconds=True)}
