// What a program in TypeScript writes. It is compiled, not run: each @ts-expect-error must
// be an error.
import { Mesh, TaskFailed, verifyWebhook } from "@agentmesh/client";
import { FakeMesh } from "@agentmesh/client/testing";
import { agent, serve } from "@agentmesh/agent";
import { run } from "@agentmesh/agent/testing";

export async function calls(mesh: Mesh): Promise<string> {
  const task = await mesh.tasks.create({ agent: "research", input: { topic: "tea" } }, { idempotencyKey: "a" });
  const { summary } = await task.result<{ summary: string }>({ timeout: "10m" });
  for await (const event of task.events()) if (event.type === "output") console.log(event.text);
  for await (const t of mesh.tasks.list({ status: ["failed"] })) console.log(t.task_id.toUpperCase(), t.error?.code);
  const page = await mesh.tasks.list({ limit: 10 });
  const session = await mesh.sessions.create({ agent: "travel" });
  for await (const text of session.stream("hi")) console.log(text.length);
  const schedule = await mesh.schedules.get("nightly");
  const { id, event } = await verifyWebhook({ secret: "whsec_", headers: {}, body: "", style: { style: "hmac", header: "X-Sig" } });
  console.log(id, event, schedule.schedule_id, page.next_cursor);
  // @ts-expect-error there is no such member
  await mesh.tasks.create({ agnt: "x" });
  // @ts-expect-error there is no such style
  await verifyWebhook({ secret: "", headers: {}, body: "", style: "gitlab" });
  // @ts-expect-error there is no such operation
  await mesh.tasks.remove("tsk_1");
  return summary;
}

const fake = new FakeMesh({ agents: { research: (job) => ({ summary: String(job.input.topic) }) }, routes: { "GET /stats": () => ({}) } });
void calls(fake).catch((e: unknown) => e instanceof TaskFailed && e.code);

const one = agent<{ topic: string }>("research", async (job) => job.step("look", () => job.input.topic.length));
void run(one, { input: { topic: "tea" } }).then((ended) => ended.result);
void serve();
