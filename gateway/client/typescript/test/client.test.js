// What the conformance list does not say: webhooks, and the shape of the client.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Mesh, TaskFailed, TimedOut, WebhookError, verifyWebhook } from "../index.js";
import { parse } from "../lib/events.js";
import { milliseconds } from "../lib/transport.js";
import { operations } from "../operations.js";

const vectors = JSON.parse(readFileSync(new URL("../../../../shared/signature/testdata/vectors.json", import.meta.url), "utf8"));

test("webhooks are verified as the vectors say", async () => {
  for (const v of vectors.cases) {
    const headers = { "Webhook-Id": v.id, "webhook-timestamp": v.timestamp, "WEBHOOK-SIGNATURE": v.signature };
    const request = { secret: v.keys, headers, body: v.body ?? vectors.body, now: vectors.at + v.off_seconds };
    let came = "ok";
    try {
      const { id, event } = await verifyWebhook(request);
      assert.deepEqual([id, event], [v.id[0], JSON.parse(vectors.body)]);
    } catch (error) {
      if (!(error instanceof WebhookError)) throw error;
      came = error.reason;
    }
    assert.equal(came, v.want, v.name);
  }
});

test("headers of fetch are taken, and a key that is none is told", async () => {
  const { id, timestamp, signature } = vectors.cases[0];
  const headers = new Headers({ "webhook-id": id[0], "webhook-timestamp": timestamp[0], "webhook-signature": signature[0] });
  const request = { headers, body: new TextEncoder().encode(vectors.body), now: vectors.at };
  assert.equal((await verifyWebhook({ ...request, secret: vectors.cases[0].keys })).at, vectors.at);
  await assert.rejects(verifyWebhook({ ...request, secret: "whsec_short" }), TypeError);
});

const requests = JSON.parse(readFileSync(new URL("../../../../shared/hook/testdata/requests.json", import.meta.url), "utf8"));

test("requests of others are verified by their style, as the mesh's hooks do", async () => {
  for (const [name, { verify, secret, at, headers, body, id, signed_at, event }] of Object.entries(requests.samples)) {
    const came = await verifyWebhook({ style: verify, secret, headers, body: new TextEncoder().encode(body), now: at });
    assert.deepEqual(came, { id, at: signed_at || undefined, event }, name);
  }
  for (const c of requests.cases) {
    const of = requests.samples[c.of];
    const headers = { ...of.headers, ...(c.header && { [c.header]: c.huge ? "a".repeat(10 << 10) : c.values }) };
    let came = "ok";
    try {
      await verifyWebhook({ style: of.verify, secret: c.secrets ?? of.secret, headers, body: c.body ?? of.body, now: of.at + (c.late ?? 0) });
    } catch (error) {
      if (!(error instanceof WebhookError)) throw error;
      came = error.reason;
    }
    assert.equal(came, c.want, `${c.of}: ${c.header ?? ""} ${c.what}`);
  }
});

test("a style that is none is told", async () => {
  const request = { secret: "s", headers: {}, body: "" };
  for (const style of ["gitlab", { style: "hmac" }, { style: "token" }, { style: "hmac", header: "X", content: "{id}" }, { style: "hmac", header: "X", content: "{timestamp}{body}" }, { style: "hmac", header: "X", encoding: "hax" }]) {
    await assert.rejects(verifyWebhook({ ...request, style }), TypeError, JSON.stringify(style));
  }
  await assert.rejects(verifyWebhook({ ...request, style: "github", secret: " s" }), TypeError);
  await assert.rejects(verifyWebhook({ ...request, style: "github" }), (e) => e.reason === "missing");
});

test("each operation is a method of its noun", () => {
  const mesh = new Mesh({ url: "http://127.0.0.1:1" });
  for (const [id, op] of Object.entries(operations)) assert.equal(typeof (op.noun ? mesh[op.noun] : mesh)[op.name], "function", id);
});

const answering = (...answers) => {
  const asked = [];
  const fetch = async (url, options) => {
    asked.push({ url, ...options });
    const answer = answers.shift();
    return answer instanceof Response ? answer : new Response(JSON.stringify(answer), { status: 200 });
  };
  return { asked, mesh: new Mesh({ url: "http://mesh.test/base/", apiKey: "k", tenant: "acme", fetch }) };
};

test("a call has its path, its query and its headers", async () => {
  const { mesh, asked } = answering({ runs: [] }, undefined, { ok: 1 });
  await mesh.schedules.runs("nightly/1");
  await mesh.schedules.delete("nightly", { ifMatch: '"3"' });
  await mesh.keys.create({ tenant: "acme" }, { idempotencyKey: "a\"b" });
  assert.equal(asked[0].url, "http://mesh.test/base/schedules/nightly%2F1/runs");
  assert.deepEqual([asked[0].headers.Authorization, asked[0].headers["Mesh-Tenant"], asked[1].headers["If-Match"], asked[2].headers["Idempotency-Key"]], ["Bearer k", "acme", '"3"', '"a\\"b"']);
  assert.throws(() => mesh.tasks.get(), /needs id/);
});

test("a list is a page and all of its pages", async () => {
  const { mesh } = answering({ messages: [{ text: "a" }], next_after: 1 }, { messages: [{ text: "a" }], next_after: 1 }, { messages: [{ text: "b" }] });
  assert.equal((await mesh.sessions.handle("ses_1").messages()).next_after, 1);
  const all = [];
  for await (const m of mesh.sessions.getMessages("ses_1")) all.push(m.text);
  assert.deepEqual(all, ["a", "b"]);
});

test("a session answers, also when its turn takes long", async () => {
  const { mesh, asked } = answering({ session_id: "ses_1", message: "Hello" }, { status: "completed", message: "To Tokyo" }, { status: "pending", turn_id: "trn_1" }, { status: "completed" }, { status: "completed", message: "late" });
  const session = await mesh.sessions.create({ agent: "travel" });
  assert.deepEqual([session.greeting, (await session.send("hi")).message, (await session.send("hi", { onBusy: "wait" })).message], ["Hello", "To Tokyo", "late"]);
  assert.equal(JSON.parse(asked[2].body).on_busy, "wait");
});

test("a large result is read where it is, and keeps its numbers", async () => {
  const { mesh } = answering({ task_id: "tsk_1", status: "completed", result_url: "/tasks/tsk_1/result" }, new Response("[1]"), new Response("9007199254740993"));
  const task = mesh.tasks.handle("tsk_1");
  assert.deepEqual(await task.result(), [1]);
  assert.equal(await task.rawResult(), "9007199254740993");
});

test("time limits and signals end a call", async () => {
  const fetch = (_url, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const awake = setTimeout(() => {}, 10_000); // nothing else is there to wait for
  const mesh = new Mesh({ url: "http://mesh.test", fetch });
  await assert.rejects(mesh.tasks.get("tsk_1", {}, { timeout: "10ms" }), TimedOut);
  const stop = new AbortController();
  const call = mesh.tasks.get("tsk_1", {}, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  await assert.rejects(answering({ status: "pending" }, { status: "pending" }).mesh.tasks.handle("tsk_1").wait({ timeout: "20ms" }), TimedOut);
  clearTimeout(awake);
});

test("a failed task is an error with its code", async () => {
  const { mesh } = answering({ task_id: "tsk_1", status: "failed", error: { code: "no_model", message: "away", attempt: 3 } });
  await assert.rejects(mesh.tasks.handle("tsk_1").result(), (e) => e instanceof TaskFailed && e.code === "no_model" && e.attempt === 3);
});

test("durations", () => {
  assert.deepEqual([1.5, "90s", "1h30m", "250ms"].map(milliseconds), [1500, 90_000, 5_400_000, 250]);
  for (const bad of ["", "soon", "10"]) assert.throws(() => milliseconds(bad), /no duration/);
});

test("an event without an end is none", async () => {
  const all = [];
  for await (const e of parse((async function* () { yield new TextEncoder().encode("data: 1\n\ndata: 2"); })())) all.push(e.data);
  assert.deepEqual(all, ["1"]);
});
