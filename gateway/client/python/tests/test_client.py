"""What the conformance list does not say: webhooks, and the shape of the client."""

import asyncio
import http.server
import json
import os
import pathlib
import socket
import sys
import threading
import types
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from agentmesh import AsyncMesh, Mesh, TaskFailed, TimedOut, WebhookError, verify_webhook
from agentmesh._transport import seconds
from agentmesh.operations import OPERATIONS

REQUESTS = json.loads((pathlib.Path(__file__).resolve().parents[4] / "shared/hook/testdata/requests.json").read_text())
VECTORS = json.loads((pathlib.Path(__file__).resolve().parents[4] / "shared/signature/testdata/vectors.json").read_text())


class Webhooks(unittest.TestCase):
    def test_webhooks_are_verified_as_the_vectors_say(self):
        for v in VECTORS["cases"]:
            headers = {"Webhook-Id": v["id"], "webhook-timestamp": v["timestamp"], "WEBHOOK-SIGNATURE": v["signature"]}
            came = "ok"
            try:
                w = verify_webhook(v["keys"], headers, v.get("body", VECTORS["body"]).encode(), now=VECTORS["at"] + v["off_seconds"])
                self.assertEqual((w.id, w.event), (v["id"][0], json.loads(VECTORS["body"])))
            except WebhookError as error:
                came = error.reason
            self.assertEqual(came, v["want"], v["name"])

    def test_a_key_that_is_none_is_told(self):
        v = VECTORS["cases"][0]
        with self.assertRaises(ValueError):
            verify_webhook("whsec_short", {"webhook-id": v["id"], "webhook-timestamp": v["timestamp"], "webhook-signature": v["signature"]}, b"", now=VECTORS["at"])


    def test_requests_of_others_are_verified_by_their_style_as_hooks_do(self):
        for name, s in REQUESTS["samples"].items():
            w = verify_webhook(s["secret"], s["headers"], s["body"], style=s["verify"], now=s["at"])
            self.assertEqual((w.id, w.at or 0, w.event), (s["id"], s["signed_at"], s["event"]), name)
        for c in REQUESTS["cases"]:
            s, came = REQUESTS["samples"][c["of"]], "ok"
            headers = dict(s["headers"])
            if "header" in c:
                headers[c["header"]] = "a" * (10 << 10) if c.get("huge") else c.get("values", [])
            try:
                verify_webhook(c.get("secrets", s["secret"]), headers, c.get("body", s["body"]), style=s["verify"], now=s["at"] + c.get("late", 0))
            except WebhookError as error:
                came = error.reason
            self.assertEqual(came, c["want"], f"{c['of']}: {c.get('header', '')} {c['what']}")

    def test_a_style_that_is_none_is_told(self):
        for style in ("gitlab", {"style": "hmac"}, {"style": "token"}, {"style": "hmac", "header": "X", "content": "{id}"}, {"style": "hmac", "header": "X", "content": "{timestamp}{body}"}, {"style": "hmac", "header": "X", "encoding": "hax"}):
            with self.assertRaises(ValueError):
                verify_webhook("s", {}, b"", style=style)
        with self.assertRaises(ValueError):
            verify_webhook(" s", {}, b"", style="github")
        with self.assertRaises(WebhookError):
            verify_webhook("s", {}, b"", style="github")


class Answering:
    """A gateway that gives these answers, over connections that are kept."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path, dict(self.headers), body, self.client_address))
                answer = outer.answers.pop(0)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = "http://127.0.0.1:%d/base/" % self.server.server_address[1]
        self.mesh = Mesh(self.url, "k", tenant="acme")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Calls(unittest.TestCase):
    def test_each_operation_is_a_method_of_its_noun(self):
        mesh = Mesh("http://127.0.0.1:1")
        for id, op in OPERATIONS.items():
            name = "".join("_" + c.lower() if c.isupper() else c for c in op["name"])
            self.assertTrue(callable(getattr(getattr(mesh, op["noun"]) if "noun" in op else mesh, name)), id)

    def test_a_call_has_its_path_its_body_and_its_headers(self):
        with Answering({"runs": []}, b"", {"ok": 1}) as g:
            g.mesh.schedules.runs("nightly/1")
            self.assertIsNone(g.mesh.schedules.delete("nightly", if_match='"3"'))
            g.mesh.keys.create(tenant="acme", scopes=["*"], idempotency_key='a"b')
        self.assertEqual(g.asked[0][:2], ("GET", "/base/schedules/nightly%2F1/runs"))
        self.assertEqual((g.asked[0][2]["Authorization"], g.asked[0][2]["Mesh-Tenant"], g.asked[1][2]["If-Match"], g.asked[2][2]["Idempotency-Key"]), ("Bearer k", "acme", '"3"', '"a\\"b"'))
        self.assertEqual(json.loads(g.asked[2][3]), {"tenant": "acme", "scopes": ["*"]})
        self.assertEqual(len({a[4] for a in g.asked}), 1)  # one connection

    def test_a_name_that_is_none_is_told(self):
        with self.assertRaisesRegex(TypeError, "takes no agnt"):
            Mesh("http://127.0.0.1:1").tasks.list(agnt="x")
        with self.assertRaisesRegex(TypeError, "needs id"):
            Mesh("http://127.0.0.1:1").tasks.get("")
        with self.assertRaises(AttributeError):
            Mesh("http://127.0.0.1:1").taks

    def test_a_list_is_a_page_and_all_of_its_pages(self):
        page = {"messages": [{"text": "a"}], "next_after": 1}
        with Answering(page, page, {"messages": [{"text": "b"}]}) as g:
            session = g.mesh.sessions.handle("ses_1")
            self.assertEqual(session.messages().page()["next_after"], 1)
            self.assertEqual([m["text"] for m in session.messages()], ["a", "b"])

    def test_a_session_answers_also_when_its_turn_takes_long(self):
        with Answering({"session_id": "ses_1", "message": "Hello"}, {"status": "completed", "message": "To Tokyo"}, {"status": "pending", "turn_id": "trn_1"}, {"status": "completed"}, {"status": "completed", "message": "late"}) as g:
            session = g.mesh.sessions.create(agent="travel")
            self.assertEqual((session.greeting, session.send("hi")["message"], session.send("hi", on_busy="wait")["message"]), ("Hello", "To Tokyo", "late"))
        self.assertEqual(json.loads(g.asked[2][3])["on_busy"], "wait")

    def test_a_large_result_is_read_where_it_is(self):
        with Answering({"task_id": "tsk_1", "status": "completed", "result_url": "/tasks/tsk_1/result"}, b"[1]") as g:
            self.assertEqual(g.mesh.tasks.handle("tsk_1").result(), [1])

    def test_a_failed_task_is_an_error_with_its_code(self):
        with Answering({"task_id": "tsk_1", "status": "failed", "error": {"code": "no_model", "message": "away", "attempt": 3}}) as g:
            with self.assertRaises(TaskFailed) as caught:
                g.mesh.tasks.handle("tsk_1").result()
        self.assertEqual((caught.exception.code, caught.exception.attempt), ("no_model", 3))

    def test_time_limits_end_a_wait(self):
        with Answering(*[{"status": "pending"}] * 9) as g:
            with self.assertRaises(TimedOut):
                g.mesh.tasks.handle("tsk_1").wait(timeout="20ms")

    def test_the_same_calls_are_awaited(self):
        async def all(url):
            mesh = AsyncMesh(url, "k")
            task = await mesh.tasks.create(agent="echo")
            ids = [t["task_id"] async for t in mesh.tasks.list()]
            return task.id, await task.result(), ids

        with Answering({"task_id": "tsk_1", "status": "pending"}, {"tasks": [{"task_id": "tsk_2"}], "next_cursor": ""}, {"task_id": "tsk_1", "status": "completed", "result": 7}) as g:
            self.assertEqual(asyncio.run(all(g.url)), ("tsk_1", 7, ["tsk_2"]))

    def test_the_trace_of_the_caller_is_passed_on_where_opentelemetry_is(self):
        fake = types.ModuleType("opentelemetry")
        fake.propagate = types.SimpleNamespace(inject=lambda carrier: carrier.update(traceparent="00-a-b-01", tracestate="x=1"))
        sys.modules["opentelemetry"] = fake
        try:
            with Answering({"task_id": "tsk_1"}, b"") as g:
                g.mesh.tasks.get("tsk_1")
                g.mesh.tasks.delete("tsk_1", headers={"traceparent": "mine"})
        finally:
            del sys.modules["opentelemetry"]
        self.assertEqual([(a[2]["traceparent"], a[2]["tracestate"]) for a in g.asked], [("00-a-b-01", "x=1"), ("mine", "x=1")])

    def test_a_proxy_is_asked_for_a_tunnel_and_has_no_key(self):
        with Answering({"task_id": "tsk_1"}) as g, socket.create_server(("127.0.0.1", 0)) as proxy, unittest.mock.patch.dict(os.environ, {"http_proxy": "http://127.0.0.1:%d" % proxy.getsockname()[1], "no_proxy": ""}):
            heads = []

            def pump(source, to):
                while piece := source.recv(1 << 16):
                    to.sendall(piece)
                to.shutdown(socket.SHUT_WR)

            def tunnel():
                c, _ = proxy.accept()
                with c, socket.create_connection(g.server.server_address) as to:
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += c.recv(1)
                    heads.append(head)
                    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=pump, args=(to, c))
                    back.start()
                    pump(c, to)
                    back.join()

            thread = threading.Thread(target=tunnel)
            thread.start()
            with Mesh(g.url, "secret", timeout=20) as mesh:
                self.assertEqual(mesh.tasks.get("tsk_1")["task_id"], "tsk_1")
            thread.join()
        self.assertTrue(heads[0].startswith(b"CONNECT 127.0.0.1:"))
        self.assertNotIn(b"secret", heads[0])

    def test_durations(self):
        self.assertEqual([seconds(d) for d in (1.5, "90s", "1h30m", "250ms")], [1.5, 90, 5400, 0.25])
        for bad in ("", "soon", "10"):
            with self.assertRaises(ValueError):
                seconds(bad)


if __name__ == "__main__":
    unittest.main()
