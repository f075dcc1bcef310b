"""The fake mesh: it is as the mesh is, and tells what it was asked."""

import asyncio
import json
import pathlib
import re
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import live
from agentmesh import Conflict, MeshError, RateLimited, Unavailable
from agentmesh._fake_answers import MEMBERS
from agentmesh.testing import AsyncFakeMesh, FakeMesh, Refusal

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Fakes(unittest.TestCase):
    def test_the_fake_mesh_does_what_a_whole_one_does(self):
        live.live(FakeMesh(live.AGENTS))

    def test_it_knows_the_members_that_the_gateway_knows(self):
        schemas = json.loads((ROOT.parent / "testdata/openapi.json").read_text())["components"]["schemas"]
        for name, schema in {"task": "CreateTask", "session": "CreateSession", "message": "PostMessage", "answer": "AnswerTask"}.items():
            self.assertEqual(MEMBERS[name], sorted(schemas[schema]["properties"]), name)

    def test_its_refusals_are_those_of_the_catalogue(self):
        known = {p["code"] for p in json.loads((ROOT.parent / "testdata/problems.json").read_text())} | {"not_faked"}
        for file in ("_fake.py", "_fake_tasks.py", "_fake_answers.py"):
            codes = re.findall(r'Refusal\(\d+, "(\w+)"', (ROOT / "python/agentmesh" / file).read_text())
            self.assertTrue(codes, file)
            self.assertLessEqual(set(codes), known, file)

    def test_an_answer_may_come_before_its_question(self):
        go = threading.Event()
        task = FakeMesh({"later": lambda job: go.wait() and job.ask("a", "A?")}).tasks.create(agent="later", instruction="go")
        with self.assertRaises(MeshError) as caught:
            task.answer(1)
        self.assertEqual(caught.exception.errors[0]["pointer"], "/name")
        task.answer(1, "a")
        with self.assertRaises(Conflict):
            task.answer(2, "a")
        go.set()
        self.assertEqual(task.result(), 1)

    def test_it_tells_what_it_was_asked(self):
        mesh = FakeMesh(live.AGENTS)
        action = mesh.actions.create(agent="echo", input=7, callback_url="https://x.test/", idempotency_key="a")
        (r,) = mesh.asked
        self.assertEqual((r.method, r.path, r.body["input"], r.headers["Idempotency-Key"], r.headers["Authorization"]), ("POST", "/actions", 7, '"a"', "Bearer amk_test"))
        self.assertEqual((action.status, action.result()), ("initiated", 7))

    def test_it_refuses_when_it_is_told_to_and_the_client_tries_again(self):
        mesh = FakeMesh(live.AGENTS)
        mesh.refuse(503, "store_unavailable")
        self.assertEqual(mesh.tasks.create(agent="echo", input=1).result(), 1)
        for _ in range(5):
            mesh.refuse(503, "store_unavailable", retry_after=0)
        with self.assertRaises(Unavailable):
            mesh.agents.list()
        mesh.refuse(403, "forbidden")
        with self.assertRaisesRegex(MeshError, "forbidden"):
            mesh.tasks.list().page()

    def test_routes_answer_what_it_does_not_know(self):
        def limited(request):
            raise Refusal(429, "rate_limited", retry_after=0)

        mesh = FakeMesh(routes={"GET /schedules/{id}": lambda r: {"name": r.params["id"]}, "DELETE /webhooks/{id}": lambda r: None, "POST /keys": limited})
        self.assertEqual(mesh.schedules.get("nightly/1")["name"], "nightly/1")
        self.assertIsNone(mesh.webhooks.delete("whk_1"))
        with self.assertRaises(RateLimited):
            mesh.keys.create({})
        with self.assertRaisesRegex(MeshError, "no answer to GET /stats: give it one in routes"):
            mesh.get_stats()

    def test_a_canceled_turn_leaves_its_session_open_for_the_next(self):
        def talk(job):
            if job.text == "wait":
                job.canceled.wait()
            return {}["fail"]

        mesh = FakeMesh({"talk": talk})
        session = mesh.sessions.create(agent="talk")
        turn = session.send("wait", respond_async=True)["turn_id"]
        self.assertEqual(mesh.sessions.cancel_turn(session.id, turn)["status"], "canceled")
        self.assertEqual(session.send("fail")["status"], "failed")
        self.assertEqual((mesh.sessions.get(session.id)["busy"], [(m["text"], m.get("interrupted")) for m in session.messages()]), (False, [("wait", True)]))

    def test_turns_wait_interrupt_and_are_refused_as_in_the_mesh(self):
        gates = {name: threading.Event() for name in ("one", "three", "four")}

        def talk(job):
            gates[job.text].wait()
            return f"{job.text} {len(job.messages)}"

        mesh = FakeMesh({"talk": talk})
        session = mesh.sessions.create(agent="talk")
        first = session.send("one", respond_async=True)["turn_id"]
        with self.assertRaises(Conflict):
            session.send("two")
        third = session.send("three", on_busy="wait", respond_async=True)["turn_id"]
        gates["one"].set()
        self.assertEqual(mesh.sessions.get_turn(session.id, first, wait=60)["message"], "one 1")
        gates["four"].set()
        self.assertEqual(session.send("four", on_busy="interrupt")["message"], "four 4")
        self.assertEqual(mesh.sessions.get_turn(session.id, third)["status"], "canceled")
        gates["three"].set()
        session.delete()

    def test_the_same_calls_are_awaited(self):
        async def work():
            async def double(job):
                await asyncio.sleep(0)
                return job.input * 2

            mesh = AsyncFakeMesh({"double": double})
            mesh.refuse(503, "store_unavailable")
            task = await mesh.tasks.create(agent="double", input=2)
            return await task.result(), [e.type async for e in task.events()][-1], len(mesh.asked) > 2

        self.assertEqual(asyncio.run(work()), (4, "status", True))


if __name__ == "__main__":
    unittest.main()
