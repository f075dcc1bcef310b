"""Handlers as an HTTP service: a POST is a task, and the answer its lines."""

from __future__ import annotations

import hmac
import json
import os
import select
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import _calls
from ._agent import Agent
from ._errors import AgentError, Canceled
from ._job import Job
from ._serve import encode, perform

_max_body = 64 << 20
_grace = 4.0


def listen(mine: list[Agent], address: str) -> None:
    """Serves until SIGTERM."""
    server = Service(mine, address, os.environ.get("MESH_AGENT_TOKEN", ""), int(os.environ.get("MESH_SLOTS", "0")))
    host, port = str(server.server_address[0]), server.server_address[1]
    print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", file=sys.stderr, flush=True)
    if not server.token and host not in ("127.0.0.1", "::1"):
        print("anybody who reaches it may run it: set MESH_AGENT_TOKEN, and the header Authorization in agents.yaml", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.leave).start())
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


class Service(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mine: list[Agent], address: str, token: str = "", slots: int = 0):
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        self.mine, self.token = mine, token
        self.slots = threading.Semaphore(slots) if slots else None
        self.jobs: set[Job] = set()
        self.lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, int(port)), Handler)

    def leave(self) -> None:
        with self.lock:
            for job in self.jobs:
                job.canceled.set()
        late = threading.Timer(_grace, os._exit, [143])
        late.daemon = True
        late.start()
        self.shutdown()

    def handle_error(self, request, client_address):
        kind = sys.exc_info()[0]
        if kind is None or not issubclass(kind, ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Service

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/healthz":
            self.answer(200, {"status": "ok", "agents": [a.name for a in self.server.mine]})
        else:
            self.answer(404, {"detail": "POST a task here"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        raw = self.body()
        if raw is None:
            return
        if self.server.token:
            shown = self.headers.get("Authorization", "")
            if not hmac.compare_digest(shown.encode("utf-8", "replace"), b"Bearer " + self.server.token.encode()):
                return self.answer(401, {"detail": "Authorization: Bearer is not MESH_AGENT_TOKEN"}, {"WWW-Authenticate": "Bearer"})
        try:
            order = json.loads(raw)
            if not isinstance(order, dict):
                raise ValueError
        except ValueError:
            return self.answer(400, {"detail": "the body is no task: one JSON object"})
        slots = self.server.slots
        if slots and not slots.acquire(blocking=False):
            return self.answer(503, {"detail": "all slots are taken"}, {"Retry-After": "1"})
        try:
            self.work(order)
        finally:
            if slots:
                slots.release()

    def body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts, size = [], 0
            while True:
                n = int(self.rfile.readline(64).split(b";")[0] or b"0", 16)
                size += n
                if size > _max_body:
                    break
                parts.append(self.rfile.read(n))
                self.rfile.readline(64)
                if n == 0:
                    return b"".join(parts)
        else:
            size = int(self.headers.get("Content-Length") or 0)
            if size <= _max_body:
                return self.rfile.read(size)
        self.close_connection = True
        self.answer(413, {"detail": f"a task has at most {_max_body} bytes"})
        return None

    def work(self, order: dict) -> None:
        gateway, key = _calls.environment()
        wire = _Answer(self, order)
        job = Job(order, wire, gateway, key)
        with self.server.lock:
            self.server.jobs.add(job)
        over = threading.Event()
        threading.Thread(target=self.watch, args=(job, over), daemon=True).start()
        try:
            perform(job, self.server.mine)
            wire.end()
        except (Canceled, ConnectionError):
            self.close_connection = True
        finally:
            over.set()
            with self.server.lock:
                self.server.jobs.discard(job)

    def watch(self, job: Job, over: threading.Event) -> None:
        """Cancels the job when the worker hangs up."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        while not over.is_set():
            try:
                if poll.poll(100):
                    if self.connection.recv(1, socket.MSG_PEEK) == b"":
                        job.canceled.set()
                    return
            except (OSError, ValueError):
                job.canceled.set()
                return

    def answer(self, status: int, body: dict, headers: dict | None = None) -> None:
        raw = encode(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def log_message(self, format, *args) -> None:
        pass


class _Answer:
    """The lines of one task, as chunks of an answer."""

    def __init__(self, handler: Handler, order: dict):
        self.handler, self.order = handler, order
        self.lock = threading.Lock()
        self.begun = False

    def say(self, line: dict) -> None:
        self.write(encode(line))

    def write(self, data: bytes) -> None:
        with self.lock:
            self.begin()
            self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def begin(self) -> None:
        if not self.begun:
            self.begun = True
            self.handler.send_response(200)
            self.handler.send_header("Content-Type", "application/x-ndjson")
            self.handler.send_header("Transfer-Encoding", "chunked")
            self.handler.end_headers()

    def keep(self, line: dict) -> None:
        """A line is durable when the gateway says so. Without its address it is one of
        the answer, durable when the answer has ended."""
        url, lease = self.order.get("steps_url"), self.order.get("lease")
        if not url:
            self.say(line)
            return
        try:
            _calls.request("POST", url, lease or "", line)
        except AgentError as error:
            if error.code in ("lease_lost", "unauthenticated"):
                raise Canceled() from error
            raise

    def end(self) -> None:
        with self.lock:
            self.begin()
            self.handler.wfile.write(b"0\r\n\r\n")
