"""What a program with annotations writes. It is checked by mypy, not run."""

from __future__ import annotations

from agentmesh import Mesh, Webhook, verify_webhook
from agentmesh.testing import FakeMesh


def calls(mesh: Mesh) -> str:
    task = mesh.tasks.create(agent="research", input={"topic": "tea"})
    for event in task.events():
        print(event.type.upper(), event.text)
    session = mesh.sessions.create({"agent": "travel"})
    for text in session.stream("hi"):
        print(text.upper())
    schedule = mesh.schedules.get("nightly")
    webhook: Webhook = verify_webhook("whsec_", {}, b"", style="github")
    return schedule["schedule_id"] + webhook.id + str(task.result(timeout="10m"))


calls(FakeMesh(agents={"research": lambda job: {"summary": job.input["topic"]}}))
