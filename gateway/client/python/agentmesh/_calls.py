"""The operations of the gateway as methods of their nouns."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from typing import Any, Callable, Iterator

from ._events import Event, Stream
from ._transport import Transport, seconds, waiting

_options = ("idempotency_key", "wait", "respond_async", "parent", "if_match", "last_event_id", "request_timeout", "headers")


class Pages:
    """A list: iterated it is all that is in it, page after page; page() is the first."""

    def __init__(self, op: dict, read: Callable[[dict], Any]):
        self._op, self._read = op, read

    def page(self) -> Any:
        return self._read({})

    def pages(self) -> Iterator[Any]:
        more: dict = {}
        while True:
            page = self._read(more)
            yield page
            if not page.get(self._op["next"]):
                return
            more = {self._op["from"]: page[self._op["next"]]}

    def __iter__(self) -> Iterator[Any]:
        for page in self.pages():
            yield from page.get(self._op["items"]) or []


class Noun:
    def __init__(self, transport: Transport):
        self._transport = transport

    def _call(self, op: dict, args: list, more: dict) -> Any:
        """Calls an operation: its path's parameters, its body, and by their names what is
        in its query or its body, and options."""
        path, args = op["path"], list(args)
        for name in op.get("params", ()):
            value = args.pop(0)
            if not isinstance(value, str) or not value:
                raise TypeError(f"{op['name']}() needs {name}: a text")
            path = path.replace("{%s}" % name, urllib.parse.quote(value, safe=""))
        body = args.pop(0) if op.get("body") else None
        options = {k: more.pop(k) for k in _options if more.get(k) is not None or k in more}
        members = {k.rstrip("_"): v for k, v in more.items() if v is not None}
        query = {}
        if op.get("body"):
            body = {**(body or {}), **members} if body is not None or members else None
        else:
            query = members
            unknown = set(query) - set(op.get("query", ())) - ({"labels"} if "label.{key}" in op.get("query", ()) else set())
            if unknown:
                raise TypeError(f"{op['name']}() takes no {', '.join(sorted(unknown))}")
        headers = self._headers(op, options, body)
        at = lambda extra: path + _search({**query, **extra})  # noqa: E731
        if op.get("stream"):
            return Stream(self._transport, at({}), options.get("last_event_id") or "", _last(op))
        raw = None if body is None else json.dumps(body, allow_nan=False).encode()
        safe = op["method"] not in ("POST", "PATCH") or bool(op.get("key"))

        def read(extra: dict) -> Any:
            answer = self._transport.send(op["method"], at(extra), headers=headers, body=raw, safe=safe, timeout=options.get("request_timeout"))
            return json.loads(answer.body) if answer.body else None

        return Pages(op, read) if op.get("items") else read({})

    @staticmethod
    def _headers(op: dict, options: dict, body: Any) -> dict:
        headers = dict(options.get("headers") or {})
        if op.get("key"):
            headers["Idempotency-Key"] = json.dumps(options.get("idempotency_key") or str(uuid.uuid4()))
        if options.get("parent"):
            headers["Mesh-Parent-Task"] = options["parent"]
        if options.get("if_match"):
            headers["If-Match"] = options["if_match"]
        if options.get("respond_async"):
            headers["Prefer"] = "respond-async"
        elif options.get("wait") is not None:
            headers["Prefer"] = waiting(seconds(options["wait"]))
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers


def _last(op: dict) -> Callable[[Event], bool]:
    if op.get("noun") == "sessions":
        return lambda e: e.type == "closed"
    if op.get("noun"):
        return lambda e: e.type == "status" and e.data.get("done") is True
    return lambda e: False


def _search(query: dict) -> str:
    pairs = []
    for name, value in query.items():
        if name == "labels":
            pairs += [(f"label.{k}", v) for k, v in value.items()]
        elif value not in (None, ""):
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).lower() if isinstance(value, bool) else str(value)
            pairs.append((name, text))
    return "?" + urllib.parse.urlencode(pairs) if pairs else ""
