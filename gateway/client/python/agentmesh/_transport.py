"""Requests that are repeated where a repeat is the same request."""

from __future__ import annotations

import email.utils
import http.client
import os
import random
import re
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

from ._errors import MeshError, TimedOut, refusal, unreachable

TRIES = 5
_again = (408, 425, 429, 502, 503, 504)
_idle = 100.0  # seconds without a byte: longer than a gateway holds an answer
_duration = re.compile(r"^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$")


def seconds(d: Any) -> float:
    """Seconds of 90, "90s", "10m" or "250ms"."""
    if isinstance(d, (int, float)):
        return float(d)
    parts = _duration.match(d or "-")
    if not parts:
        raise ValueError(f"{d!r} is no duration such as 90s or 10m")
    h, m, s, ms = (float(p or 0) for p in parts.groups())
    return (h * 60 + m) * 60 + s + ms / 1000


def waiting(s: float) -> str:
    """Prefer: wait, of at most a minute."""
    return f"wait={max(0, int(-(-min(s, 60) // 1)))}"


def repeatable(error: BaseException) -> bool:
    """Whether an error leaves open what happened, or says to come back."""
    return isinstance(error, MeshError) and (error.status == 0 or error.status in _again or error.retryable)


def backoff(n: int, error: BaseException) -> float:
    return max(getattr(error, "retry_after", 0), random.random() * min(0.1 * 2**n, 5))


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes):
        self.status, self.headers, self.body = status, headers, body


class Transport:
    def __init__(self, url: str, api_key: str | None = None, tenant: str | None = None, headers: dict | None = None, timeout: Any = None, context: ssl.SSLContext | None = None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the gateway's URL must look like http://127.0.0.1:8080")
        self.secure, self.host, self.port = parts.scheme == "https", parts.hostname, parts.port
        self.prefix, self.timeout, self.context = parts.path.rstrip("/"), timeout, context
        self.headers = {"User-Agent": "agentmesh-python/0.1", "Accept": "application/json", **(headers or {})}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        if tenant:
            self.headers["Mesh-Tenant"] = tenant
        self._kept = threading.local()

    def connect(self) -> http.client.HTTPConnection:
        kind: Any = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        more = {"context": self.context} if self.secure and self.context else {}
        proxy = urllib.request.getproxies().get("https" if self.secure else "http")
        if not proxy or urllib.request.proxy_bypass(self.host):
            return kind(self.host, self.port, timeout=_idle, **more)
        at = urllib.parse.urlsplit(proxy if "//" in proxy else "//" + proxy)
        c = kind(at.hostname, at.port, timeout=_idle, **more)
        c.set_tunnel(self.host, self.port or (443 if self.secure else 80))
        return c

    def send(self, method: str, path: str, *, headers: dict | None = None, body: bytes | None = None, safe: bool = True, timeout: Any = None) -> Answer:
        """An answer. It is asked for again where that may help."""
        limit = timeout if timeout is not None else self.timeout
        end = float("inf") if limit is None else time.monotonic() + seconds(limit)
        headers = traced(headers or {})
        n = 0
        while True:
            n += 1
            left = end - time.monotonic()
            if left <= 0:
                raise TimedOut(f"the answer to {method} {path} has not come in time")
            try:
                answer = self.once(method, path, headers, body, min(left, _idle))
                if 200 <= answer.status < 300:
                    return answer
                error = refusal(answer.status, answer.body, retry_after(answer.headers))
            except (OSError, http.client.HTTPException) as cause:
                if time.monotonic() >= end:
                    raise TimedOut(f"the answer to {method} {path} has not come in time") from cause
                error = unreachable(f"{method} {path}", cause)
            if n == TRIES or not repeatable(error) or not (safe or error.status == 429):
                raise error
            time.sleep(min(backoff(n, error), max(end - time.monotonic(), 0)))

    def once(self, method: str, path: str, headers: dict, body: bytes | None, timeout: float) -> Answer:
        """One answer, over a connection that is kept for its thread."""
        kept = getattr(self._kept, "connection", None)
        self._kept.connection = None
        if kept is not None and _stale(kept):
            kept.close()
            kept = None
        c = kept or self.connect()
        try:
            c.timeout = timeout
            if c.sock:
                c.sock.settimeout(timeout)
            c.request(method, self.prefix + path, body=body, headers={**self.headers, **headers})
            if c.sock:
                c.sock.settimeout(timeout)
            response = c.getresponse()
            answer = Answer(response.status, response.headers, response.read())
            if not response.will_close:
                self._kept.connection, c = c, None
            return answer
        finally:
            if c is not None:
                c.close()

    def close(self) -> None:
        kept, self._kept.connection = getattr(self._kept, "connection", None), None
        if kept is not None:
            kept.close()

    def open(self, path: str, headers: dict) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A connection of its own, for a stream."""
        c = self.connect()
        try:
            c.request("GET", self.prefix + path, headers={**self.headers, **headers})
            return c, c.getresponse()
        except BaseException:
            c.close()
            raise


def traced(headers: dict) -> dict:
    """The headers of the trace that the caller is in, where OpenTelemetry is installed."""
    try:
        from opentelemetry import propagate
    except ImportError:
        return headers
    found: dict = {}
    propagate.inject(found)
    return {**found, **headers}


def _stale(c: http.client.HTTPConnection) -> bool:
    """Whether the other side has closed a connection that is kept."""
    if c.sock is None:
        return True
    try:
        c.sock.setblocking(False)
        try:
            return c.sock.recv(1, 0 if isinstance(c.sock, ssl.SSLSocket) else socket.MSG_PEEK) is not None
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            c.sock.setblocking(True)
    except OSError:
        return True


def retry_after(headers: Any) -> float:
    text = headers.get("Retry-After")
    if not text:
        return 0
    if text.isdecimal():
        return min(float(text), 3600)
    try:
        return min(max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0), 3600)
    except (TypeError, ValueError):
        return 0


def environment(url: str | None, api_key: str | None) -> tuple[str, str | None]:
    return url or os.environ.get("MESH_URL") or "http://127.0.0.1:8080", api_key or os.environ.get("MESH_API_KEY")
