"""A mesh in memory, for the tests of programs that call one.

    mesh = FakeMesh(agents={"echo": lambda job: job.input})
    assert mesh.tasks.create(agent="echo", input=1).result() == 1
    assert mesh.asked[0].body["input"] == 1

It is the client itself over a gateway of this process. Tasks, actions and sessions run,
each in a thread; routes say what else is answered.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ._fake import FakeAgent, Gateway, Refusal, Request
from ._fake_tasks import FakeJob
from ._transport import Answer, Transport
from .aio import AsyncMesh, _Later
from .client import Mesh

__all__ = ["AsyncFakeMesh", "FakeAgent", "FakeJob", "FakeMesh", "Refusal", "Request"]


class _Memory(Transport):
    """Requests to a gateway of this process."""

    gateway: Gateway

    def once(self, method: str, path: str, headers: dict, body: bytes | None, timeout: float) -> Answer:
        came = self.gateway.answer(method, path, {**self.headers, **headers}, body)
        return Answer(came.status, came.headers, came.body)

    def open(self, path: str, headers: dict) -> Any:
        answer = self.gateway.answer("GET", path, {**self.headers, **headers}, None)
        return answer, answer


class FakeMesh(Mesh):
    """agents are functions of a job by their names, or FakeAgent where one has a greeting.
    routes are functions of a request by method and path, such as "GET /schedules/{id}":
    they go before the mesh's own."""

    def __init__(self, agents: Mapping[str, Any] | None = None, routes: Mapping[str, Callable[[Request], Any]] | None = None, *, tenant: str | None = None, timeout: Any = None):
        super().__init__("http://mesh.test", "amk_test", tenant=tenant, timeout=timeout)
        self.gateway = Gateway(agents or {}, routes or {})
        self._transport.__class__ = _Memory
        self._transport.gateway = self.gateway  # type: ignore[attr-defined]

    @property
    def asked(self) -> list[Request]:
        """The requests so far: method, path, query, headers, body."""
        return self.gateway.asked

    def refuse(self, status: int, code: str, **more: Any) -> None:
        """Has the next request be refused; more are detail, errors and retry_after."""
        self.gateway.refusals.append(Refusal(status, code, **more))


class AsyncFakeMesh(AsyncMesh):
    """FakeMesh for asyncio: its calls are awaited."""

    def __init__(self, *args: Any, **more: Any):
        self.fake = FakeMesh(*args, **more)
        _Later.__init__(self, self.fake)

    @property
    def asked(self) -> list[Request]:
        return self.fake.asked

    def refuse(self, status: int, code: str, **more: Any) -> None:
        self.fake.refuse(status, code, **more)
