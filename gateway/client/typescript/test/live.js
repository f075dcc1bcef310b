// What a client does with a mesh: with a whole one at MESH_URL when it is run, and with the
// fake one in its tests, so that both are alike.
import assert from "node:assert/strict";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { Conflict, Invalid, Mesh, NotFound, TaskCanceled, TaskFailed } from "../index.js";

// The agents of this list, as the mesh of the test has them.
export const agents = {
  echo: (job) => job.input,
  travel: { greeting: "Hello! How can I help you today?", run: (job) => ({ message: `When? ${job.messages.length}`, state: {} }) },
  tells: (job) => {
    job.progress(50, "half");
    job.milestone("read", "all of it", { pages: 2 });
    job.output("héllo ");
    job.output("mesh");
    return { said: 2 };
  },
  asks: (job) => job.ask("approve", "Publish?", { schema: { type: "boolean" } }),
  fails: () => {
    throw Object.assign(new Error("the model is away"), { code: "no_model" });
  },
  waits: (job) => new Promise((_, reject) => job.signal.addEventListener("abort", () => reject(job.signal.reason))),
};

async function all(list) {
  const items = [];
  for await (const one of list) items.push(one);
  return items;
}

async function until(mesh, id, status) {
  for (let task; (task = await mesh.tasks.get(id)).status !== status; ) {
    assert.ok(!task.done, `the task is ${task.status}`);
    await new Promise((r) => setTimeout(r, 10));
  }
}

export async function live(mesh) {
  const by = process.env.LIVE_BY ?? "node";
  const labels = { by };
  const task = await mesh.tasks.create({ agent: "echo", input: { text: "aé€😀" }, labels });
  assert.equal(task.status, "pending");
  assert.deepEqual(await task.result({ timeout: "1m" }), { text: "aé€😀" });
  assert.equal((await all(task.events())).at(-1).data.status, "completed");
  assert.deepEqual((await all(mesh.tasks.list({ labels }))).map((t) => t.task_id), [task.id]);
  const [one, other] = await Promise.all([1, 2].map(() => mesh.tasks.create({ agent: "echo", input: 1, labels }, { idempotencyKey: by })));
  assert.equal(one.id, other.id);
  assert.equal(await one.result({ timeout: "1m" }), 1);
  await assert.rejects(mesh.tasks.create({ agent: "echo", input: 2, labels }, { idempotencyKey: by }), (e) => e instanceof Invalid && e.code === "idempotency_key_reused");
  await assert.rejects(mesh.tasks.get("tsk_" + "0".repeat(32)), (e) => e instanceof NotFound && e.code === "task_not_found");
  await assert.rejects(mesh.tasks.create({ agent: "nobody" }), (e) => e instanceof NotFound && e.code === "agent_not_found");
  await assert.rejects(mesh.tasks.create({ agent: "echo", imput: 1 }), (e) => e.code === "validation_failed" && e.errors[0].pointer === "/imput");
  await assert.rejects(mesh.tasks.create({ agent: "echo" }), (e) => e.code === "validation_failed" && e.errors[0].pointer === "/input");
  await assert.rejects(task.cancel(), (e) => e instanceof Conflict && e.code === "task_finished");
  await assert.rejects(mesh.tasks.retry(task.id), (e) => e instanceof Conflict && e.code === "task_not_retryable");
  assert.ok((await mesh.agents.list()).agents.length >= Object.keys(agents).length);
  assert.equal((await mesh.agents.get("echo")).name, "echo");
  await tells(mesh);
  await asks(mesh);
  await ends(mesh);
  await talks(mesh);
}

async function tells(mesh) {
  const task = await mesh.tasks.create({ agent: "tells", instruction: "go" });
  const events = (await all(task.events())).filter((e) => e.type !== "progress");
  let text = "";
  for (const e of events) text += e.text ?? "";
  assert.equal(text, "héllo mesh");
  assert.deepEqual(events.map((e) => e.data.status ?? e.type).filter((w, i, all) => w !== all[i - 1]), ["pending", "processing", "milestone", "output", "completed"]);
  const { milestones, result, progress } = await mesh.tasks.get(task.id);
  assert.deepEqual([milestones.length, milestones[0].name, milestones[0].data, result, progress], [1, "read", { pages: 2 }, { said: 2 }, "100%"]);
}

async function asks(mesh) {
  const task = await mesh.tasks.create({ agent: "asks", instruction: "go" });
  await until(mesh, task.id, "input_required");
  const { question } = await mesh.tasks.get(task.id);
  assert.deepEqual([question.name, question.prompt, question.schema], ["approve", "Publish?", { type: "boolean" }]);
  await task.answer({ name: "approve", value: true });
  assert.equal(await task.result({ timeout: "1m" }), true);
  await assert.rejects(task.answer({ name: "approve", value: false }), Conflict);
}

async function ends(mesh) {
  const failed = await mesh.tasks.create({ agent: "fails", instruction: "go" });
  await assert.rejects(failed.result({ timeout: "1m" }), (e) => e instanceof TaskFailed && e.code === "no_model" && e.attempt === 1);
  const again = await mesh.tasks.retry(failed.id);
  assert.equal(again.raw.retried_from, failed.id);
  const task = await mesh.tasks.create({ agent: "waits", instruction: "go" });
  await until(mesh, task.id, "processing");
  assert.equal((await task.cancel()).status, "canceled");
  await assert.rejects(task.result({ timeout: "1m" }), TaskCanceled);
}

async function talks(mesh) {
  const session = await mesh.sessions.create({ agent: "travel" });
  assert.ok(session.greeting && (await session.send("Find flights to Tokyo.")).message);
  let reply = "";
  for await (const text of session.stream("Tomorrow")) reply += text;
  assert.ok(reply);
  assert.deepEqual((await all(session.messages())).map((m) => m.role), ["agent", "user", "agent", "user", "agent"]);
  const { busy, turns, messages } = await mesh.sessions.get(session.id);
  assert.deepEqual([busy, turns, messages], [false, 2, 5]);
  await session.delete();
  await assert.rejects(session.send("again"), (e) => e.code === "session_not_found");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await live(new Mesh());
