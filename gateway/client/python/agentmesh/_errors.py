"""Refusals of the gateway, and how a task may end."""

from __future__ import annotations

import json
from typing import Any


class MeshError(Exception):
    """A refusal of the gateway (RFC 9457), or no answer of one: then status is 0. Ask
    for its code."""

    def __init__(self, problem: dict, retry_after: float = 0):
        self.problem, self.retry_after = problem, retry_after
        self.status: int = problem.get("status") or 0
        self.code: str = problem.get("code", "")
        self.detail: str = problem.get("detail") or problem.get("title") or ""
        self.trace_id: str = problem.get("trace_id", "")
        self.errors: list = problem.get("errors") or []
        self.retryable = bool(problem.get("retryable"))
        faults = "".join(f"\n  {e.get('pointer')}: {e.get('detail')}" for e in self.errors)
        super().__init__(f"{self.detail} ({self.code}){faults}")


class NotFound(MeshError):
    pass


class Conflict(MeshError):
    pass


class Invalid(MeshError):
    pass


class Denied(MeshError):
    pass


class RateLimited(MeshError):
    pass


class Unavailable(MeshError):
    """The gateway is away, or cannot take requests now."""


class TaskFailed(Exception):
    """A task has failed: its code, its message, the attempt, and the task."""

    def __init__(self, task: Any):
        error = task.get("error") or {"code": "failed", "message": "the task failed"}
        super().__init__(f"{error.get('message')} ({error.get('code')})")
        self.code, self.task = error.get("code"), task
        self.attempt = error.get("attempt", task.get("attempt"))


class TaskCanceled(Exception):
    def __init__(self, task: Any):
        super().__init__(f"the task {task.get('task_id')} was canceled")
        self.task = task


class TimedOut(Exception):
    """Something has not come in time. The task goes on."""


def _kind(status: int) -> type:
    if status in (404, 410):
        return NotFound
    if status in (409, 412):
        return Conflict
    if status in (401, 403):
        return Denied
    if status == 429:
        return RateLimited
    if status == 0 or status == 408 or status >= 500:
        return Unavailable
    return Invalid if status >= 400 else MeshError


def refusal(status: int, text: bytes, retry_after: float) -> MeshError:
    problem: Any = None
    try:
        problem = json.loads(text)
    except ValueError:
        pass
    if not isinstance(problem, dict) or not problem.get("code"):
        problem = {"title": "the answer is not the gateway's", "code": f"http_{status}"}
    return _kind(status)({**problem, "status": status}, retry_after)


def unreachable(what: str, cause: BaseException) -> MeshError:
    error = Unavailable({"title": f"{what}: {cause or type(cause).__name__}", "code": "unreachable", "status": 0, "retryable": True})
    error.__cause__ = cause
    return error
