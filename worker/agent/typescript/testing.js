// @ts-check
// Runs a handler without a mesh, for the tests of agents.
//
//	const ended = await run(research, { input: { topic: "tea" }, answers: { approve: true } });
//	assert.deepEqual(ended.result, { answer: "..." });
//
// Steps are kept from run to run as the mesh keeps them: a wait ends a run, and the next
// one begins at the top.
import { Canceled } from "./lib/errors.js";
import { Job } from "./lib/job.js";
import { perform } from "./lib/perform.js";

/** @param {any} one @param {any} [options] */
export async function run(one, { input, instruction, text, state, answers = {}, attempt = 1, cancelAt, gateway, key } = {}) {
  if (typeof one === "function") one = { name: "a", handler: one };
  /** @type {any} */
  const ended = { status: "completed", runs: 0, steps: [], lines: [], text: "" };
  let checkpoint;
  for (ended.runs = 1; ended.runs < 1000; ended.runs++) {
    const raw = JSON.parse(JSON.stringify({ task_id: "tsk_test", kind: "task", agent: one.name, attempt, instruction, input, run: ended.runs, steps: ended.steps, checkpoint }));
    if (text !== undefined) {
      raw.kind = "turn";
      raw.session = { session_id: "ses_test", messages: [{ role: "user", text }], state: state ?? {} };
    }
    /** @type {any[]} */
    const said = [];
    const say = (/** @type {any} */ line) => {
      line = JSON.parse(JSON.stringify(line));
      said.push(line);
      ended.lines.push(line);
      if (line.type === cancelAt) job.cancel();
    };
    const keep = async (/** @type {any} */ line) => {
      say(line);
      const { type, ack, ...entry } = line;
      if (type === "started") entry.kind = type;
      ended.steps = [...ended.steps.filter((/** @type {any} */ s) => s.name !== line.name || s.n !== line.n), entry];
    };
    const job = new Job(raw, { say, keep }, { gateway, key });
    try {
      await perform(job, [one], say);
    } catch (error) {
      if (!(error instanceof Canceled)) throw error;
      return { ...ended, status: "canceled" };
    }
    checkpoint = said.findLast((l) => l.type === "checkpoint")?.value ?? checkpoint;
    if (!job.waiting) return finish(ended, said);
    const come = said.filter((l) => ["sleep", "ask", "wait"].includes(l.type) && (l.type === "sleep" || l.name in answers));
    if (come.length === 0) return { ...ended, status: "input_required" };
    for (const { type, name, n } of come) ended.steps.push(type === "sleep" ? { name, n, kind: "sleep" } : { name, n, kind: "answer", value: answers[name] });
  }
  throw new Error("the handler waits without end");
}

/** @param {any} ended @param {any[]} said */
function finish(ended, said) {
  const last = (/** @type {string} */ type) => said.findLast((l) => l.type === type);
  ended.text = said.filter((l) => l.type === "output").map((l) => l.text).join("");
  const [error, result, reply] = [last("error"), last("result"), last("reply")];
  if (error) Object.assign(ended, { status: "failed", error });
  if (reply) ended.reply = reply;
  if (result) ended.result = result.result;
  else if (ended.text && !reply) ended.result = { text: ended.text };
  return ended;
}
