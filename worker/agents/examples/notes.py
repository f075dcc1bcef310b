#!/usr/bin/env python3
"""Keeps a list in a conversation: "add milk", "done 1", "list".

A message of a session comes as a task whose "session" has the messages so far
and what the agent left as its state. The answer is a "reply" message: the mesh
keeps its text and its new state together, or neither.
"""

import json
import sys


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


def main():
    session = json.load(sys.stdin).get("session")
    if session is None:
        message = "send messages to a session of this agent: POST /sessions"
        print(json.dumps({"type": "error", "code": "bad_input", "message": message, "retryable": False}))
        return
    items = session["state"].get("items", [])
    message = answer(session["messages"][-1]["text"], items)
    print(json.dumps({"type": "reply", "message": message, "state": {"items": items}}))


if __name__ == "__main__":
    main()
