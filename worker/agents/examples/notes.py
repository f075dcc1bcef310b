#!/usr/bin/env python3
"""Keeps a list in a conversation: "add milk", "done 1", "list".

A message of a session is a task whose job has the messages so far and what the agent
left as its state. A Reply has the answer and the new state: the mesh keeps both, or
neither.
"""

import pathlib
import sys

# Without this line once the kit is installed: pip install worker/agent/python
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "agent" / "python"))

from agentmesh_agent import Permanent, Reply, agent, serve


def answer(text, items):
    word, _, rest = text.strip().partition(" ")
    if word.lower() == "add" and rest.strip():
        items.append(rest.strip())
        return f"Noted. {len(items)} on the list."
    if word.lower() == "done" and rest.strip().isdecimal() and 1 <= int(rest) <= len(items):
        return f"Done: {items.pop(int(rest) - 1)}."
    if word.lower() == "list":
        return "\n".join(f"{n}. {item}" for n, item in enumerate(items, start=1)) or "The list is empty."
    return "I understand: add SOMETHING, done NUMBER, list."


@agent("notes")
def notes(job):
    if job.session is None:
        raise Permanent("send messages to a session of this agent: POST /sessions", "bad_input")
    items = job.state.get("items", [])
    return Reply(answer(job.text, items), {"items": items})


if __name__ == "__main__":
    serve()
