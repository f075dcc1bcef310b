#!/usr/bin/env python3
"""An agent that keeps steps: it reads pages, lets some time pass, asks which of
them to send, and sends them.

It may be killed at any moment: it is started again from its top, and what it has
done is not done again. LEDGER stands for the world outside: a file that each effect
adds a line to.
"""

import os
import pathlib
import sys
import time

# Without this line once the kit is installed: pip install worker/agent/python
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "agent" / "python"))

from agentmesh_agent import agent, serve


def effect(name):
    """Something that must not be done twice, done under a key."""

    def do(step):
        with open(os.environ.get("LEDGER", os.devnull), "a") as ledger:
            ledger.write(name + "\n")
        time.sleep(float(os.environ.get("DWELL", "0")))
        return f"{name} by {step.key}"

    return do


@agent("digest")
def digest(job):
    pages = [job.step(f"page/{n}", effect(f"page/{n}")) for n in range(2)]
    job.sleep("rest", os.environ.get("COOL_DOWN", "10m"))
    chosen = job.ask("approve", "Send these pages?", schema=bool, timeout="48h")
    sent = job.step("send", effect("send")) if chosen else None
    return {"pages": pages, "sent": sent}


if __name__ == "__main__":
    serve()
