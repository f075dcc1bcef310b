"""Agents of the mesh in Python: a function, run as a program for each task, as a
program that stays, or as an HTTP service.

    from agentmesh_agent import agent, serve

    @agent("shout")
    def shout(job):
        job.progress(50, "warming up")
        return (job.instruction or "").upper()

    serve()

It needs the standard library only. What a handler prints goes to standard error, so
that nothing is taken for output by mistake; ``job.output`` is output.
"""

from ._agent import Agent, agent, describe
from ._errors import AgentError, Canceled, ChildFailed, InputTimeout, Permanent, StepFailed, Suspended
from ._job import Job, Reply, StepInfo
from ._serve import serve

__all__ = [
    "Agent", "AgentError", "Canceled", "ChildFailed", "InputTimeout", "Job", "Permanent", "Reply", "StepFailed", "StepInfo", "Suspended",
    "agent", "describe", "serve",
]
__version__ = "0.1.0"
