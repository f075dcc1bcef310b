#!/usr/bin/env python3
"""An agent that keeps steps: it reads pages, lets some time pass, asks which of
them to send, and sends them.

It may be killed at any moment: it is started again from its top, and what it has
done is not done again. LEDGER stands for the world outside: a file that each effect
adds a line to.
"""

import json
import os
import sys
import time

task = json.loads(sys.stdin.readline())  # one line: the input stays open
past = {(step["name"], step["n"]): step for step in task.get("steps", [])}


def tell(**message):
    print(json.dumps(message), flush=True)


def step(name, work, *args):
    """What work returned: now, or in the run that did it."""
    known = past.get((name, 0))
    if known and known.get("kind") is None:
        return known["value"]
    value = work(*args, key=f"{task['task_id']}.{name}.0")
    tell(type="step", name=name, n=0, value=value, ack=True)
    sys.stdin.readline()  # the word that it is kept
    return value


def wait(type, name, **message):
    """What came of a wait. As long as nothing has, the program ends here."""
    known = past.get((name, 0))
    if known is None:
        tell(type=type, name=name, **message)
        sys.exit()
    if "error" in known:
        tell(type="error", retryable=False, **known["error"])
        sys.exit()
    return known.get("value")


def effect(name, key):
    """Something that must not be done twice, done under a key."""
    with open(os.environ.get("LEDGER", os.devnull), "a") as ledger:
        ledger.write(name + "\n")
    time.sleep(float(os.environ.get("DWELL", "0")))
    return f"{name} by {key}"


pages = [step(f"page/{n}", effect, f"page/{n}") for n in range(2)]
wait("sleep", "rest", **{"for": os.environ.get("COOL_DOWN", "10m")})
chosen = wait("ask", "approve", prompt="Send these pages?", schema={"type": "boolean"}, timeout="48h")
sent = step("send", effect, "send") if chosen else None
tell(type="result", result={"pages": pages, "sent": sent})
