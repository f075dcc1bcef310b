// The fake mesh: it is as the mesh is, and tells what it was asked.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Conflict, RateLimited, Unavailable } from "../index.js";
import { members } from "../lib/fake_answers.js";
import { FakeMesh, Refusal } from "../testing.js";
import { agents, live } from "./live.js";

test("the fake mesh does what a whole one does", () => live(new FakeMesh({ agents })));

test("it knows the members that the gateway knows", () => {
  const { schemas } = JSON.parse(readFileSync(new URL("../../../testdata/openapi.json", import.meta.url), "utf8")).components;
  for (const [name, schema] of Object.entries({ task: "CreateTask", session: "CreateSession", message: "PostMessage", answer: "AnswerTask" })) {
    assert.deepEqual(members[name], Object.keys(schemas[schema].properties).sort(), name);
  }
});

test("its refusals are those of the catalogue", () => {
  const known = JSON.parse(readFileSync(new URL("../../../testdata/problems.json", import.meta.url), "utf8")).map((p) => p.code);
  for (const file of ["fake.js", "fake_tasks.js", "fake_answers.js"]) {
    const codes = [...readFileSync(new URL(`../lib/${file}`, import.meta.url), "utf8").matchAll(/Refusal\(\d+, "(\w+)"/g)].map((m) => m[1]);
    assert.ok(codes.length > 0);
    assert.deepEqual(codes.filter((c) => !known.includes(c) && c !== "not_faked"), [], file);
  }
});

test("an answer may come before its question", async () => {
  const mesh = new FakeMesh({ agents: { later: async (job) => (await new Promise((r) => setTimeout(r, 5)), job.ask("a", "A?")) } });
  const task = await mesh.tasks.create({ agent: "later", instruction: "go" });
  await assert.rejects(task.answer({ value: 1 }), (e) => e.errors[0].pointer === "/name");
  await task.answer({ name: "a", value: 1 });
  assert.equal(await task.result(), 1);
});

test("it tells what it was asked", async () => {
  const mesh = new FakeMesh({ agents });
  await mesh.actions.create({ agent: "echo", input: 7, callback_url: "https://x.test/" }, { idempotencyKey: "a" });
  const [{ method, path, body, headers }] = mesh.asked;
  assert.deepEqual([method, path, body.input, headers["Idempotency-Key"], headers.Authorization], ["POST", "/actions", 7, '"a"', "Bearer amk_test"]);
});

test("it refuses when it is told to, and the client tries again", async () => {
  const mesh = new FakeMesh({ agents });
  mesh.refuse({ status: 503, code: "store_unavailable" });
  assert.equal(await (await mesh.tasks.create({ agent: "echo", input: 1 })).result(), 1);
  mesh.refuse(...Array(5).fill({ status: 503, code: "store_unavailable", retryAfter: 0 }));
  await assert.rejects(mesh.tasks.list(), Unavailable);
  mesh.refuse({ status: 403, code: "forbidden" });
  await assert.rejects(mesh.tasks.list(), (e) => e.code === "forbidden");
});

test("routes answer what it does not know", async () => {
  const mesh = new FakeMesh({ routes: {
    "GET /schedules/{id}": ({ params }) => ({ name: params.id }), "DELETE /webhooks/{id}": () => undefined,
    "POST /keys": () => { throw new Refusal(429, "rate_limited", { retryAfter: 0 }); },
  } });
  assert.equal((await mesh.schedules.get("nightly/1")).name, "nightly/1");
  assert.equal(await mesh.webhooks.delete("whk_1"), undefined);
  await assert.rejects(mesh.keys.create({}), RateLimited);
  await assert.rejects(mesh.getStats(), /no answer to GET \/stats: give it one in routes/);
});

test("a canceled turn leaves its session open for the next", async () => {
  const mesh = new FakeMesh({ agents: { talk: (job) => (job.text === "wait" ? new Promise(() => {}) : job.fail.now) } });
  const session = await mesh.sessions.create({ agent: "talk" });
  const { turn_id: id } = await session.send("wait", { async: true });
  assert.equal((await mesh.sessions.cancelTurn(session.id, id)).status, "canceled");
  assert.equal((await session.send("fail")).status, "failed");
  assert.equal((await mesh.sessions.get(session.id)).busy, false);
  assert.deepEqual((await session.messages()).messages.map((m) => [m.text, m.interrupted]), [["wait", true]]);
});

test("turns wait, interrupt and are refused as in the mesh", async () => {
  const open = [];
  const mesh = new FakeMesh({ agents: { talk: (job) => new Promise((resolve) => open.push(() => resolve(`${job.text} ${job.messages.length}`))) } });
  const session = await mesh.sessions.create({ agent: "talk" });
  const first = session.send("one");
  while (open.length === 0) await new Promise((r) => setTimeout(r, 1));
  await assert.rejects(session.send("two"), (e) => e instanceof Conflict && e.code === "session_busy");
  const third = session.send("three", { onBusy: "wait" });
  open.shift()();
  assert.equal((await first).message, "one 1");
  while (open.length === 0) await new Promise((r) => setTimeout(r, 1));
  const last = session.send("four", { onBusy: "interrupt" });
  assert.equal((await third).status, "canceled");
  while (open.length < 2) await new Promise((r) => setTimeout(r, 1));
  open.pop()();
  assert.equal((await last).status, "completed");
  const log = [];
  const reading = (async () => {
    for await (const e of session.events()) log.push(e.type);
  })();
  await session.delete();
  await reading;
  assert.equal(log.filter((t) => t === "reply").length, 2);
  assert.equal(log.at(-1), "closed");
});
