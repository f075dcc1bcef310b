"""What a client does with a whole mesh, at MESH_URL."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from agentmesh import Conflict, Mesh, NotFound

mesh = Mesh()
labels = {"by": "python3"}
task = mesh.tasks.create(agent="echo", input={"text": "aé€😀"}, labels=labels)
assert task.result(timeout=60) == {"text": "aé€😀"}, task.raw
events = [e.type for e in task.events()]
assert events[-1] == "status", events
assert [t["task_id"] for t in mesh.tasks.list(labels=labels)] == [task.id]
same = [mesh.tasks.create(agent="echo", input=1, labels=labels, idempotency_key="python-1").id for _ in range(2)]
assert same[0] == same[1], same
for call, kind in ((lambda: mesh.tasks.get("tsk_" + "0" * 32), NotFound), (task.cancel, Conflict)):
    try:
        call()
    except kind as error:
        assert error.code and error.trace_id is not None
    else:
        raise AssertionError(kind)
session = mesh.sessions.create(agent="travel")
assert session.greeting and session.send("Find flights to Tokyo.")["message"]
assert "".join(session.stream("Tomorrow"))
assert len(list(session.messages())) == 5
session.delete()
assert {a["name"] for a in mesh.agents.list()["agents"]} >= {"echo", "travel"}
