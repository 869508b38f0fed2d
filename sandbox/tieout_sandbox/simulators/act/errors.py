"""How Act! says no: ASP.NET's error body, which holds no code of Act!'s own."""

from __future__ import annotations

import json

JSON = "application/json; charset=utf-8"

_SENTENCES = {
    400: "The request is invalid.",
    404: "The requested resource does not exist on the server.",
    409: "The resource already exists.",
    415: "The request entity's media type is not supported for this resource.",
    423: "The upload is in progress.",
    429: "API calls quota exceeded.",
}
REFUSALS = {
    "4030": "4030: The versions of Act! and of the Web API are not compatible.",
    "4031": "4031: The subscription does not include API access.",
    "4032": "4032: The user does not have the API access permission.",
}


class ActError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message or _SENTENCES.get(status, "An error has occurred.")


def error_body(status: int, message: str = "") -> tuple[bytes, str]:
    """The body and content type for a status; 401 is bare. Like the real one it shows a stack trace."""
    if status == 401:  # noqa: PLR2004 - an HTTP status
        return b"", "text/html"
    body = {
        "message": "An error has occurred.",
        "exceptionMessage": message or _SENTENCES.get(status, "An error has occurred."),
        "exceptionType": "System.NullReferenceException" if status == 500 else "System.Web.Http.HttpException",  # noqa: PLR2004 - an HTTP status
        "stackTrace": "   at act.web.api.Controllers.Handle(HttpRequest request) in D:\\build\\act.web.api\\Handle.cs",
    }
    return json.dumps(body).encode(), JSON
