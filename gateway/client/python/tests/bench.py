"""How long a task takes from its creation to its result, and an event from its creation to
the reader, with a whole mesh at MESH_URL: medians in milliseconds."""

import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from agentmesh import Mesh

mesh = Mesh()
results, events = [], []
for n in range(int(sys.argv[1])):
    began = time.perf_counter()
    mesh.tasks.create(agent="echo", input=n, wait=10).result()
    results.append(time.perf_counter() - began)
    began = time.perf_counter()
    with mesh.tasks.create(agent="echo", input=n).events() as stream:
        next(stream)
    events.append(time.perf_counter() - began)
print(json.dumps({"result": 1000 * statistics.median(results), "first_event": 1000 * statistics.median(events)}))
