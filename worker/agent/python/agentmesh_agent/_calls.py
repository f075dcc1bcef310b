"""Requests to the mesh."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
import urllib.error
import urllib.request
from typing import Any

from ._errors import AgentError, ChildFailed, Permanent

_tries = 5
_again = (408, 425, 429, 502, 503, 504)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args):
        return None  # the key is for this address only


_open = urllib.request.build_opener(_NoRedirect).open


def request(method: str, url: str, key: str, body: Any = None, headers: dict | None = None, timeout: float = 90) -> Any:
    """The JSON of an answer. A request is repeated where that may help; each has
    what makes a repeat the same request."""
    raw = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    for n in range(1, _tries + 1):
        pause = 0.0
        try:
            with _open(urllib.request.Request(url, raw, sent, method=method), timeout=timeout) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            if error.code not in _again or n == _tries:
                raise _refusal(error.code, text) from None
            pause = _seconds(error.headers.get("Retry-After"))
        except OSError as error:
            if n == _tries:
                raise AgentError(f"{method} {url.split('?')[0]}: {error}", "call_failed") from error
        time.sleep(max(pause, random.random() * 0.1 * 2**n))
    return None


def _refusal(status: int, text: bytes) -> AgentError:
    try:
        problem = json.loads(text)
        message, code = problem.get("detail") or problem["title"], problem.get("code", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, code = f"the mesh answered {status}", ""
    if status in (401, 409):
        return AgentError(message, code)
    return Permanent(message, code) if 400 <= status < 500 else AgentError(message, code)


def _seconds(text: str | None) -> float:
    try:
        return min(float(text or 0), 60)
    except ValueError:
        return 1


def get(url: str, key: str) -> Any:
    return request("GET", url, key)


def call(job, agent: str, input: Any, instruction: str | None) -> Any:
    """A child task, and its result."""
    if not job.gateway:
        raise Permanent("the mesh's address is not known: MESH_GATEWAY_URL is not set", "no_gateway")
    body = {k: v for k, v in (("agent", agent), ("input", input), ("instruction", instruction)) if v is not None}
    headers = {"Mesh-Parent-Task": job.task_id, "Idempotency-Key": _key(job, body), "Prefer": "wait=30"}
    if job.traceparent:
        headers["Traceparent"] = job.traceparent
    child = request("POST", f"{job.gateway}/tasks", job.api_key, body, headers)
    while child["status"] not in ("completed", "failed", "canceled"):
        job.check()
        child = request("GET", f"{job.gateway}/tasks/{child['task_id']}", job.api_key, None, {"Prefer": "wait=30"})
    if child["status"] != "completed":
        error = child.get("error") or {}
        raise ChildFailed(f"{agent}: " + (error.get("message") or child["status"]), task=child)
    if "result" not in child and child.get("result_url"):
        return get(_absolute(job.gateway, child["result_url"]), job.api_key)
    return child.get("result")


def _key(job, body: Any) -> str:
    """The key of a call: that of the n-th equal call is the same in every attempt, so that a
    retry finds the child of the attempt before."""
    same = hashlib.sha256(json.dumps(body).encode()).hexdigest()[:32]
    return f"call-{same}-{job._nth_call(same)}"


def _absolute(gateway: str, url: str) -> str:
    return gateway.rstrip("/") + url if url.startswith("/") else url


def environment() -> tuple[str, str]:
    """Where the mesh is, and the key for it."""
    return os.environ.get("MESH_GATEWAY_URL", "").rstrip("/"), os.environ.get("MESH_API_KEY", "")
