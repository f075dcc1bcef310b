"""A client of the agent mesh.

    mesh = Mesh()                                   # MESH_URL, MESH_API_KEY
    task = mesh.tasks.create(agent="research", input={"topic": "tea"})
    print(task.result(timeout=600))

Every create has an idempotency key, and what may be repeated is, where that may help;
streams of events miss nothing however often the connection breaks. Each operation of the
gateway is a method of its noun. It needs the standard library only.
"""

from ._calls import Pages
from ._errors import Conflict, Denied, Invalid, MeshError, NotFound, RateLimited, TaskCanceled, TaskFailed, TimedOut, Unavailable
from ._events import Event, Stream
from ._signed import Webhook, WebhookError
from ._webhook import verify_webhook
from .aio import AsyncMesh
from .client import Mesh, Session, Task

__all__ = [
    "AsyncMesh", "Conflict", "Denied", "Event", "Invalid", "Mesh", "MeshError", "NotFound", "Pages", "RateLimited", "Session", "Stream",
    "Task", "TaskCanceled", "TaskFailed", "TimedOut", "Unavailable", "Webhook", "WebhookError", "verify_webhook",
]
__version__ = "0.1.0"
