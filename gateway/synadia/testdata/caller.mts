// The official TypeScript client against a mesh: caller.mts NATS-URL. It prints what it
// has seen, asks its parent to "kill" and waits for the answer on standard input, and
// ends with "all good".
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { connect } from "@nats-io/transport-node";
import { Agents, ServiceError, StreamStalledError } from "@synadia-ai/agents";

const nc = await connect({ servers: process.argv[2] });
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const agents = new Agents({ nc });
const found = new Map();
for (const a of await agents.discover({ timeoutMs: 3000 })) found.set(a.name, a);
console.log("discovered", [...found.keys()].sort().join(" "));
for (const a of found.values()) assert.match(String(a.protocolVersion), /^0\.3/);

type Heard = { text: string; statuses: string[]; files: string[]; error?: unknown };
async function prompt(name: string, text: string, options: object = {}, on: (msg: any) => unknown = () => {}): Promise<Heard> {
  const heard: Heard = { text: "", statuses: [], files: [] };
  try {
    for await (const m of await found.get(name).prompt(text, options)) {
      if (m.type === "response") {
        heard.text += m.text;
        for (const f of m.attachments ?? []) heard.files.push(f.filename + "=" + Buffer.from(f.content, "base64").toString());
      }
      if (m.type === "status") heard.statuses.push(m.status);
      await on(m);
    }
  } catch (err) {
    heard.error = err;
  }
  return heard;
}
const code = (h: Heard) => (h.error instanceof ServiceError ? h.error.code : String(h.error));
const taskOf = (h: Heard) => h.statuses.find((s) => s.startsWith("task:"))?.slice(5) ?? "";
const ok = (what: string) => console.log("ok", what);

let h = await prompt("echo", "hello");
assert.deepEqual([h.text, h.error, h.statuses.at(0), h.statuses.at(-1)], ["hello", undefined, "ack", "done"]);
ok("echo");

h = await prompt("says", "x");
assert.equal(h.text, "one two three");
assert.ok(h.statuses.includes("progress:70 reading") && h.statuses.includes("milestone:read"), h.statuses.join());
ok("progress, milestone, output and the rest of the result");

h = await prompt("asks", "x", {}, (m) => m.type === "query" && m.reply("yes"));
assert.deepEqual([h.text, h.error], ["done", undefined]);
ok("query");

h = await prompt("files", "see", { attachments: [{ filename: "a.txt", content: new TextEncoder().encode("hi") }] });
assert.deepEqual([h.text, h.files, h.error], ["see", ["a.txt=hi"], undefined]);
ok("attachments both ways");

assert.equal(code(await prompt("object", "no object")), 400);
assert.equal(code(await prompt("echo", "/task tsk_01a21a54c5197ef7b5531d46b5a7f6cf")), 404);
assert.equal(code(await prompt("fails", "x")), 500);
ok("400, 404, 500");

h = await prompt("again", "x");
assert.ok(h.statuses.includes("restart") && h.text.endsWith("try 2"), h.text + h.statuses.join());
ok("restart: an attempt was lost after its output");

// A hundred prompts are open, the next is refused. Aborting tells nobody.
const stop = new AbortController();
const open = Array.from({ length: 100 }, () => found.get("waits").prompt("x", { signal: stop.signal }));
const streams = await Promise.all(open);
const first = streams.map(async (s) => { for await (const m of s) if (m.type === "status" && m.status.startsWith("task:")) return m.status.slice(5); });
const ids = await Promise.all(first);
h = await prompt("waits", "one more");
assert.equal(code(h), 429);
assert.equal((h.error as ServiceError).body?.retry_after_s, 1);
ok("429 at 101 prompts");
stop.abort();

// The caller is gone; its task is found by its handle, and canceled.
h = await prompt("waits", `/cancel ${ids[0]}`);
assert.equal(h.error, undefined);
ok("its task is found by its handle and canceled, though the agent is full");

// The gateway is cut off in the middle of an answer.
let task = "";
h = await prompt("slow", "x", { inactivityTimeoutMs: 4000 }, async (m) => {
  if (m.type === "status" && m.status.startsWith("task:")) task = m.status.slice(5);
  if (m.type === "response" && task) {
    console.log("kill");
    await lines.next();
  }
});
assert.ok(h.error instanceof StreamStalledError, String(h.error));
h = await prompt("slow", `/task ${task}`);
assert.deepEqual([h.text, h.error], ["begun ended", undefined]);
ok("killed gateway: stalled, and /task at another one has the result");

task = "";
const canceled = prompt("waits", "to be canceled", {}, (m) => { if (m.type === "status" && m.status.startsWith("task:")) task = m.status.slice(5); });
while (!task) await new Promise((r) => setTimeout(r, 50));
h = await prompt("waits", `/cancel ${task}`);
assert.equal(h.error, undefined);
assert.equal(code(await canceled), 409);
ok("cancel");

const began = Date.now();
h = await prompt("long", "x");
assert.deepEqual([h.text, h.error], ["after 90 s", undefined]);
assert.ok(h.statuses.filter((s) => s === "ack").length >= 4 && Date.now() - began > 89_000);
ok("90 s without a word: acks in time");

await agents.close();
await nc.close();
console.log("all good");
process.exit(0);
