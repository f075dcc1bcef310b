"""The client, and tasks and sessions as more than their answers."""

from __future__ import annotations

import json
import ssl
import time
import urllib.parse
from typing import Any, Iterator

from ._errors import TaskCanceled, TaskFailed, TimedOut
from ._events import Stream
from ._transport import Transport, backoff, environment, repeatable, seconds, waiting
from . import operations

_longest = 60.0  # seconds that a gateway holds an answer


class Task:
    """A task that was accepted. raw is what is known of it."""

    def __init__(self, mesh: "Mesh", raw: Any):
        self._mesh, self.raw = mesh, raw

    @property
    def id(self) -> str:
        return self.raw.get("task_id") or self.raw.get("action_id") or self.raw.get("turn_id") or ""

    @property
    def status(self) -> str:
        return self.raw.get("status", "")

    @property
    def done(self) -> bool:
        return self.status in ("completed", "failed", "canceled")

    @property
    def _path(self) -> str:
        return "/tasks/" + urllib.parse.quote(self.id, safe="")

    def wait(self, timeout: Any = None) -> "Task":
        """Waits until the task has ended, by long polls that survive a gateway's restart."""
        end = float("inf") if timeout is None else time.monotonic() + seconds(timeout)
        fails = 0
        while not self.done:
            left = end - time.monotonic()
            if left <= 0:
                raise TimedOut(f"the end of {self.id} has not come in time")
            try:
                answer = self._mesh._transport.send("GET", self._path, headers={"Prefer": waiting(min(left, _longest))}, safe=False)
                self.raw, fails = json.loads(answer.body), 0
                if not self.done:
                    time.sleep(0.05)  # the gateway may shut down and answer at once
            except Exception as error:
                fails += 1
                if not repeatable(error) or fails > 50:
                    raise
                time.sleep(min(backoff(min(fails, 5), error), max(end - time.monotonic(), 0)))
        return self

    def result(self, timeout: Any = None) -> Any:
        """The result. It raises TaskFailed and TaskCanceled."""
        self.wait(timeout)
        if self.status == "failed":
            raise TaskFailed(self.raw)
        if self.status == "canceled":
            raise TaskCanceled(self.raw)
        if "result" not in self.raw and self.raw.get("result_url"):
            return json.loads(self.raw_result())
        return self.raw.get("result")

    def raw_result(self) -> bytes:
        """The result of a completed task as it was sent."""
        return self._mesh._transport.send("GET", self._path + "/result").body

    def events(self, **more: Any) -> Stream:
        return self._mesh.tasks.events(self.id, **more)

    def cancel(self, **more: Any) -> "Task":
        self.raw = self._mesh.tasks.cancel(self.id, **more)
        return self

    def answer(self, value: Any, name: str | None = None, **more: Any) -> "Task":
        """Answers a question."""
        body: Any = {"value": value} if name is None else {"name": name, "value": value}
        self.raw = self._mesh.tasks.answer(self.id, body, **more)
        return self


class Session:
    """A conversation."""

    def __init__(self, mesh: "Mesh", raw: Any):
        self._mesh, self.raw = mesh, raw

    @property
    def id(self) -> str:
        return self.raw["session_id"]

    @property
    def greeting(self) -> str:
        """How the agent begins."""
        return self.raw.get("message") or ""

    def send(self, text: str, **more: Any) -> Any:
        """Says something and waits for the reply: message, turn_id, status."""
        said = self._mesh.sessions.post_message(self.id, {"text": text}, **more)
        if said.get("status") != "pending" or more.get("respond_async"):
            return said
        self._mesh.tasks.handle(said["turn_id"]).wait()
        return self._mesh.sessions.get_turn(self.id, said["turn_id"])

    def stream(self, text: str, **more: Any) -> Iterator[str]:
        """Says something and reads the reply as it comes."""
        said = self._mesh.sessions.post_message(self.id, {"text": text}, respond_async=True, **more)
        silent = True
        with self._mesh.tasks.events(said["turn_id"]) as events:
            for event in events:
                if event.type == "output":
                    silent = False
                    yield event.text
        turn = self._mesh.sessions.get_turn(self.id, said["turn_id"])
        if turn["status"] == "failed":
            raise TaskFailed(turn)
        if turn["status"] == "canceled":
            raise TaskCanceled(turn)
        if silent and turn.get("message"):
            yield turn["message"]

    def messages(self) -> Any:
        """The whole transcript."""
        return self._mesh.sessions.get_messages(self.id)

    def events(self, **more: Any) -> Stream:
        return self._mesh.sessions.events(self.id, **more)

    def delete(self) -> None:
        self._mesh.sessions.delete(self.id)


class _Tasks(operations.TasksCalls):
    _mesh: "Mesh"

    def create(self, body: Any = None, **more: Any) -> Task:  # type: ignore[override]
        return Task(self._mesh, super().create(body, **more))

    def retry(self, id: str, body: Any = None, **more: Any) -> Task:  # type: ignore[override]
        return Task(self._mesh, super().retry(id, body, **more))

    def handle(self, id: str) -> Task:
        """A task that is known by its id."""
        return Task(self._mesh, {"task_id": id})


class _Actions(operations.ActionsCalls):
    _mesh: "Mesh"
    handle = _Tasks.handle

    def create(self, body: Any = None, **more: Any) -> Task:  # type: ignore[override]
        return Task(self._mesh, super().create(body, **more))

    def retry(self, id: str, body: Any = None, **more: Any) -> Task:  # type: ignore[override]
        return Task(self._mesh, super().retry(id, body, **more))


class _Sessions(operations.SessionsCalls):
    _mesh: "Mesh"

    def create(self, body: Any = None, **more: Any) -> Session:  # type: ignore[override]
        return Session(self._mesh, super().create(body, **more))

    def handle(self, id: str) -> Session:
        return Session(self._mesh, {"session_id": id})


class Mesh(operations.RootCalls):
    """A client of one gateway. It is safe for several threads. url and api_key are those
    of MESH_URL and MESH_API_KEY where they are left out; timeout is that of each request,
    over all of its tries."""

    tasks: _Tasks
    actions: _Actions
    sessions: _Sessions

    def __init__(self, url: str | None = None, api_key: str | None = None, *, tenant: str | None = None, headers: dict | None = None, timeout: Any = None, context: ssl.SSLContext | None = None):
        url, api_key = environment(url, api_key)
        super().__init__(Transport(url, api_key, tenant, headers, timeout, context))
        special: dict[str, Any] = {"tasks": _Tasks, "actions": _Actions, "sessions": _Sessions}
        for noun in {op["noun"] for op in operations.OPERATIONS.values() if "noun" in op}:
            calls = special.get(noun) or getattr(operations, noun[0].upper() + noun[1:] + "Calls")
            made: Any = calls(self._transport)
            made._mesh = self
            setattr(self, noun, made)

    def close(self) -> None:
        """Closes the connection that is kept for this thread. Others end with their threads."""
        self._transport.close()

    def __enter__(self) -> "Mesh":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __getattr__(self, noun: str) -> Any:
        raise AttributeError(f"the mesh has no {noun}")
