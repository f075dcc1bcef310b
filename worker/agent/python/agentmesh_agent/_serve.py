"""The ways to run handlers: once for each task, one task after the other, or as a
service. The environment says which."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any, Callable

from . import _calls
from ._agent import Agent, choose, describe, registered
from ._errors import Canceled, Permanent, Suspended, told
from ._job import Job, Reply

_grace = 4.0  # seconds from SIGTERM to the end, whatever the handler does


def serve(*agents: Agent, raw_output: bool = False) -> None:
    """Runs the agents of this program, all that are registered when none is named, as
    its environment says: MESH_AGENT_LISTEN (host:port) as a service, MESH_POOL one task
    after the other, and else one task. raw_output lets what the handler prints be output."""
    mine = list(agents) or registered()
    if "--describe" in sys.argv[1:]:
        print(json.dumps(describe(mine), indent=2))
    elif os.environ.get("MESH_AGENT_LISTEN"):
        from ._http import listen

        listen(mine, os.environ["MESH_AGENT_LISTEN"])
    elif sys.stdin.isatty():
        sys.exit("an agent of the mesh: it reads a task from standard input. Run it by agents.yaml, or set MESH_AGENT_LISTEN=127.0.0.1:9000 to run it as a service")
    else:
        _Program(mine, bool(os.environ.get("MESH_POOL")), raw_output).run()


def perform(job: Job, mine: list[Agent]) -> None:
    """Runs the handler of a job and says what it came to. Canceled is passed on."""
    try:
        value = _traced(job, lambda: _run(choose(mine, job.agent), job))
    except Suspended:
        value = None
    except Canceled:
        raise
    except BaseException as error:  # a library may exit, too
        if not job.waiting:
            traceback.print_exc()
            job.settle()
            job._wire.say(told(error))
            return
        value = None
    job.settle()
    if job.waiting:
        return
    if isinstance(value, Reply):
        line: dict[str, Any] = {"type": "reply", "message": value.message}
        job._wire.say(line if value.state is None else {**line, "state": value.state})
    elif value is not None or job.silent:
        try:
            job._wire.say({"type": "result", "result": value})
        except (TypeError, ValueError) as error:
            job._wire.say(told(Permanent(f"the result is no JSON: {error}", "bad_result")))


def _run(one: Agent, job: Job) -> Any:
    value = one.handler(job)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value


def _traced(job: Job, work: Callable[[], Any]) -> Any:
    """Runs work under the task's trace, where OpenTelemetry is installed."""
    leave = _enter(job.traceparent)  # not around work: its errors are its own, not those of an import
    try:
        return work()
    finally:
        leave()


def _enter(traceparent: Any) -> Callable[[], Any]:
    """Enters a trace, and returns what leaves it."""
    try:
        from opentelemetry import context, propagate
    except ImportError:
        return lambda: None
    token = context.attach(propagate.extract({"traceparent": traceparent}))
    return lambda: context.detach(token)


def encode(line: dict) -> bytes:
    """A line as JSON, which knows no NaN. Half a character becomes a mark."""
    return (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


class _Program:
    """Reads jobs and words from standard input, and writes lines to what was standard
    output."""

    def __init__(self, mine: list[Agent], pool: bool, raw_output: bool):
        self.mine, self.pool = mine, pool
        self.jobs: queue.Queue = queue.Queue()
        self.lock = threading.Lock()
        self.now: _Lines | None = None
        self.out = os.dup(1)
        if not raw_output or pool:
            sys.stdout.flush()
            os.dup2(2, 1)  # also for what is not Python

    def run(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.leave())
        threading.Thread(target=self.read, daemon=True).start()
        while True:
            wire = self.jobs.get()
            if wire is None:
                break
            try:
                self.work(wire)
            except Canceled:
                if not self.pool:
                    self.exit(143)
            if not self.pool:
                break
        self.exit(0)

    def begin(self, raw: dict, id: Any = None, key: str = "") -> None:
        wire = _Lines(self, id)
        gateway, own = _calls.environment()
        wire.job = Job(raw, wire, gateway, own or key)
        with self.lock:
            self.now = wire
        self.jobs.put(wire)

    def work(self, wire: _Lines) -> None:
        try:
            perform(wire.job, self.mine)
        finally:
            with self.lock:
                self.now = None
            if self.pool:
                wire.write({"type": "done"})

    def read(self) -> None:
        rest: list[bytes] = []
        while True:
            try:
                chunk = os.read(0, 1 << 16)
            except OSError:
                chunk = b""
            *whole, last = chunk.split(b"\n")
            for line in whole:
                self.take(b"".join(rest) + line)
                rest = []
            rest.append(last)
            if not chunk:
                break
        if b"".join(rest).strip():
            self.take(b"".join(rest))
        self.jobs.put(None)
        with self.lock:
            if self.now:
                self.now.ended()

    def take(self, line: bytes) -> None:
        message = json.loads(line)
        if not self.pool and "type" not in message:
            self.begin(message)
        elif message.get("type") == "job":
            self.begin(message["job"], message["id"], message.get("api_key", ""))
        else:
            with self.lock:
                if self.now and message.get("id") == self.now.id:
                    self.now.word(message)

    def leave(self) -> None:
        """SIGTERM: the handler may end by itself, or is ended."""
        now = self.now
        if now is None:
            os._exit(0)
        now.job.canceled.set()
        now.ended()
        late = threading.Timer(_grace, os._exit, [143])
        late.daemon = True
        late.start()

    def exit(self, status: int) -> None:
        sys.stderr.flush()
        if status or self.pool:
            os._exit(status)


class _Lines:
    """The lines of one job."""

    def __init__(self, program: _Program, id: Any):
        self.program, self.id = program, id
        self.job: Job = None  # type: ignore[assignment]
        self.kept: set = set()
        self.over = False
        self.bell = threading.Condition()

    def say(self, line: dict) -> None:
        self.write(line)

    def write(self, line: dict) -> None:
        data = encode(line if self.id is None else {**line, "id": self.id})
        with self.program.lock:
            while data:
                data = data[os.write(self.program.out, data):]

    def keep(self, line: dict) -> None:
        self.write({**line, "ack": True})
        want = (line["name"], line["n"])
        with self.bell:
            self.bell.wait_for(lambda: want in self.kept or self.over)
            if want not in self.kept:
                raise Canceled()
            self.kept.discard(want)

    def word(self, message: dict) -> None:
        with self.bell:
            if message.get("type") == "ok":
                self.kept.add((message.get("name"), message.get("n")))
            elif message.get("type") == "cancel":
                self.job.canceled.set()
                self.over = True
            self.bell.notify_all()

    def ended(self) -> None:
        """Nobody will say anything any more."""
        with self.bell:
            self.over = True
            self.bell.notify_all()
