"""Streams of events, over as many connections as it takes."""

from __future__ import annotations

import codecs
import dataclasses
import http.client
import json
import re
import time
from typing import Any, Callable, Iterable, Iterator

from ._errors import refusal, unreachable
from ._transport import Transport, backoff, repeatable, traced

_max_event = 16 << 20  # characters
_max_fails = 20  # since the last event
_break = re.compile(r"\r\n|\n|\r(?!$)")


@dataclasses.dataclass
class Event:
    """One event. text is the new output of an output event."""

    id: str
    type: str
    data: Any
    text: str = ""


def parse(chunks: Iterable[bytes]) -> Iterator[tuple[str | None, str, str | None, int | None]]:
    """The events of a text/event-stream: id, type, data, retry."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, first = "", True
    id: str | None = None
    type, data, retry = "", [], None  # type: ignore[var-annotated]
    for chunk in chunks:
        rest += decoder.decode(chunk)
        if first and rest:
            rest, first = rest[1:] if rest[0] == "\ufeff" else rest, False
        if len(rest) > _max_event:
            raise ValueError("an event is too long")
        at = 0
        for m in iter(lambda: _break.search(rest, at), None):
            line, at = rest[at:m.start()], m.end()
            if line == "":
                if data or retry is not None:
                    yield id, type or "message", "\n".join(data) if data else None, retry
                id, type, data, retry = None, "", [], None
                continue
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "data":
                data.append(value)
            elif name == "event":
                type = value
            elif name == "id" and "\0" not in value:
                id = value
            elif name == "retry" and value.isdecimal():
                retry = int(value)
        rest = rest[at:]


class Stream:
    """Iterates the events until the last one. A broken connection is taken up again
    behind the newest id, and what comes again is left out. Close it, or use it in a with
    statement, to end it earlier."""

    def __init__(self, transport: Transport, path: str, after: str = "", last: Callable[[Event], bool] = lambda e: False):
        self._transport, self._path, self._last = transport, path, last
        self._seen = _Seen(after)
        self._connection: http.client.HTTPConnection | None = None
        self._closed = False
        self._events = self._run()

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        if self._connection:
            self._connection.close()

    def _run(self) -> Iterator[Event]:
        fails, least = 0, 0.0
        while not self._closed:
            try:
                headers = traced({"Accept": "text/event-stream"})
                if self._seen.last:
                    headers["Last-Event-ID"] = self._seen.last
                self._connection, response = self._transport.open(self._path, headers)
                if response.status == 204:
                    return
                if response.status != 200:
                    error = refusal(response.status, response.read(), 0)
                else:
                    for id, type, data, retry in parse(iter(lambda: response.read1(1 << 16), b"")):
                        if retry is not None:
                            least = min(retry / 1000, 60)
                        if data is None:
                            continue
                        fails = 0
                        event = self._seen.take(id, type, data)
                        if event:
                            yield event
                            if self._last(event):
                                return
                    error = unreachable(f"GET {self._path}", EOFError("the stream ended early"))
            except (OSError, http.client.HTTPException, AttributeError) as cause:
                if self._closed:
                    return
                error = unreachable(f"GET {self._path}", cause)
            finally:
                if self._connection:
                    self._connection.close()
            fails += 1
            if fails > _max_fails or not repeatable(error):
                raise error
            time.sleep(max(least, backoff(min(fails, 5), error)))


class _Seen:
    """What a reader has seen."""

    def __init__(self, last: str):
        self.last = last
        self._same: set = set()  # events of the newest id
        self._of, self._output = "", 0  # the task whose output it is, and its bytes

    def take(self, id: str | None, type: str, text: str) -> Event | None:
        try:
            data = json.loads(text)
        except ValueError:
            return None
        if id is not None and id.isdecimal() and type != "output":
            if self.last and int(id) < int(self.last):
                return None
            if id != self.last:
                self._same.clear()
            if (type, text) in self._same:
                return None
            self._same.add((type, text))
            self.last = id
        if type != "output":
            return Event(id or "", type, data)
        fresh = self._fresh(data)
        return Event("", type, data, fresh) if fresh else None

    def _fresh(self, data: dict) -> str:
        of = data.get("task_id", "")
        if of != self._of:
            self._of, self._output = of, 0
        raw, offset = data.get("text", "").encode(), data.get("offset", 0)
        start = max(self._output - offset, 0)
        if start >= len(raw):
            return ""
        self._output = offset + len(raw)
        return raw[start:].decode("utf-8", "replace")
