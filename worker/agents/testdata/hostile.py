"""What a handler may have to live with. The instruction says which."""

import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "agent" / "python"))

from agentmesh_agent import Permanent, agent, serve


@agent("hostile")
def hostile(job):
    what = job.input if isinstance(job.input, dict) else {}
    name = what.get("do")
    if name == "print":
        print('{"type":"result","result":"printed"}')
        print("loading a model")
        os.write(1, b'{"type":"error","message":"from a library"}\n')
        subprocess.run(["echo", '{"type":"error","message":"from a child"}'], check=True)
        return "the result"
    if name == "echo":
        return {"text": what["text"], "sha": hashlib.sha256(what["text"].encode()).hexdigest()}
    if name == "chunks":
        for piece in what["text"]:
            job.output(piece)
        return None
    if name == "cancel":
        job.output("here")
        ok = job.canceled.wait(20)
        with open(what["file"], "w") as file:
            file.write("canceled" if ok else "not canceled")
        job.progress(1)
        return "went on"
    if name == "stubborn":
        job.output("here")
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    if name == "exit":
        sys.exit(0)
    if name == "never":
        raise Permanent("never", "no_way")
    if name == "killed":
        first = job.step("first", lambda: ran(what["file"], "first"))
        if not pathlib.Path(what["file"] + ".killed").exists():
            pathlib.Path(what["file"] + ".killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [first, job.step("second", lambda: ran(what["file"], "second"))]
    return name


def ran(file, name):
    with open(file, "a") as ledger:
        ledger.write(name + "\n")
    return name


serve()
