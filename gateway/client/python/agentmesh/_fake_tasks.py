"""Tasks and sessions of a FakeMesh."""

from __future__ import annotations

import copy
import datetime
import json
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator

from ._fake_answers import MEMBERS, Refusal, Reply, Request, awaited, checked, reply

if TYPE_CHECKING:
    from ._fake import Gateway

_final = ("completed", "failed", "canceled")


def now(later: float = 0) -> str:
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=later)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Canceled(BaseException):
    """Nobody wants the task any more: raised where its agent says something."""


class Stop:
    """The bytes of a stream, until its reader has enough."""

    def __init__(self, log: "Log", after: str | None):
        self._log, self._at, self._after, self._over = log, 0, None if not after else int(after), False

    def stop(self) -> None:
        with self._log.changed:
            self._over = True
            self._log.changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        log = self._log
        with log.changed:
            while not self._over:
                while self._at < len(log.events):
                    id, type, data = log.events[self._at]
                    self._at += 1
                    if self._after is not None and id is not None and id <= self._after:
                        continue
                    line = "" if id is None else f"id: {id}\n"
                    return f"event: {type}\n{line}data: {json.dumps(data)}\n\n".encode()
                if log.over:
                    break
                log.changed.wait()
        raise StopIteration


class Log:
    """Events that readers follow."""

    def __init__(self, gateway: "Gateway"):
        self.gateway, self.changed = gateway, gateway.changed
        self.events: list[tuple] = []
        self.over = False
        self._revision = 0

    def tell(self, type: str, data: dict) -> None:
        with self.changed:
            id = None
            if type != "output":
                id, self._revision = self._revision, self._revision + 1
            self.events.append((id, type, data))
            self.changed.notify_all()

    def stream(self, after: str | None) -> Stop:
        return Stop(self, after)


class Record(Log):
    """A task, and what is told of it."""

    def __init__(self, gateway: "Gateway", id: str, body: dict, *, also: Log | None = None, text: str | None = None, **more: Any):
        super().__init__(gateway)
        self.id, self.body, self.also, self.text = id, body, also, text
        self.messages: list[dict] = []
        self.state: Any = {}
        self.reply: str | None = None
        self.questions: list[dict] = []
        self.answered: dict[str, Any] = {}
        self.canceled = threading.Event()
        self.left: Callable[[], None] = lambda: None  # called when the agent has nothing to say any more
        self.output = 0
        kind = {"tsk_": "task", "act_": "action", "trn_": "turn"}[id[:4]]
        self.raw: dict[str, Any] = {
            "task_id": id, "status": "initiated" if kind == "action" else "pending", "done": False, "kind": kind, "agent": body["agent"], "attempt": 0,
            "created_at": now(), "status_url": f"/{'actions' if kind == 'action' else 'tasks'}/{id}", **more,
        }
        if kind != "task":
            self.raw[f"{kind}_id"] = id
        self.raw.update({name: body[name] for name in ("labels", "metadata") if name in body})
        self.status()

    def tell(self, type: str, data: dict) -> None:
        super().tell(type, data)
        if self.also:
            self.also.tell(type, data)

    def status(self, **patch: Any) -> None:
        with self.changed:
            if self.raw["done"]:
                return
            self.raw.update(patch, updated_at=now())
            self.raw["done"] = self.over = self.raw["status"] in _final
            if self.over:
                self.raw["finished_at"] = now()
            self.tell("status", {**self.shown(), "at": now()})

    def shown(self) -> dict:
        with self.changed:
            raw = copy.deepcopy(self.raw)
            if self.questions:
                raw.update(question=self.questions[0], questions=list(self.questions))
            return raw

    def accepted(self) -> dict:
        action = "action_id" in self.raw
        names = ("action_id" if action else "task_id", "status_url", "agent", "created_at", "retried_from")
        return {**{name: self.raw[name] for name in names if name in self.raw}, "status": "initiated" if action else "pending", **({"message": "Processing your request."} if action else {})}

    def said(self) -> dict:
        """What a user says in a turn."""
        return {"role": "user", "text": self.text, "at": self.raw["created_at"], "turn_id": self.id}

    def run(self, agent: Callable[[Any], Any]) -> None:
        if self.raw["done"]:
            return
        self.status(status="processing", attempt=1, started_at=now())
        try:
            value = json.loads(json.dumps(awaited(agent(FakeJob(self)))))
            self.status(status="completed", progress="100%", progress_percent=100, result=value)
        except Canceled:
            pass
        except Exception as error:
            self.status(status="failed", error={"code": getattr(error, "code", "agent_error"), "message": str(error), "attempt": 1, "retryable": False})

    def answer(self, name: str, value: Any) -> None:
        """An answer, which may come before its question."""
        with self.changed:
            self.answered[name] = value
            if any(q["name"] == name for q in self.questions):
                self.questions = [q for q in self.questions if q["name"] != name]
                self.status(status="pending")
            self.changed.notify_all()

    def cancel(self) -> None:
        with self.changed:
            self.questions = []
            self.status(status="canceled")
            self.left()
            self.canceled.set()
            self.changed.notify_all()

    def ended(self, timeout: float | None = None) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.raw["done"], timeout)


class FakeJob:
    """A task or a turn, as its agent sees it. What is returned is the result; of a turn the
    reply, as a text or as a dict with message and state."""

    def __init__(self, record: Record):
        self._record = record
        body = copy.deepcopy(record.body)
        self.task_id, self.agent, self.attempt = record.id, body["agent"], 1
        self.instruction, self.input, self.labels = body.get("instruction"), body.get("input"), body.get("labels", {})
        self.text = record.text if record.text is not None else self.instruction or ""
        self.messages, self.state = record.messages, record.state
        self.canceled = record.canceled

    def _say(self) -> Record:
        if self.canceled.is_set():
            raise Canceled
        return self._record

    def progress(self, percent: int, message: str = "") -> None:
        record = self._say()
        record.raw.update(progress=f"{percent}%", progress_percent=percent, **({"message": message} if message else {}))
        record.tell("progress", {**record.shown(), "at": now()})

    def milestone(self, name: str, message: str = "", data: Any = None) -> None:
        record = self._say()
        one = {"n": len(record.raw.get("milestones", [])) + 1, "name": name, "at": now(), "attempt": 1, **({"message": message} if message else {}), **({} if data is None else {"data": data})}
        record.raw["milestones"] = [*record.raw.get("milestones", []), one]
        record.tell("milestone", {"task_id": record.id, **one})

    def output(self, text: str) -> None:
        record = self._say()
        record.tell("output", {"task_id": record.id, "attempt": 1, "offset": record.output, "text": text})
        record.output += len(text.encode())

    def ask(self, name: str, prompt: str, schema: Any = None) -> Any:
        """Waits for the answer of a person."""
        record = self._say()
        if record.raw["kind"] == "turn":
            raise RuntimeError("the fake mesh has no questions in turns: reply with the question as the message")
        with record.changed:
            if name not in record.answered:
                record.questions.append({"name": name, "prompt": prompt, "asked_at": now(), **({} if schema is None else {"schema": schema})})
                record.status(status="input_required")
                record.changed.wait_for(lambda: name in record.answered or self.canceled.is_set())
                self._say().status(status="processing")
            return record.answered[name]


class Session(Log):
    def __init__(self, gateway: "Gateway", id: str, agent: str):
        super().__init__(gateway)
        self.id, self.agent, self.made = id, agent, now()
        self.messages: list[dict] = []
        self.state: Any = {}
        self.turns: dict[str, Record] = {}
        self.open: list[Record] = []

    def leave(self, record: Record) -> None:
        """A turn is open no more."""
        with self.changed:
            if record in self.open:
                self.open.remove(record)
                if record.raw["status"] == "canceled":
                    self.messages.append({**record.said(), "interrupted": True})

    def shown(self) -> dict:
        with self.changed:
            ids = [turn.id for turn in self.open]
            return {
                "session_id": self.id, "agent": self.agent, "busy": bool(ids), "turns": len({m["turn_id"] for m in self.messages if "turn_id" in m}), "messages": len(self.messages),
                "created_at": self.made, "updated_at": self.messages[-1]["at"] if self.messages else self.made, "expires_at": now(86400),
                **({"open_turn": ids[0]} if ids else {}), **({"waiting": ids[1:]} if ids[1:] else {}),
            }


class Sessions:
    """The sessions of a gateway."""

    def __init__(self, gateway: "Gateway"):
        self.gateway = gateway
        self.all: dict[str, Session] = {}

    def routes(self) -> dict:
        return {
            "GET /sessions": lambda r: {"sessions": [s.shown() for s in self.all.values()], "next_cursor": "", "scanned": len(self.all)},
            "POST /sessions": lambda r: self._create(checked(r.body, MEMBERS["session"])),
            "GET /sessions/{id}": lambda r: {**self._of(r).shown(), **({"state": self._of(r).state} if r.query.get("include") == "state" else {})},
            "DELETE /sessions/{id}": lambda r: self._close(self._of(r)),
            "GET /sessions/{id}/messages": lambda r: self._transcript(self._of(r), int(r.query.get("after", 0))),
            "POST /sessions/{id}/messages": lambda r: self._say(self._of(r), checked(r.body, MEMBERS["message"]), r),
            "GET /sessions/{id}/events": lambda r: Reply(200, chunks=self._of(r).stream(r.headers.get("Last-Event-ID") or r.query.get("after"))),
            "GET /sessions/{id}/turns/{turn_id}": self._read,
            "POST /sessions/{id}/turns/{turn_id}/cancel": self._cancel,
        }

    def _of(self, r: Request) -> Session:
        if r.params["id"] not in self.all:
            raise Refusal(404, "session_not_found", detail=f"There is no session {r.params['id']}.")
        return self.all[r.params["id"]]

    def _turn(self, r: Request) -> Record:
        record = self._of(r).turns.get(r.params["turn_id"])
        if record is None:
            raise Refusal(404, "turn_not_found", detail=f"There is no turn {r.params['turn_id']}.")
        return record

    def _read(self, r: Request) -> dict:
        record = self._turn(r)
        if r.wait is not None:
            record.ended(r.wait)
        return _shown(record)

    def _cancel(self, r: Request) -> dict:
        record = self._turn(r)
        record.cancel()
        return _shown(record)

    def _create(self, body: dict) -> Any:
        greeting = self.gateway.agent(body.get("agent")).greeting
        session = Session(self.gateway, self.gateway.id("ses_"), body["agent"])
        if greeting:
            session.messages.append({"role": "agent", "text": greeting, "at": now()})
        self.all[session.id] = session
        shown = session.shown()
        return reply({"message": greeting, **{name: shown[name] for name in ("session_id", "agent", "created_at", "expires_at")}}, 201)

    def _close(self, session: Session) -> None:
        for turn in list(session.open):
            turn.cancel()
        del self.all[session.id]
        session.over = True
        session.tell("closed", {"session_id": session.id, "reason": "deleted"})

    @staticmethod
    def _transcript(session: Session, after: int) -> dict:
        return {"session_id": session.id, "messages": session.messages[after:], "first": after + 1}

    def _say(self, session: Session, body: dict, r: Request) -> Any:
        busy = body.get("on_busy", "reject")
        with session.changed:
            if session.open and busy == "reject":
                raise Refusal(409, "session_busy", detail="A turn is open.")
            before = [] if busy == "interrupt" else list(session.open)
            if busy == "interrupt":
                for turn in list(session.open):
                    turn.cancel()
            text = body.get("text") or body.get("message") or json.dumps(body.get("answer"))
            run = self.gateway.agent(session.agent).run
            record = Record(self.gateway, self.gateway.id("trn_"), {"agent": session.agent}, also=session, text=text, session_id=session.id)
            self.gateway.tasks[record.id] = session.turns[record.id] = record
            session.open.append(record)
            record.left = lambda: session.leave(record)
        threading.Thread(target=_run, args=(session, record, run, before), daemon=True).start()
        if r.headers.get("Prefer") != "respond-async":
            record.ended(30 if r.wait is None else r.wait)
        if not record.raw["done"]:
            return reply({"session_id": session.id, "turn_id": record.id, "status": "pending", "status_url": f"/sessions/{session.id}/turns/{record.id}", "agent": session.agent, "created_at": record.raw["created_at"]}, 202)
        came = record.shown()
        return {"session_id": session.id, "message": record.reply if came["status"] == "completed" else None, "turn_id": record.id, "status": came["status"], **({"error": came["error"]} if "error" in came else {})}


def _run(session: Session, record: Record, agent: Callable[[Any], Any], before: list[Record]) -> None:
    for turn in before:
        turn.ended()
    record.messages, record.state = [*session.messages, record.said()], copy.deepcopy(session.state)

    def turn_of(job: FakeJob) -> dict:
        try:
            value = awaited(agent(job))
            came = {"message": value} if isinstance(value, str) else value
            if not isinstance(came, dict) or not isinstance(came.get("message"), str):
                raise TypeError("an agent answers a turn with a text, or with message and state")
            with session.changed:
                job._say()
                session.messages = [*record.messages, {"role": "agent", "text": came["message"], "at": now(), "turn_id": record.id}]
                session.state = came.get("state", session.state)
                record.reply = came["message"]
            return {"message": came["message"]}
        finally:
            record.left()

    record.run(turn_of)
    if record.raw["status"] == "completed":
        session.tell("reply", {"session_id": session.id, "message": record.reply, "turn_id": record.id, "at": now()})


def _shown(record: Record) -> dict:
    turn = {**record.shown(), "text": record.text}
    if record.reply is not None and turn["status"] == "completed":
        turn["message"] = record.reply
    return turn
