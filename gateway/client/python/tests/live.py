"""What a client does with a mesh: with a whole one at MESH_URL when it is run, and with
the fake one in its tests, so that both are alike."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from agentmesh import Conflict, Invalid, Mesh, NotFound, TaskCanceled, TaskFailed
from agentmesh.testing import FakeAgent


class NoModel(Exception):
    code = "no_model"


def tells(job):
    job.progress(50, "half")
    job.milestone("read", "all of it", {"pages": 2})
    job.output("héllo ")
    job.output("mesh")
    return {"said": 2}


def fails(job):
    raise NoModel("the model is away")


# The agents of this list, as the mesh of the test has them.
AGENTS = {
    "echo": lambda job: job.input,
    "travel": FakeAgent(lambda job: {"message": f"When? {len(job.messages)}", "state": {}}, greeting="Hello! How can I help you today?"),
    "tells": tells,
    "asks": lambda job: job.ask("approve", "Publish?", schema={"type": "boolean"}),
    "fails": fails,
    "waits": lambda job: job.canceled.wait(),
}


def refused(kind, code, call, *args, **more):
    try:
        call(*args, **more)
    except kind as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"{code} was expected")


def until(mesh, id, status):
    while (task := mesh.tasks.get(id))["status"] != status:
        assert not task["done"], task
        time.sleep(0.01)


def live(mesh):
    labels = {"by": "python3"}
    task = mesh.tasks.create(agent="echo", input={"text": "aé€😀"}, labels=labels)
    assert task.status == "pending"
    assert task.result(timeout=60) == {"text": "aé€😀"}, task.raw
    assert [e.data["status"] for e in task.events()][-1] == "completed"
    assert [t["task_id"] for t in mesh.tasks.list(labels=labels)] == [task.id]
    one, other = (mesh.tasks.create(agent="echo", input=1, labels=labels, idempotency_key="python-1") for _ in range(2))
    assert one.id == other.id and one.result(timeout=60) == 1
    refused(Invalid, "idempotency_key_reused", mesh.tasks.create, agent="echo", input=2, labels=labels, idempotency_key="python-1")
    refused(NotFound, "task_not_found", mesh.tasks.get, "tsk_" + "0" * 32)
    refused(NotFound, "agent_not_found", mesh.tasks.create, agent="nobody")
    assert refused(Invalid, "validation_failed", mesh.tasks.create, agent="echo", imput=1).errors[0]["pointer"] == "/imput"
    assert refused(Invalid, "validation_failed", mesh.tasks.create, agent="echo").errors[0]["pointer"] == "/input"
    refused(Conflict, "task_finished", task.cancel)
    refused(Conflict, "task_not_retryable", mesh.tasks.retry, task.id)
    assert {a["name"] for a in mesh.agents.list()["agents"]} >= set(AGENTS)
    assert mesh.agents.get("echo")["name"] == "echo"
    _tells(mesh)
    _asks(mesh)
    _ends(mesh)
    _talks(mesh)


def _tells(mesh):
    task = mesh.tasks.create(agent="tells", instruction="go")
    events = [e for e in task.events() if e.type != "progress"]
    assert "".join(e.text for e in events) == "héllo mesh"
    words = [e.data.get("status") or e.type for e in events]
    assert [w for n, w in enumerate(words) if n == 0 or words[n - 1] != w] == ["pending", "processing", "milestone", "output", "completed"], words
    came = mesh.tasks.get(task.id)
    (milestone,) = came["milestones"]
    assert (milestone["name"], milestone["data"], came["result"], came["progress"]) == ("read", {"pages": 2}, {"said": 2}, "100%"), came


def _asks(mesh):
    task = mesh.tasks.create(agent="asks", instruction="go")
    until(mesh, task.id, "input_required")
    question = mesh.tasks.get(task.id)["question"]
    assert (question["name"], question["prompt"], question["schema"]) == ("approve", "Publish?", {"type": "boolean"})
    task.answer(True, "approve")
    assert task.result(timeout=60) is True
    refused(Conflict, "task_finished", task.answer, False, "approve")


def _ends(mesh):
    task = mesh.tasks.create(agent="fails", instruction="go")
    assert refused(TaskFailed, "no_model", task.result, timeout=60).attempt == 1
    assert mesh.tasks.retry(task.id).raw["retried_from"] == task.id
    task = mesh.tasks.create(agent="waits", instruction="go")
    until(mesh, task.id, "processing")
    assert task.cancel().status == "canceled"
    try:
        task.result(timeout=60)
    except TaskCanceled:
        pass
    else:
        raise AssertionError("it was not canceled")


def _talks(mesh):
    session = mesh.sessions.create(agent="travel")
    assert session.greeting and session.send("Find flights to Tokyo.")["message"]
    assert "".join(session.stream("Tomorrow"))
    assert [m["role"] for m in session.messages()] == ["agent", "user", "agent", "user", "agent"]
    now = mesh.sessions.get(session.id)
    assert (now["busy"], now["turns"], now["messages"]) == (False, 2, 5), now
    session.delete()
    refused(NotFound, "session_not_found", session.send, "again")


if __name__ == "__main__":
    live(Mesh())
