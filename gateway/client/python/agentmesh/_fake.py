"""The gateway of a FakeMesh: it answers as the mesh does."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import threading
import urllib.parse
from typing import Any, Callable, Mapping

from ._fake_answers import MEMBERS, Refusal, Reply, Request, checked, invalid, reply
from ._fake_tasks import Record, Sessions

@dataclasses.dataclass
class FakeAgent:
    """An agent with a greeting, for sessions."""

    run: Callable[[Any], Any]
    greeting: str = ""


class Gateway:
    def __init__(self, agents: Mapping[str, Any], routes: Mapping[str, Callable]):
        self.agents, self.asked = agents, []  # type: ignore[var-annotated]
        self.refusals: list[Refusal] = []
        self.changed = threading.Condition(threading.RLock())
        self.tasks: dict[str, Record] = {}
        self._keys: dict[str, tuple] = {}
        self._made = 0
        own = {**_tasks(self), **Sessions(self).routes()}
        self._routes = []
        for route, answer in [*routes.items(), *own.items()]:
            method, path = route.split(" ")
            names = re.findall(r"\{(\w+)\}", path)
            pattern = "([^/]+)".join(re.escape(part) for part in re.split(r"\{\w+\}", path))
            self._routes.append((method, names, re.compile(pattern), answer))

    def answer(self, method: str, target: str, headers: dict, body: bytes | None) -> Reply:
        at = urllib.parse.urlsplit(target)
        request = Request(method, at.path, dict(urllib.parse.parse_qsl(at.query)), headers, None if body is None else json.loads(body))
        try:
            with self.changed:
                self.asked.append(request)
                if self.refusals:
                    raise self.refusals.pop(0)
            return self._once(request, body)
        except Refusal as refused:
            return Reply(refused.status, json.dumps(refused.problem).encode(), refused.headers)

    def _once(self, request: Request, body: bytes | None) -> Reply:
        """A request with an idempotency key is done once, also when it comes twice at once."""
        if request.method != "POST" or "Idempotency-Key" not in request.headers:
            return self._answer(request)
        key = f"{request.path} {request.headers['Idempotency-Key']}"
        with self.changed:
            while self._keys.get(key) == ():
                self.changed.wait()
            before = self._keys.setdefault(key, ())
        if before:
            if before[0] != body:
                raise Refusal(422, "idempotency_key_reused", detail="The Idempotency-Key belongs to another request.")
            return Reply(before[1].status, before[1].body, {"Idempotent-Replayed": "true"})
        done = None
        try:
            done = self._answer(request)
        finally:
            with self.changed:
                if done is None:
                    del self._keys[key]
                else:
                    self._keys[key] = (body, done)
                self.changed.notify_all()
        return done

    def _answer(self, request: Request) -> Reply:
        for method, names, pattern, answer in self._routes:
            found = method == request.method and pattern.fullmatch(request.path)
            if found:
                request.params = {name: urllib.parse.unquote(value) for name, value in zip(names, found.groups())}
                return reply(answer(request))
        raise Refusal(501, "not_faked", detail=f"the fake mesh has no answer to {request.method} {request.path}: give it one in routes")

    def agent(self, name: str | None) -> FakeAgent:
        one = self.agents.get(name or "")
        if one is None:
            raise Refusal(404, "agent_not_found", detail=f'There is no agent "{name}"; known are: {", ".join(self.agents)}.')
        return one if isinstance(one, FakeAgent) else FakeAgent(one)

    def id(self, prefix: str) -> str:
        with self.changed:
            self._made += 1
            return f"{prefix}{self._made:032d}"

    def task(self, id: str) -> Record:
        if id not in self.tasks:
            raise Refusal(404, "task_not_found", detail=f"There is no task {id}.")
        return self.tasks[id]

    def start(self, prefix: str, body: dict, **more: Any) -> Record:
        """A task that begins."""
        run = self.agent(body.get("agent")).run
        record = Record(self, self.id(prefix), body, **more)
        self.tasks[record.id] = record
        threading.Thread(target=record.run, args=(run,), daemon=True).start()
        return record


def _tasks(gateway: Gateway) -> dict:
    """What the mesh itself answers of tasks, actions and agents."""
    routes: dict[str, Callable[[Request], Any]] = {
        "GET /agents": lambda r: {"agents": [{"name": name, "live_workers": 1} for name in gateway.agents]},
        "GET /agents/{name}": lambda r: gateway.agent(r.params["name"]) and {"name": r.params["name"], "live_workers": 1},
        "GET /tasks": lambda r: _list(gateway, r.query),
    }

    def accepted(record: Record, r: Request) -> Reply:
        if r.wait is not None:
            record.ended(r.wait)
            if record.raw["done"]:
                return reply(record.shown())
        return reply(record.accepted(), 202)

    def create(prefix: str, r: Request) -> Reply:
        body = checked(r.body, MEMBERS["task"])
        gateway.agent(body.get("agent"))
        if "input" not in body and not body.get("instruction"):
            raise invalid(("/input", "a task needs an input or an instruction"))
        return accepted(gateway.start(prefix, body), r)

    def held(r: Request) -> Any:
        record = gateway.task(r.params["id"])
        if r.wait is not None:
            record.ended(r.wait)
        return record.shown()

    def retry(prefix: str, r: Request) -> Reply:
        old = gateway.task(r.params["id"])
        if old.raw["status"] not in ("failed", "canceled"):
            raise Refusal(409, "task_not_retryable", detail=f"The task is {old.raw['status']}.")
        return accepted(gateway.start(prefix, old.body, retried_from=old.id), r)

    def of(r: Request) -> Record:
        return gateway.task(r.params["id"])

    for noun, prefix in (("tasks", "tsk_"), ("actions", "act_")):
        routes[f"POST /{noun}"] = functools.partial(create, prefix)
        routes[f"GET /{noun}/{{id}}"] = held
        routes[f"POST /{noun}/{{id}}/retry"] = functools.partial(retry, prefix)
        routes[f"POST /{noun}/{{id}}/cancel"] = lambda r: _cancel(of(r))
        routes[f"GET /{noun}/{{id}}/events"] = lambda r: Reply(200, chunks=of(r).stream(r.headers.get("Last-Event-ID") or r.query.get("after")))
        routes[f"GET /{noun}/{{id}}/input"] = lambda r: Reply(200, json.dumps(of(r).body.get("input")).encode())
        routes[f"POST /{noun}/{{id}}/input"] = lambda r: _told(of(r), checked(r.body, MEMBERS["answer"]))
        routes[f"GET /{noun}/{{id}}/result"] = lambda r: _result(of(r))
    return routes


def _cancel(record: Record) -> dict:
    if record.raw["done"]:
        raise Refusal(409, "task_finished", detail="A finished task never changes. Retry it as a new task with POST /tasks/{id}/retry.")
    record.cancel()
    return record.shown()


def _told(record: Record, body: dict) -> Reply:
    name = body.get("name") or next((q["name"] for q in record.questions), None)
    if record.raw["done"]:
        raise Refusal(409, "task_finished", detail=f"The task is {record.raw['status']} and waits for nothing.")
    if name is None:
        raise invalid(("/name", "is missing: no question is open; name the one that the answer is for"))
    if name in record.answered:
        raise Refusal(409, "already_answered", detail=f"The question {name} has been answered already.")
    record.answer(name, body.get("value"))
    return reply(record.shown(), 202)


def _result(record: Record) -> Reply:
    if record.raw["status"] != "completed":
        raise Refusal(404, "result_not_ready", detail=f"The task is {record.raw['status']}.")
    return Reply(200, json.dumps(record.raw["result"]).encode())


def _list(gateway: Gateway, query: dict) -> dict:
    labels = {name[6:]: value for name, value in query.items() if name.startswith("label.")}
    wanted = query["status"].split(",") if "status" in query else None
    found = []
    for record in list(gateway.tasks.values()):
        task = record.shown()
        fits = (not wanted or task["status"] in wanted) and all(task.get(name) == query[name] for name in ("agent", "session_id") if name in query)
        if fits and all(task.get("labels", {}).get(name) == value for name, value in labels.items()):
            found.append(task)
    if query.get("order") != "created":
        found.reverse()
    start = int(query.get("cursor", 0))
    end = start + int(query.get("limit", 100))
    return {"tasks": found[start:end], "next_cursor": str(end) if end < len(found) else "", "scanned": len(found)}
