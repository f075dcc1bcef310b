// What a handler may do, run by the kit's own testing.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { AgentError, InputTimeout, Job, Permanent, Reply, StepFailed, agent, describe } from "../index.js";
import { choose } from "../lib/perform.js";
import { run } from "../testing.js";

test("what a handler returns is the result", async () => {
  for (const value of [null, 0, "", [1], { a: null }, "é\u2028😀"]) assert.deepEqual((await run(() => value)).result, value);
  assert.deepEqual((await run(() => {})).result, null);
});

test("output is the result of a handler without one", async () => {
  const ended = await run((job) => {
    job.output("a");
    job.output("");
    job.output("b");
  });
  assert.deepEqual(ended.result, { text: "ab" });
});

test("what is no JSON is an error that stays", async () => {
  const circle = {};
  circle.circle = circle;
  for (const value of [circle, () => 1, 10n]) {
    const { error } = await run(() => value);
    assert.deepEqual([error.code, error.retryable], ["bad_result", false]);
  }
});

test("an exception is told without its stack", async () => {
  assert.deepEqual((await run((job) => job.nothing.here)).error.message.split("\n").length, 1);
  assert.deepEqual((await run(() => { throw new RangeError("far"); })).error, { type: "error", message: "RangeError: far" });
  assert.deepEqual((await run(() => { throw "text"; })).error, { type: "error", message: "text" });
});

test("errors have a code and say whether a retry helps", async () => {
  assert.deepEqual((await run(() => { throw new Permanent("never"); })).error, { type: "error", message: "never", retryable: false });
  assert.deepEqual((await run(() => { throw new AgentError("away", { code: "no_model" }); })).error, { type: "error", message: "away", retryable: true, code: "no_model" });
});

test("a turn is answered by a reply", async () => {
  const ended = await run((job) => {
    const items = [...(job.state.items ?? []), job.text];
    return new Reply(`${items.length} items`, { items });
  }, { text: "milk", state: { items: ["tea"] } });
  assert.deepEqual(ended.reply, { type: "reply", message: "2 items", state: { items: ["tea", "milk"] } });
});

test("a canceled job hears of it at its next word, and by its signal", async () => {
  let aborted = false;
  const ended = await run((job) => {
    job.signal.addEventListener("abort", () => (aborted = true));
    job.progress(1);
    job.progress(2);
  }, { cancelAt: "progress" });
  assert.deepEqual([ended.status, ended.lines.length, aborted], ["canceled", 1, true]);
});

test("a finished step is not done again", async () => {
  const did = [];
  const work = async (job) => {
    const a = await job.step("charge", ({ key }) => { did.push(key); return { receipt: 7, gone: undefined }; });
    const pages = await Promise.all([0, 1].map((n) => job.step("page", async () => { did.push(n); return n; })));
    await job.sleep("rest", "10m");
    const ok = await job.ask("approve", "Pay?", { schema: { type: "boolean" }, timeout: "48h" });
    return [a, pages, ok, await job.wait("paid", { timeout: 60 })];
  };
  const ended = await run(work, { answers: { approve: true, paid: { n: 1 } } });
  assert.deepEqual(ended.result, [{ receipt: 7 }, [0, 1], true, { n: 1 }]);
  assert.deepEqual(did, ["tsk_test.charge.0", 0, 1]);
  assert.equal(ended.runs, 4);
  assert.deepEqual(ended.lines.find((l) => l.type === "ask"), { type: "ask", name: "approve", n: 0, prompt: "Pay?", schema: { type: "boolean" }, timeout: "48h" });
});

test("a swallowed wait is a wait all the same", async () => {
  const work = async (job) => {
    try {
      return await job.ask("approve", "Pay?");
    } catch {
      return "swallowed";
    }
  };
  assert.equal((await run(work)).status, "input_required");
  assert.equal((await run(work, { answers: { approve: "yes" } })).result, "yes");
});

test("a wait beside a step waits for the step", async () => {
  const did = [];
  const work = async (job) => {
    const slow = job.step("slow", async () => { await new Promise((r) => setTimeout(r, 20)); did.push(1); return 1; });
    return Promise.all([slow, job.ask("approve", "Pay?")]);
  };
  assert.deepEqual((await run(work)).steps, [{ name: "slow", n: 0, value: 1 }]);
  assert.deepEqual((await run(work, { answers: { approve: true } })).result, [1, true]);
  assert.deepEqual(did, [1, 1]);
});

test("a failure that stays is thrown again", async () => {
  let did = 0;
  const ended = await run(async (job) => {
    try {
      await job.step("pay", () => { did++; throw new Permanent("no money", { code: "broke" }); });
    } catch (error) {
      if (error instanceof StepFailed) return [error.code, error.message];
      await job.sleep("rest", 1);
    }
  });
  assert.deepEqual([ended.result, did], [["broke", "no money"], 1]);
});

test("a marked step says that it may have been done", async () => {
  const seen = [];
  const ended = await run((job) => job.step("mail", ({ again }) => seen.push(again), { marked: true }));
  assert.deepEqual(ended.lines.map((l) => l.type), ["started", "step", "result"]);
  const job = new Job({ task_id: "tsk_1", run: 2, steps: [{ name: "mail", n: 0, kind: "started" }] }, { say() {}, async keep() {} });
  await job.step("mail", ({ again }) => seen.push(again), { marked: true });
  assert.deepEqual(seen, [false, true]);
});

test("no answer in time is an error of its own", async () => {
  const job = new Job({ run: 2, steps: [{ name: "approve", n: 0, kind: "answer", error: { code: "input_timeout", message: "late" } }] }, {});
  await assert.rejects(job.ask("approve", "Pay?"), (e) => e instanceof InputTimeout && e.code === "input_timeout");
});

test("a checkpoint is there in the next run", async () => {
  const ended = await run(async (job) => {
    if (!job.lastCheckpoint) job.checkpoint({ page: 7 });
    await job.sleep("rest", { until: "2026-05-19T10:30:00Z" });
    return job.lastCheckpoint;
  });
  assert.deepEqual(ended.result, { page: 7 });
});

test("a retry calls the children of the attempt before", async () => {
  const keys = [];
  const gateway = createServer((request, response) => {
    keys.push(request.headers["idempotency-key"]);
    request.resume().on("end", () => response.end('{"task_id":"tsk_2","status":"completed","result":1}'));
  });
  await new Promise((ready) => gateway.listen(0, "127.0.0.1", () => ready(undefined)));
  for (const attempt of [1, 2]) {
    const job = new Job({ task_id: "tsk_1", attempt }, {}, { gateway: `http://127.0.0.1:${gateway.address().port}` });
    for (const n of [7, 7, 8]) assert.equal(await job.call("other", { n }), 1);
  }
  gateway.closeAllConnections();
  gateway.close();
  assert.deepEqual(keys.slice(0, 3), keys.slice(3));
  assert.equal(new Set(keys).size, 3);
});

test("an agent without steps is told so", async () => {
  await assert.rejects(new Job({}, {}).step("x", () => 1), /protocol: steps/);
});

test("a program with one agent runs it under any name", () => {
  const [one, two] = [{ name: "one" }, { name: "two" }];
  assert.equal(choose([one], "other"), one);
  assert.equal(choose([one, two], "two"), two);
  assert.throws(() => choose([one, two], "other"), /it has one, two/);
});

test("a program describes its agents", () => {
  const one = agent("described", { description: "Prints.", version: "1.0", inputSchema: { type: "string" } }, () => {});
  assert.deepEqual(describe([one]), { agents: [{ name: "described", description: "Prints.", version: "1.0", input_schema: { type: "string" } }] });
  assert.throws(() => agent("described", () => {}), /two agents/);
});
