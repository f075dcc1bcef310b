#!/usr/bin/env python3
"""Counts the words of a text and tells how far it is.

The task is one JSON object on standard input. A line of standard output that
is a JSON object with a known "type" is a message to the mesh; standard error
goes to the worker's log.
"""

import collections
import json
import sys


def send(**message):
    print(json.dumps(message), flush=True)


def main():
    task = json.load(sys.stdin)
    text = (task.get("input") or {}).get("text")
    if not isinstance(text, str):
        # No retry can mend the input.
        send(type="error", code="bad_input", message='send {"text": "..."}', retryable=False)
        return
    lines = text.splitlines()
    counts = collections.Counter()
    for number, line in enumerate(lines, start=1):
        counts.update(word.strip(".,;:!?\"'()").lower() for word in line.split())
        send(type="progress", percent=number * 100 // len(lines), message=f"line {number} of {len(lines)}")
    counts.pop("", None)
    send(type="milestone", name="counted", message=f"{sum(counts.values())} words", data={"distinct": len(counts)})
    send(type="result", result={"words": sum(counts.values()), "top": counts.most_common(3)})


if __name__ == "__main__":
    main()
