// @ts-check
// What a handler comes to, whichever way it is run.
import process from "node:process";
import { Canceled, Permanent, told } from "./errors.js";
import { Reply } from "./job.js";

/** The agent of a job. A program that has one runs it, whatever it is called in agents.yaml. @param {any[]} agents @param {string} name */
export function choose(agents, name) {
  const one = agents.find((a) => a.name === name) ?? (agents.length === 1 ? agents[0] : undefined);
  if (one) return one;
  throw new Permanent(`this program has no agent ${JSON.stringify(name)}, it has ${agents.map((a) => a.name).join(", ") || "none"}`, { code: "no_such_agent" });
}

/**
 * Runs the handler of a job and says what it came to. Canceled is thrown.
 * @param {any} job @param {any[]} agents @param {(line: any) => void} say
 */
export async function perform(job, agents, say) {
  let value, failure;
  try {
    value = await traced(job, () => choose(agents, job.agent).handler(job));
  } catch (error) {
    failure = { error };
  }
  await job.settle();
  if (job.canceled) throw new Canceled();
  if (job.waiting) return;
  if (failure) {
    process.stderr.write(`${/** @type {any} */ (failure.error)?.stack ?? failure.error}\n`);
    return say(told(failure.error));
  }
  if (value instanceof Reply) return say({ type: "reply", message: value.message, state: value.state });
  if (value === undefined && !job.silent) return;
  let line;
  try {
    line = JSON.parse(JSON.stringify({ type: "result", result: value ?? null }));
    if (!("result" in line)) throw new TypeError(`a ${typeof value} is none`);
  } catch (error) {
    line = told(new Permanent(`the result is no JSON: ${/** @type {Error} */ (error).message}`, { code: "bad_result" }));
  }
  say(line);
}

/** Runs work under the task's trace, where OpenTelemetry is installed. @param {any} job @param {() => any} work */
async function traced(job, work) {
  const otel = await telemetry();
  if (!otel) return work();
  const { context, propagation, ROOT_CONTEXT } = otel;
  return context.with(propagation.extract(ROOT_CONTEXT, { traceparent: job.traceparent }), work);
}

/** @type {Promise<any> | undefined} */
let loaded;
function telemetry() {
  const name = "@opentelemetry/api"; // not a dependency: it is used where it is
  loaded ??= import(name).catch(() => undefined);
  return loaded;
}
