// What a client does with a whole mesh, at MESH_URL.
import assert from "node:assert/strict";
import { Conflict, Mesh, NotFound } from "../index.js";

const mesh = new Mesh();
const labels = { by: "node" };
const task = await mesh.tasks.create({ agent: "echo", input: { text: "aé€😀" }, labels });
assert.deepEqual(await task.result({ timeout: "1m" }), { text: "aé€😀" });
const events = [];
for await (const e of task.events()) events.push(e.type);
assert.equal(events.at(-1), "status");
const ids = [];
for await (const t of mesh.tasks.list({ labels })) ids.push(t.task_id);
assert.deepEqual(ids, [task.id]);
const [one, other] = await Promise.all([1, 2].map(() => mesh.tasks.create({ agent: "echo", input: 1, labels }, { idempotencyKey: "node-1" })));
assert.equal(one.id, other.id);
await assert.rejects(mesh.tasks.get("tsk_" + "0".repeat(32)), NotFound);
await assert.rejects(task.cancel(), Conflict);
const session = await mesh.sessions.create({ agent: "travel" });
assert.ok(session.greeting && (await session.send("Find flights to Tokyo.")).message);
let reply = "";
for await (const text of session.stream("Tomorrow")) reply += text;
assert.ok(reply);
const said = [];
for await (const m of session.messages()) said.push(m);
assert.equal(said.length, 5);
await session.delete();
assert.ok((await mesh.agents.list()).agents.length >= 3);
await one.result();
