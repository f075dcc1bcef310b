"""Requests to a fake mesh, and how it answers."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import re
from typing import Any

# The members of bodies, so that a test finds a word that is none.
MEMBERS = {
    "task": ["agent", "callback_events", "callback_secret_ref", "callback_url", "deadline", "delay", "input", "instruction", "labels", "max_attempts", "metadata", "run_at", "timeout"],
    "session": ["agent"],
    "message": ["agent", "answer", "message", "on_busy", "text"],
    "answer": ["name", "value"],
}


@dataclasses.dataclass
class Request:
    """A request as the gateway had it."""

    method: str
    path: str
    query: dict
    headers: dict
    body: Any
    params: dict = dataclasses.field(default_factory=dict)

    @property
    def wait(self) -> float | None:
        """Seconds for which the answer may be held."""
        found = re.fullmatch(r"wait=(\d+)", self.headers.get("Prefer", ""))
        return float(found[1]) if found else None


class Refusal(Exception):
    """An answer that is a problem; a route may raise it."""

    def __init__(self, status: int, code: str, *, detail: str = "", errors: list | None = None, retry_after: float | None = None):
        super().__init__(detail or code)
        self.status = status
        self.headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self.problem = {"type": f"/problems/{code}", "title": code, "status": status, "detail": detail or code, "code": code, "retryable": status in (429, 503)}
        if errors:
            self.problem["errors"] = errors


def invalid(*faults: tuple[str, str]) -> Refusal:
    return Refusal(422, "validation_failed", detail=f"{faults[0][0][1:]}: {faults[0][1]}", errors=[{"pointer": p, "detail": d} for p, d in faults])


def checked(body: Any, known: list[str]) -> dict:
    faults = [(f"/{name}", "there is no such member") for name in body or {} if name not in known]
    if faults:
        raise invalid(*faults)
    return body or {}


@dataclasses.dataclass
class Reply:
    """A whole answer, or a stream of events, as http.client has them."""

    status: int
    body: bytes = b""
    headers: Any = dataclasses.field(default_factory=dict)
    chunks: Any = None

    def read(self) -> bytes:
        return self.body

    def read1(self, _: int = -1) -> bytes:
        return next(self.chunks, b"")

    def close(self) -> None:
        if hasattr(self.chunks, "stop"):
            self.chunks.stop()


def reply(value: Any, status: int = 200) -> Reply:
    return value if isinstance(value, Reply) else Reply(204) if value is None else Reply(status, json.dumps(value).encode())


def awaited(value: Any) -> Any:
    """The value of a coroutine."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())
