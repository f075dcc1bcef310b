"""The client for asyncio: the same calls, awaited. Each runs in a thread, so that the
rules of its repeats and streams are those of the one client."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Iterator

from ._calls import Noun, Pages
from ._events import Stream
from .client import Mesh, Session, Task

_end = object()


class _Later:
    """An object whose methods are awaited."""

    def __init__(self, one: Any):
        self._one = one

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._one, name)
        if isinstance(value, Noun):
            return _Later(value)
        if not callable(value):
            return value

        def call(*args: Any, **more: Any) -> Any:
            lazy = name in ("stream", "events", "all_events") or name in ("messages", "get_messages") or name.startswith("list") or name == "steps"
            if lazy:
                made = value(*args, **more)
                return _Each(made) if isinstance(made, (Stream, Pages)) or hasattr(made, "__next__") else _done(made)
            return _awaited(value, args, more)

        return call


async def _awaited(value: Any, args: tuple, more: dict) -> Any:
    return _wrapped(await asyncio.get_running_loop().run_in_executor(None, lambda: value(*args, **more)))


async def _done(value: Any) -> Any:
    return value


def _wrapped(value: Any) -> Any:
    return _Later(value) if isinstance(value, (Task, Session)) else value


class _Each:
    """Iterates in threads. A list that is awaited is its first page."""

    def __init__(self, one: Any):
        self._one = one

    def __await__(self) -> Any:
        return _awaited(self._one.page, (), {}).__await__()

    async def __aenter__(self) -> "_Each":
        return self

    async def __aexit__(self, *_: Any) -> None:
        if hasattr(self._one, "close"):
            self._one.close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        iterator: Iterator[Any] = iter(self._one)
        while True:
            item = await loop.run_in_executor(None, next, iterator, _end)
            if item is _end:
                return
            yield item


class AsyncMesh(_Later):
    """Mesh for asyncio: the same names."""

    def __init__(self, *args: Any, **more: Any):
        super().__init__(Mesh(*args, **more))
