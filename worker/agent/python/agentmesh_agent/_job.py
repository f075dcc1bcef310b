"""One attempt of a task, as its handler sees it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import json
import threading
from typing import Any, Callable, Protocol

from . import _calls
from ._errors import Canceled, InputTimeout, Permanent, StepFailed, Suspended


@dataclasses.dataclass
class Reply:
    """Answers a turn of a session, and leaves a new state (an object); None: as it was."""

    message: str
    state: dict | None = None


@dataclasses.dataclass
class StepInfo:
    """What the function of a step may want to know."""

    key: str  # the same in every run, for effects that know idempotency keys
    again: bool  # it has begun before, and nobody knows how it ended


class Wire(Protocol):
    """How a job speaks: the ways to run a handler each have one."""

    def say(self, line: dict) -> None: ...

    def keep(self, line: dict) -> None:
        """Says a line, and returns when it is durable."""


class Job:
    """The object that an agent receives (raw), and what it may say."""

    def __init__(self, raw: dict, wire: Wire, gateway: str = "", key: str = ""):
        self.raw, self._wire = raw, wire
        self.task_id: str = raw.get("task_id", "")
        self.kind: str = raw.get("kind", "task")
        self.agent: str = raw.get("agent", "")
        self.attempt: int = raw.get("attempt", 1)
        self.instruction: str | None = raw.get("instruction")
        self.input: Any = raw.get("input")
        self.labels: dict = raw.get("labels") or {}
        self.metadata: Any = raw.get("metadata")
        self.deadline: str | None = raw.get("deadline")
        self.scheduled_at: str | None = raw.get("scheduled_at")
        self.traceparent: str = raw.get("traceparent", "")
        self.session: dict | None = raw.get("session")
        self.run: int = raw.get("run", 1)
        self.canceled = threading.Event()
        self.waiting = False  # it has said that it waits
        self.silent = True  # it has put out nothing
        self._past = {(s["name"], s["n"]): s for s in raw.get("steps") or []}
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._called: dict[str, int] = {}  # how often each call was made
        self._steps = 0  # that run
        self._idle = threading.Condition(self._lock)
        self.gateway, self.api_key = gateway, key

    # Of a turn.

    @property
    def messages(self) -> list:
        """The conversation, oldest first; the last one is the new one."""
        return (self.session or {}).get("messages") or []

    @property
    def text(self) -> str:
        """The new message of a turn; else the instruction."""
        return self.messages[-1]["text"] if self.messages else self.instruction or ""

    @property
    def state(self) -> dict:
        """What the agent left in the session."""
        return (self.session or {}).get("state") or {}

    # What it says while it runs.

    def check(self) -> None:
        """Raises Canceled when nobody wants the attempt any more."""
        if self.canceled.is_set():
            raise Canceled()

    def progress(self, percent: float, message: str = "") -> None:
        self._say({"type": "progress", "percent": percent, "message": message})

    def milestone(self, name: str, message: str = "", data: Any = None) -> None:
        line = {"type": "milestone", "name": name, "message": message}
        self._say(line if data is None else {**line, "data": data})

    def output(self, text: str) -> None:
        """Text that readers see as it comes. Without a result it is the result."""
        if text:
            self.silent = False
            self._say({"type": "output", "text": text})

    def _say(self, line: dict) -> None:
        self.check()
        self._wire.say(line)

    # What is kept.

    def step(self, name: str, work: Callable, *, marked: bool = False) -> Any:
        """What work returned: now, or in the run that did it. Work may take a StepInfo.
        A Permanent error is kept, too, any other is not. marked notes the beginning, so
        that StepInfo.again can say that it may have been done."""
        n, known = self._begin(name)
        if known and known.get("kind") is None:
            return self._known(known)
        with self._working():
            if marked and not known:
                self._wire.keep({"type": "started", "name": name, "n": n})
            info = StepInfo(self.step_key(name, n), bool(known))
            try:
                value = work(info) if _takes_info(work) else work()
            except Permanent as error:
                self._wire.keep(_line(name, n, error=_failure(error)))
                raise
            value = json.loads(json.dumps(value))  # as the runs that follow find it
            self._wire.keep(_line(name, n, value=value))
            return value

    async def astep(self, name: str, work: Callable) -> Any:
        """step, of a coroutine function."""
        n, known = self._begin(name)
        if known and known.get("kind") is None:
            return self._known(known)
        aside = asyncio.get_running_loop().run_in_executor
        with self._working():
            info = StepInfo(self.step_key(name, n), bool(known))
            try:
                value = await (work(info) if _takes_info(work) else work())
            except Permanent as error:
                await aside(None, self._wire.keep, _line(name, n, error=_failure(error)))
                raise
            value = json.loads(json.dumps(value))
            await aside(None, self._wire.keep, _line(name, n, value=value))
            return value

    @contextlib.contextmanager
    def _working(self):
        with self._lock:
            self._steps += 1
        try:
            yield
        finally:
            with self._idle:
                self._steps -= 1
                self._idle.notify_all()

    def step_key(self, name: str, n: int = 0) -> str:
        """The idempotency key of a step."""
        return f"{self.task_id}.{name}.{n}"

    def checkpoint(self, value: Any) -> None:
        """Keeps one value, the newest."""
        self._needs_steps("checkpoint")
        self._say({"type": "checkpoint", "value": value})

    @property
    def last_checkpoint(self) -> Any:
        return self.raw.get("checkpoint")

    def sleep(self, name: str, duration: str | float | None = None, *, until: str | None = None) -> None:
        """Ends the run, and has the handler run again when the time is over."""
        self._wait("sleep", name, {"for": duration, "until": until})

    def ask(self, name: str, prompt: str, *, schema: Any = None, timeout: str | float | None = None) -> Any:
        """The answer of a person. Until it is there the handler does not go on."""
        from ._agent import schema_of

        return self._wait("ask", name, {"prompt": prompt, "schema": None if schema is None else schema_of(schema), "timeout": timeout})

    def wait(self, name: str, *, timeout: str | float | None = None) -> Any:
        """What came with an event that somebody else tells of."""
        return self._wait("wait", name, {"timeout": timeout})

    def _wait(self, kind: str, name: str, members: dict) -> Any:
        n, known = self._begin(name)
        if known:
            return self._known(known, InputTimeout)
        self.waiting = True
        self._say({"type": kind, "name": name, "n": n, **{k: v for k, v in members.items() if v is not None}})
        raise Suspended()

    def _begin(self, name: str) -> tuple[int, dict | None]:
        self.check()
        self._needs_steps(f"step {name!r}")
        with self._lock:
            n = self._counts.get(name, 0)
            self._counts[name] = n + 1
        return n, self._past.get((name, n))

    def _needs_steps(self, what: str) -> None:
        if "run" not in self.raw:
            raise Permanent(f"{what}: this agent keeps no steps; write protocol: steps beside its command in agents.yaml", "no_steps")

    def _known(self, entry: dict, failure: type = StepFailed) -> Any:
        if "error" in entry:
            error = entry["error"]
            raise failure(error.get("message") or error.get("code") or "failed", error.get("code", ""))
        if "value" not in entry and entry.get("value_url"):
            return _calls.get(entry["value_url"], self.api_key or self.raw.get("lease", ""))
        return entry.get("value")

    def settle(self) -> None:
        """Waits until no step is at work in another thread."""
        with self._idle:
            self._idle.wait_for(lambda: self._steps == 0)

    # Other agents.

    def call(self, agent: str, input: Any = None, *, instruction: str | None = None) -> Any:
        """Runs another agent and returns its result: a task of its own in the same
        trace, canceled with this one, and found again when this one is retried."""
        return _calls.call(self, agent, input, instruction)

    def _nth_call(self, same: str) -> int:
        """Which of the equal calls of this run the next one is, from 0."""
        with self._lock:
            n = self._called.get(same, 0)
            self._called[same] = n + 1
            return n


def _line(name: str, n: int, **what: Any) -> dict:
    return {"type": "step", "name": name, "n": n, **what}


def _failure(error: Permanent) -> dict:
    return {"code": error.code or "agent_error", "message": error.message or type(error).__name__}


def _takes_info(work: Callable) -> bool:
    try:
        return any(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
            for p in inspect.signature(work).parameters.values()
        )
    except (TypeError, ValueError):
        return False
