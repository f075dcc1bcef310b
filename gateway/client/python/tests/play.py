"""Plays the conformance list: each line of standard input is a case, and each line of
standard output what came of one."""

import concurrent.futures
import json
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from agentmesh import Mesh, MeshError, TaskCanceled, TaskFailed


def shown(event):
    data = event.data
    return f"{event.type} {event.id} {event.text or data.get('status') or data.get('name') or ''}"


def play(mesh, call):
    do, id = call["do"], call.get("id")
    if do == "create":
        task = mesh.tasks.create(call["body"], idempotency_key=call.get("key"), wait=call.get("wait"))
        return {"id": task.id, "status": task.status}
    if do == "get":
        task = mesh.tasks.get(id)
        return {"id": task["task_id"], "status": task["status"]}
    if do == "cancel":
        task = mesh.tasks.handle(id).cancel()
        return {"id": task.id, "status": task.status}
    if do == "result":
        return {"result": mesh.tasks.handle(id).result()}
    if do == "list":
        return {"ids": [t["task_id"] for t in mesh.tasks.list(**call["query"])]}
    with mesh.tasks.events(id) as events:
        return {"events": [shown(e) for e in events]}


def case(line):
    order = json.loads(line)
    try:
        came = play(Mesh(order["base"], "amk_test"), order["call"])
    except TaskFailed as error:
        came = {"failed": error.code}
    except TaskCanceled:
        came = {"canceled": True}
    except MeshError as error:
        came = {"error": {"status": error.status, "code": error.code}}
        if error.errors:
            came["error"]["pointers"] = [e["pointer"] for e in error.errors]
    except Exception as error:
        came = {"error": repr(error)}
    with saying:
        print(json.dumps({"base": order["base"], "came": came}), flush=True)


saying = threading.Lock()
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    for line in sys.stdin:
        pool.submit(case, line)
