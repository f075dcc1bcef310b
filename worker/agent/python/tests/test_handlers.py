"""What a handler may do, run by the kit's own testing."""

import asyncio
import contextlib
import dataclasses
import http.server
import io
import sys
import threading
import types
import typing
import unittest
import unittest.mock

from agentmesh_agent import Agent, AgentError, InputTimeout, Job, Permanent, Reply, StepFailed, describe, testing
from agentmesh_agent._agent import choose, schema_of


def run(handler, **what):
    return testing.run(Agent("a", handler), **what)


class Results(unittest.TestCase):
    def test_what_a_handler_returns_is_the_result(self):
        for value in (None, 0, "", [1], {"a": None}, 10**30, "é\u2028😀"):
            self.assertEqual(run(lambda job, value=value: value).result, value)

    def test_output_is_the_result_of_a_handler_without_one(self):
        def talk(job):
            job.output("a")
            job.output("")
            job.output("b")

        self.assertEqual(run(talk).result, {"text": "ab"})

    def test_a_coroutine_is_a_handler(self):
        async def slow(job):
            await asyncio.sleep(0)
            return await job.astep("one", work)

        async def work(info):
            return info.key

        self.assertEqual(run(slow).result, "tsk_test.one.0")

    def test_what_is_no_json_is_an_error_that_stays(self):
        for value in (object(), float("nan"), {1, 2}):
            ended = run(lambda job, value=value: value)
            self.assertEqual((ended.error["code"], ended.error["retryable"]), ("bad_result", False))

    def test_an_exception_is_told_without_its_stack(self):
        ended = run(lambda job: {}["key"])
        self.assertEqual(ended.error, {"type": "error", "message": "KeyError: 'key'"})
        ended = run(lambda job: sys.exit(3))
        self.assertEqual(ended.error["message"], "SystemExit: 3")

    def test_the_log_of_an_exception_names_nothing_but_it(self):
        with unittest.mock.patch.dict(sys.modules, {"opentelemetry": None}), contextlib.redirect_stderr(io.StringIO()) as log:
            run(lambda job: {}["key"])
        self.assertIn("KeyError: 'key'", log.getvalue())
        self.assertNotIn("opentelemetry", log.getvalue())

    def test_errors_have_a_code_and_say_whether_a_retry_helps(self):
        def fail(job):
            raise error

        for error, want in (
            (Permanent("never"), {"type": "error", "message": "never", "retryable": False}),
            (AgentError("away", "no_model"), {"type": "error", "message": "away", "retryable": True, "code": "no_model"}),
        ):
            self.assertEqual(run(fail).error, want)

    def test_a_turn_is_answered_by_a_reply(self):
        def note(job):
            items = job.state.get("items", []) + [job.text]
            return Reply(f"{len(items)} items", {"items": items})

        ended = run(note, text="milk", state={"items": ["tea"]})
        self.assertEqual(ended.reply, {"type": "reply", "message": "2 items", "state": {"items": ["tea", "milk"]}})

    def test_a_canceled_job_hears_of_it_at_its_next_word(self):
        def work(job):
            try:
                job.progress(1)
                job.progress(2)
            except Exception:
                pass

        ended = run(work, cancel_at="progress")
        self.assertEqual((ended.status, len(ended.lines)), ("canceled", 1))


class Steps(unittest.TestCase):
    def test_a_finished_step_is_not_done_again(self):
        did = []

        def work(job):
            a = job.step("charge", lambda step: did.append(step.key) or {"receipt": (7,)})
            pages = [job.step("page", lambda n=n: did.append(n) or n) for n in range(2)]
            job.sleep("rest", "10m")
            ok = job.ask("approve", "Pay?", schema=bool, timeout="48h")
            event = job.wait("paid", timeout=60)
            return [a, pages, ok, event]

        ended = run(work, answers={"approve": True, "paid": {"n": 1}})
        self.assertEqual(ended.result, [{"receipt": [7]}, [0, 1], True, {"n": 1}])
        self.assertEqual(did, ["tsk_test.charge.0", 0, 1])
        self.assertEqual(ended.runs, 4)
        self.assertEqual(ended.named("ask"), [{"type": "ask", "name": "approve", "n": 0, "prompt": "Pay?", "schema": {"type": "boolean"}, "timeout": "48h"}])

    def test_a_wait_passes_by_except_exception_and_finally(self):
        cleaned = []

        def work(job):
            try:
                job.ask("approve", "Pay?")
            except Exception:
                return "swallowed"
            finally:
                cleaned.append(1)
            return "answered"

        self.assertEqual(run(work).status, "input_required")
        self.assertEqual(run(work, answers={"approve": 1}).result, "answered")
        self.assertEqual(len(cleaned), 3)

    def test_a_swallowed_wait_is_a_wait_all_the_same(self):
        def work(job):
            try:
                job.ask("approve", "Pay?")
            except BaseException:
                return "swallowed"

        self.assertEqual(run(work).lines, [{"type": "ask", "name": "approve", "n": 0, "prompt": "Pay?"}])

    def test_a_failure_that_stays_is_raised_again(self):
        did = []

        def work(job):
            def pay():
                did.append(1)
                raise Permanent("no money", "broke")

            try:
                job.step("pay", pay)
            except StepFailed as error:
                return ["before", error.code, str(error)]
            except Permanent:
                job.sleep("rest", 1)

        self.assertEqual(run(work).result, ["before", "broke", "no money"])
        self.assertEqual(did, [1])

    def test_another_error_of_a_step_is_not_kept(self):
        self.assertEqual(run(lambda job: job.step("x", lambda: 1 / 0)).lines[0]["type"], "error")

    def test_a_marked_step_says_that_it_may_have_been_done(self):
        seen = []

        def work(job):
            return job.step("mail", lambda step: seen.append(step.again), marked=True)

        run(work)
        ended = testing.Ended(steps=[{"name": "mail", "n": 0, "kind": "started"}])
        memory = testing._Memory(ended, None)
        from agentmesh_agent import Job

        work(Job({"task_id": "tsk_1", "run": 2, "steps": ended.steps}, memory))
        self.assertEqual(seen, [False, True])
        self.assertEqual([line["type"] for line in ended.lines], ["step"])

    def test_no_answer_in_time_is_an_error_of_its_own(self):
        from agentmesh_agent import Job

        job = Job({"task_id": "tsk_1", "run": 2, "steps": [{"name": "approve", "n": 0, "kind": "answer", "error": {"code": "input_timeout", "message": "late"}}]}, None)
        with self.assertRaises(InputTimeout) as caught:
            job.ask("approve", "Pay?")
        self.assertEqual(caught.exception.code, "input_timeout")

    def test_steps_in_threads_are_waited_for(self):
        did = []

        def work(job):
            gate = threading.Event()

            def slow():
                gate.wait(5)
                did.append(1)

            thread = threading.Thread(target=lambda: job.step("slow", slow))
            thread.start()
            threading.Timer(0.05, gate.set).start()
            while not job._steps:
                pass
            job.ask("approve", "Pay?")

        ended = run(work)
        self.assertEqual((did, ended.steps[0]["name"]), ([1], "slow"))

    def test_a_checkpoint_is_there_in_the_next_run(self):
        def work(job):
            if job.last_checkpoint is None:
                job.checkpoint({"page": 7})
                job.sleep("rest", 1)
            job.sleep("rest", 1)
            return job.last_checkpoint

        self.assertEqual(run(work).result, {"page": 7})

    def test_an_agent_without_steps_is_told_so(self):
        from agentmesh_agent import Job

        with self.assertRaises(Permanent) as caught:
            Job({"task_id": "tsk_1"}, None).step("x", lambda: 1)
        self.assertIn("protocol: steps", str(caught.exception))


class Definitions(unittest.TestCase):
    def test_types_have_schemas(self):
        @dataclasses.dataclass
        class Point:
            x: int
            label: typing.Optional[str] = None
            tags: typing.List[str] = dataclasses.field(default_factory=list)

        class Topic(typing.TypedDict):
            topic: str
            depth: typing.Dict[str, float]

        model = types.SimpleNamespace(model_json_schema=lambda: {"title": "Model"})
        for kind, want in (
            (Point, {"type": "object", "properties": {"x": {"type": "integer"}, "label": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "tags": {"type": "array", "items": {"type": "string"}}}, "required": ["x"]}),
            (Topic, {"type": "object", "properties": {"topic": {"type": "string"}, "depth": {"type": "object", "additionalProperties": {"type": "number"}}}, "required": ["depth", "topic"]}),
            (typing.Literal["a", "b"], {"enum": ["a", "b"]}), ({"type": "string"}, {"type": "string"}), (model, {"title": "Model"}), (bool, {"type": "boolean"}), (typing.Any, {}),
        ):
            self.assertEqual(schema_of(kind), want)
        with self.assertRaisesRegex(TypeError, "write one as a dict"):
            schema_of(threading.Lock)

    def test_a_program_with_one_agent_runs_it_under_any_name(self):
        one, two = Agent("one", print), Agent("two", print)
        self.assertIs(choose([one], "other"), one)
        self.assertIs(choose([one, two], "two"), two)
        with self.assertRaisesRegex(Permanent, "it has one, two"):
            choose([one, two], "other")

    def test_a_program_describes_its_agents(self):
        self.assertEqual(describe([Agent("one", print, "Prints.", "1.0", str)]), {"agents": [{"name": "one", "description": "Prints.", "version": "1.0", "input_schema": {"type": "string"}}]})


class Traces(unittest.TestCase):
    def test_a_trace_is_handed_to_opentelemetry_where_it_is(self):
        seen = []
        context = types.SimpleNamespace(attach=lambda c: seen.append(c) or 1, detach=lambda t: seen.append(t))
        propagate = types.SimpleNamespace(extract=lambda carrier: carrier)
        fake = types.ModuleType("opentelemetry")
        fake.context, fake.propagate = context, propagate
        sys.modules["opentelemetry"] = fake
        try:
            from agentmesh_agent import Job
            from agentmesh_agent._serve import _traced

            self.assertEqual(_traced(Job({"traceparent": "00-a-b-01"}, None), lambda: 7), 7)
        finally:
            del sys.modules["opentelemetry"]
        self.assertEqual(seen, [{"traceparent": "00-a-b-01"}, 1])


class Calls(unittest.TestCase):
    def test_a_retry_calls_the_children_of_the_attempt_before(self):
        keys = []

        class Gateway(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                keys.append(self.headers["Idempotency-Key"])
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"task_id":"tsk_2","status":"completed","result":1}')

            def log_message(self, *_args):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Gateway) as gateway:
            threading.Thread(target=gateway.serve_forever, daemon=True).start()
            for attempt in (1, 2):
                job = Job({"task_id": "tsk_1", "attempt": attempt}, None, f"http://127.0.0.1:{gateway.server_port}")
                for n in (7, 7, 8):
                    self.assertEqual(job.call("other", {"n": n}), 1)
            gateway.shutdown()
        self.assertEqual(keys[:3], keys[3:])
        self.assertEqual(len(set(keys)), 3)


if __name__ == "__main__":
    unittest.main()
