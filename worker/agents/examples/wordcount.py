#!/usr/bin/env python3
"""Counts the words of a text and tells how far it is."""

import collections
import pathlib
import sys

# Without this line once the kit is installed: pip install worker/agent/python
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "agent" / "python"))

from agentmesh_agent import Permanent, agent, serve


@agent("wordcount")
def wordcount(job):
    text = (job.input or {}).get("text")
    if not isinstance(text, str):
        raise Permanent('send {"text": "..."}', "bad_input")  # no retry can mend the input
    lines = text.splitlines()
    counts = collections.Counter()
    for number, line in enumerate(lines, start=1):
        counts.update(word.strip(".,;:!?\"'()").lower() for word in line.split())
        job.progress(number * 100 // len(lines), f"line {number} of {len(lines)}")
    counts.pop("", None)
    job.milestone("counted", f"{sum(counts.values())} words", {"distinct": len(counts)})
    return {"words": sum(counts.values()), "top": counts.most_common(3)}


if __name__ == "__main__":
    serve()
