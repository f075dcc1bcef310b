"""Runs a handler without a mesh, for the tests of agents.

    ended = testing.run(research, input={"topic": "tea"}, answers={"approve": True})
    assert ended.result == {"answer": "..."}

Steps are kept from run to run as the mesh keeps them: a wait ends a run, and the next
one begins at the top.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ._agent import Agent
from ._errors import Canceled
from ._job import Job
from ._serve import encode, perform


@dataclasses.dataclass
class Ended:
    """What a task came to. lines are all that the handler said, in all runs."""

    status: str = "completed"  # completed, failed, canceled; input_required: a question without an answer
    result: Any = None
    error: dict | None = None
    reply: dict | None = None
    text: str = ""
    runs: int = 0
    steps: list = dataclasses.field(default_factory=list)
    lines: list = dataclasses.field(default_factory=list)

    def named(self, kind: str) -> list:
        """The lines of a type."""
        return [line for line in self.lines if line["type"] == kind]


class _Memory:
    def __init__(self, ended: Ended, cancel_at: str | None):
        self.ended, self.cancel_at = ended, cancel_at
        self.job: Job = None  # type: ignore[assignment]

    def say(self, line: dict) -> None:
        line = json.loads(encode(line))
        self.ended.lines.append(line)
        if line["type"] == self.cancel_at:
            self.job.canceled.set()

    def keep(self, line: dict) -> None:
        self.say(line)
        entry = {k: v for k, v in line.items() if k not in ("type", "ack")}
        if line["type"] == "started":
            entry["kind"] = "started"
        steps = self.ended.steps
        steps[:] = [s for s in steps if (s["name"], s["n"]) != (line["name"], line["n"])] + [entry]


def run(
    one: Agent, *, input: Any = None, instruction: str | None = None, text: str | None = None, state: dict | None = None,
    answers: dict | None = None, attempt: int = 1, cancel_at: str | None = None, gateway: str = "", key: str = "",
) -> Ended:
    """Runs a task to its end. text is the message of a turn, and state that of its
    session. answers are those of questions and events, by name. cancel_at is the type of
    line at which the task is canceled."""
    ended, checkpoint = Ended(), None
    for ended.runs in range(1, 1000):
        raw = {"task_id": "tsk_test", "kind": "task", "agent": one.name, "attempt": attempt, "instruction": instruction, "input": input,
               "run": ended.runs, "steps": list(ended.steps), "checkpoint": checkpoint}
        if text is not None:
            raw["kind"], raw["session"] = "turn", {"session_id": "ses_test", "messages": [{"role": "user", "text": text}], "state": state or {}}
        memory = _Memory(ended, cancel_at)
        job = memory.job = Job({k: v for k, v in raw.items() if v is not None}, memory, gateway, key)
        before = len(ended.lines)
        try:
            perform(job, [one])
        except Canceled:
            ended.status = "canceled"
            return ended
        said = ended.lines[before:]
        for line in said:
            checkpoint = line["value"] if line["type"] == "checkpoint" else checkpoint
        if not job.waiting:
            return _end(ended, said)
        waits = [line for line in said if line["type"] in ("sleep", "ask", "wait")]
        if not any([_come(ended, line, answers or {}) for line in waits]):
            ended.status = "input_required"
            return ended
    raise RuntimeError("the handler waits without end")


def _come(ended: Ended, line: dict, answers: dict) -> bool:
    entry = {"name": line["name"], "n": line["n"]}
    if line["type"] == "sleep":
        ended.steps.append({**entry, "kind": "sleep"})
    elif line["name"] in answers:
        ended.steps.append({**entry, "kind": "answer", "value": answers[line["name"]]})
    else:
        return False
    return True


def _end(ended: Ended, said: list) -> Ended:
    ended.text = "".join(line["text"] for line in said if line["type"] == "output")
    for line in said:
        if line["type"] == "error":
            ended.status, ended.error = "failed", line
        elif line["type"] == "result":
            ended.result = line["result"]
        elif line["type"] == "reply":
            ended.reply = line
    if ended.text and not any(line["type"] in ("result", "reply") for line in said):
        ended.result = {"text": ended.text}
    return ended
