"""Microsoft's published description of Graph as a judge of what is sent and answered.

`tests/data/outlook/README.md` says where the description comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from xml.etree import ElementTree as ET

from tieout.ports.http import Answer, Http, Request

_FILE = Path(__file__).parent.parent / "data" / "outlook" / "graph-v1.0.csdl"
_EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
_SEGMENT = r"[^/]+"
_TYPES = (
    (rf"/subscriptions(/{_SEGMENT})?", "subscription"),
    (rf"/{_SEGMENT}(/{_SEGMENT})?/extensions(/{_SEGMENT})?", "openTypeExtension"),
    (rf"(/contactFolders/{_SEGMENT})?/contacts(/delta|/{_SEGMENT})?", "contact"),
    (rf"/contactFolders(/delta|/{_SEGMENT})?", "contactFolder"),
    (rf"/todo/lists/{_SEGMENT}/tasks(/delta|/{_SEGMENT})?", "todoTask"),
    (rf"/todo/lists(/delta|/{_SEGMENT})?", "todoTaskList"),
)
_BATCH_PARTS_MAX = 20


class Description:
    """The types of the description by their name."""

    def __init__(self) -> None:
        schema = ET.parse(_FILE).getroot().iter(f"{_EDM}Schema")
        (only,) = schema
        self._types = {each.get("Name", ""): each for each in only if each.tag.endswith("Type")}

    def check(self, name: str, value: Any, where: str) -> None:
        """Return if the value is of the type.

        Raises:
            AssertionError: Naming the property that is not.
        """
        kind = self._types[name]
        if kind.tag == f"{_EDM}EnumType":
            assert value in {each.get("Name") for each in kind}, f"{where}: {value!r} is no {name}"
            return
        assert isinstance(value, Mapping), f"{where}: {value!r} is no {name}"
        properties = self._properties(name)
        for key, held in value.items():
            if "@" in key:
                continue
            place = f"{where}.{key}"
            if key not in properties:
                # A contact is called open, but Graph refuses names that it does not know.
                assert name in {"openTypeExtension", "resourceData"}, f"{place} does not exist on {name}"
                assert _is_plain(held), f"{place}: {held!r} is not plain"
                continue
            form, nullable = properties[key]
            if held is None:
                assert nullable, f"{place} is null"
            else:
                self._check_form(form, held, place)

    def _check_form(self, form: str, value: Any, where: str) -> None:
        if form.startswith("Collection("):
            assert isinstance(value, list), f"{where}: {value!r} is no list"
            for number, each in enumerate(value):
                self._check_form(form[len("Collection(") : -1], each, f"{where}[{number}]")
            return
        prefix, _, name = form.rpartition(".")
        if prefix != "Edm":
            self.check("openTypeExtension" if name == "extension" else name, value, where)
        elif name == "Boolean":
            assert isinstance(value, bool), f"{where}: {value!r} is no {name}"
        else:
            assert isinstance(value, str), f"{where}: {value!r} is no {name}"
            if name == "DateTimeOffset":
                assert datetime.fromisoformat(value).tzinfo is not None, f"{where}: {value!r} is no {name}"
            if name == "Guid":
                UUID(value)

    def _properties(self, name: str) -> dict[str, tuple[str, bool]]:
        kind = self._types[name]
        base = kind.get("BaseType", "").removeprefix("graph.")
        inherited = self._properties(base) if base else {}
        own = {
            each.get("Name", ""): (each.get("Type", ""), each.get("Nullable") != "false")
            for each in kind
            if each.tag in {f"{_EDM}Property", f"{_EDM}NavigationProperty"}
        }
        return {**inherited, **own}


DESCRIPTION = Description()


class Judged:
    """Holds every request, and every answer that is a success, against the description.

    Attributes:
        judged: How many bodies, sent and answered, by type.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self.judged: dict[str, int] = {}

    def send(self, request: Request) -> Answer:
        answer = self._http.send(request)
        target = urlsplit(request.url)
        if not target.path.startswith("/v1.0/"):
            return answer  # the sign-in
        sent = json.loads(request.body) if request.body else None
        got = json.loads(answer.body) if answer.status < 300 and answer.body else None
        if target.path == "/v1.0/$batch":
            self._batch(sent, got)
        else:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self._one(target.path.removeprefix("/v1.0"), headers, sent, got)
        return answer

    def _batch(self, sent: Any, got: Any) -> None:
        parts = sent["requests"]
        assert 1 <= len(parts) <= _BATCH_PARTS_MAX
        assert len({part["id"].lower() for part in parts}) == len(parts)
        answers = {each["id"]: each for each in (got or {}).get("responses", ())}
        for part in parts:
            assert set(part) <= {"id", "method", "url", "headers", "body", "dependsOn"}
            assert part["url"].startswith("/")
            answer = answers.get(part["id"], {"status": 500})
            headers = {name.lower(): value for name, value in part["headers"].items()}
            body = answer.get("body") if answer["status"] < 300 else None
            self._one(urlsplit(part["url"]).path, headers, part.get("body"), body)

    def _one(self, path: str, headers: Mapping[str, str], sent: Any, got: Any) -> None:
        name = type_of(path)
        if name is None:
            return
        assert 'IdType="ImmutableId"' in headers.get("prefer", ""), path
        if sent is not None:
            assert headers["content-type"] == "application/json"
            self._judge(name, sent, f"sent {path}")
        rows = got["value"] if isinstance(got, dict) and isinstance(got.get("value"), list) else [got]
        for row in rows:
            if row is not None and "@removed" not in row:
                assert name != "contact" or isinstance(row.get("@odata.etag"), str)
                self._judge(name, row, f"answered {path}")

    def _judge(self, name: str, value: Any, where: str) -> None:
        DESCRIPTION.check(name, value, where)
        self.judged[name] = self.judged.get(name, 0) + 1


def type_of(path: str) -> str | None:
    """The type of what stands at a path behind the version; None if the description has none."""
    inside = re.sub(rf"^/(me|users/{_SEGMENT})", "", path)
    inside = re.sub(rf"^/todo/lists/{_SEGMENT}/tasks/{_SEGMENT}/extensions", "/tasks/x/extensions", inside)
    return next((name for pattern, name in _TYPES if re.fullmatch(pattern, inside)), None)


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(each) and not isinstance(each, list) for each in value)
    return not isinstance(value, Mapping)
