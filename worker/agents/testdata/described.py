"""Two agents, to be described."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "agent/python"))

from agentmesh_agent import agent, serve


@agent("research", version="1.0", input_schema={"type": "object", "properties": {"topic": {"type": "string", "pattern": "^${a}"}}, "required": ["topic"]})
def research(job):
    """Costs ${PRICE}: yes"""
    return job.input["topic"]


@agent("plain")
def plain(job):
    return 1


print("a library says hello", file=sys.stderr)
serve()
