"""Microsoft Graph over HTTP: one table of routes, which single calls and the parts of a batch share."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from flask import Blueprint, Flask, Response, jsonify, request

from tieout_sandbox.simulators.limits import Throttle
from tieout_sandbox.simulators.outlook import notifications
from tieout_sandbox.simulators.outlook.errors import JSON, GraphError, body_of
from tieout_sandbox.simulators.outlook.sign_in import SignIn, pages
from tieout_sandbox.simulators.outlook.state import (
    CONTACTS,
    DEFAULT_FOLDER,
    FOLDERS,
    LISTS,
    TASKS,
    Item,
    OutlookState,
    token_of,
    token_text,
)

BASE = "/v1.0"
_PARTS_MAX = 20
_AT_ONCE = 4
_ID = r"[^/]+"
_PAGE_SIZE = re.compile(r"odata\.maxpagesize=(\d+)")
_TOP_MAX = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """One request, of its own or a part of a batch; `path` begins behind the version, `base` is what stands before."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    base: str

    @property
    def json(self) -> dict[str, Any]:
        """The body.

        Raises:
            GraphError: 400 if it is not a JSON object.
        """
        if not isinstance(self.body, dict):
            raise GraphError(400, "Unable to read JSON request payload.", code="BadRequest")
        return self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Api:
    """Answers calls one at a time, holding `lock`; who else touches `state` takes the lock too."""

    def __init__(self, state: OutlookState, on_change: Callable[[], None]) -> None:
        self.state = state
        self.sign_in = SignIn(state)
        self.subscriptions = notifications.Subscriptions(state)
        self.lock = threading.Lock()
        self.in_flight_most = 0
        self._on_change = on_change
        self._counting = threading.Lock()
        self._in_flight = 0
        self._throttle = Throttle(600)
        root = r"/(?P<root>me|users/[^/]+)"
        task = rf"{root}/todo/lists/(?P<list_>{_ID})/tasks"
        self._routes: Sequence[tuple[re.Pattern[str], Mapping[str, Callable[..., Reply]]]] = [
            (re.compile(pattern), methods)
            for pattern, methods in (
                (root, {"GET": self._profile}),
                (rf"{root}/contacts", {"GET": self._contacts, "POST": self._new_contact}),
                (rf"{root}/contacts/delta", {"GET": self._contact_delta}),
                (rf"{root}/contacts/(?P<key>{_ID})", self._of_item(CONTACTS)),
                (rf"{root}/contacts/(?P<key>{_ID})/extensions", {"POST": self._of_extension(CONTACTS)}),
                (rf"{root}/contacts/(?P<key>{_ID})/extensions/(?P<name>{_ID})", self._of_extensions(CONTACTS)),
                (rf"{root}/contactFolders", {"GET": self._folders, "POST": self._new_folder}),
                (rf"{root}/contactFolders/delta", {"GET": self._folder_delta}),
                (rf"{root}/contactFolders/(?P<key>{_ID})", self._of_item(FOLDERS)),
                (
                    rf"{root}/contactFolders/(?P<folder>{_ID})/contacts",
                    {"GET": self._contacts, "POST": self._new_contact},
                ),
                (rf"{root}/contactFolders/(?P<folder>{_ID})/contacts/delta", {"GET": self._contact_delta}),
                (rf"{root}/todo/lists", {"GET": self._lists, "POST": self._new_list}),
                (rf"{root}/todo/lists/delta", {"GET": self._list_delta}),
                (rf"{root}/todo/lists/(?P<key>{_ID})", self._of_item(LISTS)),
                (task, {"GET": self._tasks, "POST": self._new_task}),
                (rf"{task}/delta", {"GET": self._task_delta}),
                (rf"{task}/(?P<key>{_ID})", self._of_item(TASKS)),
                (rf"{task}/(?P<key>{_ID})/extensions", {"POST": self._of_extension(TASKS)}),
                (rf"{task}/(?P<key>{_ID})/extensions/(?P<name>{_ID})", self._of_extensions(TASKS)),
                (r"/subscriptions", {"GET": self._subscriptions}),
                (rf"/subscriptions/(?P<key>{_ID})", {"PATCH": self._renew, "DELETE": self._unsubscribe}),
                (rf"/subscriptions/(?P<key>{_ID})/reauthorize", {"POST": self._reauthorize}),
            )
        ]

    def snapshot(self) -> dict[str, Any]:
        """The state as plain JSON values, taken between two calls."""
        with self.lock:
            return self.state.snapshot()

    def handle(self, call: Call) -> Reply:
        """The answer to a call."""
        places = min(len(call.json.get("requests", [])), _AT_ONCE) if call.path == "/$batch" else 1
        if not self._enter(places):
            return _refusal(
                GraphError(429, "Application is over its MailboxConcurrency limit.", headers={"Retry-After": "5"})
            )
        try:
            if call.path == "/subscriptions" and call.method == "POST":
                return self._subscribe(call)
            with self.lock:
                application = self.sign_in.check(call.headers.get("authorization", ""))
                return self._batch(call, application) if call.path == "/$batch" else self._answer(call, application)
        except GraphError as error:
            return _refusal(error)
        finally:
            with self._counting:
                self._in_flight -= places

    def _enter(self, places: int) -> bool:
        with self._counting:
            if self._in_flight + places > self.state.settings.in_flight_max:
                return False
            self._in_flight += places
            self.in_flight_most = max(self.in_flight_most, self._in_flight)
            return True

    def _batch(self, call: Call, application: bool) -> Reply:
        asked = call.json.get("requests")
        if not isinstance(asked, list) or not 1 <= len(asked) <= _PARTS_MAX:
            raise GraphError(400, "Number of batch request steps exceeds the maximum value of 20.", code="BadRequest")
        if len({str(each.get("id")).lower() for each in asked}) < len(asked):
            raise GraphError(400, "Request Ids must be unique.", code="BadRequest")
        answers: dict[str, dict[str, Any]] = {}
        for each in asked:
            waits = each.get("dependsOn") or []
            if any(answers.get(other, {"status": 424})["status"] >= 400 for other in waits):  # noqa: PLR2004 - HTTP
                reply = _refusal(GraphError(424, "Failed dependency.", code="FailedDependency"))
            else:
                reply = self._answer(_part(each, call), application)
            answers[str(each["id"])] = {
                "id": str(each["id"]),
                "status": reply.status,
                "headers": {"Content-Type": JSON, **reply.headers},
                **({} if reply.body is None else {"body": reply.body}),
            }
        # In any order, as it is there.
        return Reply(200, {"responses": list(reversed(answers.values()))})

    def _answer(self, call: Call, application: bool) -> Reply:
        try:
            self._spend()
            return self._dispatch(call, application)
        except GraphError as error:
            return _refusal(error)

    def _spend(self) -> None:
        if not self._throttle.take("", self.state.settings.requests_per_10_minutes, self.state.clock.now()):
            raise GraphError(429, "Application is over its limit.", headers={"Retry-After": "30"})

    def _dispatch(self, call: Call, application: bool) -> Reply:
        for pattern, methods in self._routes:
            found = pattern.fullmatch(call.path)
            if found is None:
                continue
            if call.method not in methods:
                raise GraphError(405, f"Method '{call.method}' not allowed.")
            named = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
            self._check_root(named.pop("root", None), application)
            reply = methods[call.method](call, **named)
            if call.method != "GET":
                self._on_change()
            return reply
        raise GraphError(
            400, f"Resource not found for the segment '{call.path.strip('/').partition('/')[0]}'.", code="BadRequest"
        )

    def _check_root(self, root: str | None, application: bool) -> None:
        if root == "me" and application:
            raise GraphError(400, "/me request is only valid with delegated authentication flow.", code="BadRequest")
        if (
            root is not None
            and root != "me"
            and root.removeprefix("users/").lower() != self.state.settings.mailbox.lower()
        ):
            raise GraphError(404, "The user does not exist.", code="ErrorInvalidUser")

    # Records

    def _profile(self, _: Call) -> Reply:
        mailbox = self.state.settings.mailbox
        return Reply(
            200, {"id": "5b7c0000-0000-4c55-9a7e-0d6f2f7b9a11", "displayName": "Sales", "userPrincipalName": mailbox}
        )

    def _contacts(self, call: Call, folder: str = DEFAULT_FOLDER) -> Reply:
        return self._page(call, self.state.inside(CONTACTS, self._folder(folder)))

    def _new_contact(self, call: Call, folder: str = DEFAULT_FOLDER) -> Reply:
        return Reply(201, self.state.add(CONTACTS, self._folder(folder), call.json))

    def _contact_delta(self, call: Call, folder: str = DEFAULT_FOLDER) -> Reply:
        return self._delta(call, CONTACTS, self._folder(folder))

    def _folder(self, key: str) -> str:
        return key if key == DEFAULT_FOLDER else str(self.state.found(FOLDERS, key).row["id"])

    def _folders(self, call: Call) -> Reply:
        return self._page(call, [one for one in self._tree() if one.row["parentFolderId"] == DEFAULT_FOLDER])

    def _folder_delta(self, call: Call) -> Reply:
        rows = [self.state.shown(one) for one in self._tree()]
        return Reply(200, {"value": rows, "@odata.deltaLink": f"{call.base}{call.path}?$deltatoken=folders"})

    def _tree(self) -> list[Item]:
        folders = self.state.inside(FOLDERS, FOLDERS)
        if not self.state.settings.lists_default_folder:
            return folders
        row = {"id": DEFAULT_FOLDER, "displayName": "Contacts", "parentFolderId": DEFAULT_FOLDER}
        return [Item(FOLDERS, FOLDERS, 0, row), *folders]

    def _new_folder(self, call: Call) -> Reply:
        return Reply(201, self.state.add(FOLDERS, FOLDERS, call.json))

    def _lists(self, call: Call) -> Reply:
        return self._page(call, self.state.inside(LISTS, LISTS))

    def _list_delta(self, call: Call) -> Reply:
        rows = [self.state.shown(one) for one in self.state.inside(LISTS, LISTS)]
        return Reply(200, {"value": rows, "@odata.deltaLink": f"{call.base}{call.path}?$deltatoken=lists"})

    def _new_list(self, call: Call) -> Reply:
        return Reply(201, self.state.add(LISTS, LISTS, call.json))

    def _tasks(self, call: Call, list_: str) -> Reply:
        return self._page(call, self.state.inside(TASKS, self._list(list_)))

    def _new_task(self, call: Call, list_: str) -> Reply:
        return Reply(201, self.state.add(TASKS, self._list(list_), call.json))

    def _task_delta(self, call: Call, list_: str) -> Reply:
        return self._delta(call, TASKS, self._list(list_))

    def _list(self, key: str) -> str:
        return str(self.state.found(LISTS, key).row["id"])

    def _of_item(self, kind: str) -> Mapping[str, Callable[..., Reply]]:
        def read(call: Call, key: str, list_: str = "") -> Reply:
            item = self.state.found(kind, key, list_)
            return Reply(
                200, self.state.shown(item, select=call.query.get("$select", ""), expand=call.query.get("$expand", ""))
            )

        def patch(call: Call, key: str, list_: str = "") -> Reply:
            item = self.state.found(kind, key, list_)
            return Reply(200, self.state.patch(item, call.json, call.headers.get("if-match", "")))

        def delete(_: Call, key: str, list_: str = "") -> Reply:
            self.state.remove(self.state.found(kind, key, list_))
            return Reply(204)

        return {"GET": read, "PATCH": patch, "DELETE": delete}

    def _of_extension(self, kind: str) -> Callable[..., Reply]:
        def add(call: Call, key: str, list_: str = "") -> Reply:
            item = self.state.found(kind, key, list_)
            return Reply(201, self.state.extend(item, str(call.json.get("extensionName", "")), call.json, new=True))

        return add

    def _of_extensions(self, kind: str) -> Mapping[str, Callable[..., Reply]]:
        def read(_: Call, key: str, name: str, list_: str = "") -> Reply:
            item = self.state.found(kind, key, list_)
            if name not in item.extensions:
                raise GraphError(404, "The extension was not found.")
            return Reply(200, item.extensions[name])

        def change(call: Call, key: str, name: str, list_: str = "") -> Reply:
            return Reply(200, self.state.extend(self.state.found(kind, key, list_), name, call.json, new=False))

        return {"GET": read, "PATCH": change}

    # Pages

    def _page(self, call: Call, items: Sequence[Item]) -> Reply:
        size = self._size(call)
        top = call.query.get("$top", "")
        size = min(int(top), _TOP_MAX) if top.isdigit() else size
        skip = int(call.query.get("$skip", "0"))
        shown = [self.state.shown(one, select=call.query.get("$select", "")) for one in items[skip : skip + size]]
        body: dict[str, Any] = {"value": shown}
        if len(items) > skip + size:
            query = {**call.query, "$skip": str(skip + size)}
            body["@odata.nextLink"] = f"{call.base}{_quoted(call.path)}?{_query(query)}"
        return Reply(200, body)

    def _delta(self, call: Call, kind: str, place: str) -> Reply:
        text = call.query.get("$deltatoken") or call.query.get("$skiptoken")
        token = token_of(text) if text else {}
        rows, further, last = self.state.changed(kind, place, token, self._size(call))
        name, option = ("@odata.deltaLink", "$deltatoken") if last else ("@odata.nextLink", "$skiptoken")
        return Reply(200, {"value": rows, name: f"{call.base}{_quoted(call.path)}?{option}={token_text(further)}"})

    def _size(self, call: Call) -> int:
        found = _PAGE_SIZE.search(call.headers.get("prefer", ""))
        return min(int(found[1]), self.state.settings.page_max) if found else self.state.settings.page_default

    # Notifications

    def _subscriptions(self, _: Call) -> Reply:
        return Reply(200, {"value": [dict(one.row) for one in self.subscriptions.living()]})

    def _subscribe(self, call: Call) -> Reply:
        """The addresses are asked without the lock: they may call back."""
        with self.lock:
            self.sign_in.check(call.headers.get("authorization", ""))
            one = self.subscriptions.prepared(call.json)
        for name in ("notificationUrl", "lifecycleNotificationUrl"):
            if one.row.get(name):
                notifications.handshake(one.row[name])
        with self.lock:
            self.subscriptions.rows[one.row["id"]] = one
        return Reply(201, dict(one.row))

    def _renew(self, call: Call, key: str) -> Reply:
        return Reply(200, dict(self.subscriptions.renew(key, call.json)))

    def _unsubscribe(self, _: Call, key: str) -> Reply:
        del self.subscriptions.rows[self.subscriptions.found(key).row["id"]]
        return Reply(204)

    def _reauthorize(self, _: Call, key: str) -> Reply:
        self.subscriptions.authorize(self.subscriptions.found(key))
        return Reply(204)

    def push(self) -> dict[str, int]:
        """Deliver what is due."""
        with self.lock:
            told = self.subscriptions.deliveries()
        return notifications.deliver(told)


def _part(each: Mapping[str, Any], outer: Call) -> Call:
    url = urlsplit(str(each.get("url", "")))
    path = url.path if url.path.startswith("/") else f"/{url.path}"
    headers = {str(name).lower(): str(value) for name, value in (each.get("headers") or {}).items()}
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return replace(
        outer, method=str(each.get("method")), path=path, query=query, headers=headers, body=each.get("body")
    )


def _refusal(error: GraphError) -> Reply:
    return Reply(error.status, body_of(error), error.headers)


def _query(query: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def _quoted(path: str) -> str:
    return quote(path, safe="/%")


def install(app: Flask, api: Api) -> None:
    """Give the application Graph, Microsoft's sign-in, and end-points of the simulator's own."""

    @app.route(f"{BASE}/<path:_rest>", methods=["GET", "POST", "PATCH", "DELETE"])
    def answer(_rest: str) -> Response:
        raw = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path
        path = urlsplit(raw).path.removeprefix(BASE)
        try:
            body = json.loads(request.get_data()) if request.get_data() else None
        except ValueError:
            body = "no JSON"
        call = Call(
            method=request.method,
            path=path,
            query=request.args.to_dict(),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            base=f"{request.host_url.rstrip('/')}{BASE}",
        )
        try:
            reply = api.handle(call)
        except GraphError as error:
            reply = _refusal(error)
        content = b"" if reply.body is None else json.dumps(reply.body).encode()
        headers = {"request-id": "8f1c3f6e-0000-4c55-9a7e-0d6f2f7b9a11", **reply.headers}
        return Response(content, reply.status, headers, content_type=JSON)

    sandbox = Blueprint("outlook", __name__, url_prefix="/_sandbox")

    @sandbox.post("/notifications/push")
    def push() -> Response:
        return jsonify(api.push())

    @sandbox.post("/notifications/lifecycle")
    def lifecycle() -> Response:
        with api.lock:
            told = api.subscriptions.lifecycle(request.get_json()["event"])
        return jsonify(notifications.deliver(told))

    @sandbox.post("/delta/expire")
    def expire() -> Response:
        with api.lock:
            api.state.epoch += 1
            return jsonify({"epoch": api.state.epoch})

    @sandbox.post("/revoke")
    def revoke() -> Response:
        with api.lock:
            api.sign_in.revoke()
        return jsonify({})

    @sandbox.get("/writes")
    def count_writes() -> Response:
        return jsonify({"writes": api.state.writes})

    @sandbox.get("/in_flight")
    def most_in_flight() -> Response:
        return jsonify({"most": api.in_flight_most})

    app.register_blueprint(sandbox)
    app.register_blueprint(pages(api.sign_in, api.lock))
