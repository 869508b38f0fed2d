"""`$batch`: many requests in one, as `multipart/mixed` of `application/http`. Pure.

Source: {base}/OData/Index, "Batching", read 2026-08-13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser

from tieout.connectors.act import odata
from tieout.ports.http import Answer

_CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One request: `path` begins behind the base address."""

    method: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{odata.query(self.options)}" if self.options else self.path


def encode(parts: Sequence[Part], *, base_path: str, host: str, boundary: str) -> bytes:
    """The body of a batch. `boundary` must not occur in any part."""
    lines: list[bytes] = []
    for part in parts:
        lines += [f"--{boundary}".encode(), b"Content-Type: application/http; msgtype=request", b""]
        lines += [f"{part.method} {base_path}{part.target} HTTP/1.1".encode(), f"Host: {host}".encode()]
        if part.body is not None:
            lines += [b"Content-Type: application/json", f"Content-Length: {len(part.body)}".encode()]
        lines += [b"", part.body or b""]
    return _CRLF.join([*lines, f"--{boundary}--".encode(), b""])


def decode(answer: Answer) -> list[Answer]:
    """The answers of the parts, in their order.

    Raises:
        ValueError: If the body is not of this form.
    """
    head = Message()
    head["Content-Type"] = answer.headers.get("content-type", "")
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/mixed" or not isinstance(boundary, str):
        raise ValueError("the answer to a batch is not multipart/mixed")
    pieces = (_CRLF + answer.body).split(_CRLF + b"--" + boundary.encode())
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):  # noqa: PLR2004 - what stands before, and the end
        raise ValueError("the answer to a batch is cut off")
    return [_answer(piece) for piece in pieces[1:-1]]


def _answer(piece: bytes) -> Answer:
    _, _, inner = piece.removeprefix(_CRLF).partition(_CRLF + _CRLF)
    head, _, body = inner.partition(_CRLF + _CRLF)
    status_line, _, headers = head.decode("latin-1").partition("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/"):
        raise ValueError("a part of the answer to a batch has no status")
    fields = {name.lower(): value for name, value in HeaderParser().parsestr(headers).items()}
    return Answer(int(rest.partition(" ")[0]), fields, body)
