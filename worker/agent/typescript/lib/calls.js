// @ts-check
// Requests to the mesh.
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { AgentError, ChildFailed, Permanent } from "./errors.js";

const tries = 5;
const again = new Set([408, 425, 429, 502, 503, 504]);

/**
 * The JSON of an answer. A request is repeated where that may help; each has what makes a
 * repeat the same request.
 * @param {string} method @param {string} url
 * @param {{key?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 */
export async function request(method, url, { key, body, headers = {}, signal } = {}) {
  /** @type {Record<string, string>} */
  const sent = { "Content-Type": "application/json", Accept: "application/json", ...headers };
  if (key) sent.Authorization = `Bearer ${key}`;
  for (let n = 1; ; n++) {
    let least = 0;
    try {
      // A redirect is not followed: the key is for this address only.
      const answer = await fetch(url, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), redirect: "manual", signal });
      const text = await answer.text();
      if (answer.ok) return text ? JSON.parse(text) : undefined;
      if (!again.has(answer.status) || n === tries) throw refusal(answer.status, text);
      least = Math.min(Number(answer.headers.get("Retry-After")) || 0, 60) * 1000;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof AgentError) throw error;
      if (n === tries) throw new AgentError(`${method} ${url.split("?")[0]}: ${/** @type {any} */ (error).cause?.message ?? error}`, { code: "call_failed", cause: error });
    }
    await pause(Math.max(least, Math.random() * 100 * 2 ** n), undefined, { signal });
  }
}

/** @param {number} status @param {string} text */
function refusal(status, text) {
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = {};
  }
  const message = problem?.detail ?? problem?.title ?? `the mesh answered ${status}`;
  const retryable = status < 400 || status >= 500 || status === 401 || status === 409;
  return retryable ? new AgentError(message, { code: problem?.code }) : new Permanent(message, { code: problem?.code });
}

/** @param {string} url @param {string} [key] @param {AbortSignal} [signal] */
export function get(url, key, signal) {
  return request("GET", url, { key, signal });
}

/** How often each call was made, of each job. @type {WeakMap<any, Map<string, number>>} */
const called = new WeakMap();

/**
 * The key of a call: that of the n-th equal call is the same in every attempt, so that a
 * retry finds the child of the attempt before.
 * @param {any} job @param {any} body
 */
function keyOf(job, body) {
  const same = createHash("sha256").update(JSON.stringify(body)).digest("hex").slice(0, 32);
  const made = called.get(job) ?? new Map();
  called.set(job, made);
  const n = made.get(same) ?? 0;
  made.set(same, n + 1);
  return `call-${same}-${n}`;
}

/** A child task, and its result. @param {any} job @param {any} body */
export async function call(job, body) {
  if (!job.gateway) throw new Permanent("the mesh's address is not known: MESH_GATEWAY_URL is not set", { code: "no_gateway" });
  const { gateway, apiKey: key, signal } = job;
  /** @type {Record<string, string>} */
  const headers = { "Mesh-Parent-Task": job.taskId, "Idempotency-Key": keyOf(job, body), Prefer: "wait=30" };
  if (job.traceparent) headers.Traceparent = job.traceparent;
  let child = await request("POST", `${gateway}/tasks`, { key, body, headers, signal });
  while (!["completed", "failed", "canceled"].includes(child.status)) {
    child = await request("GET", `${gateway}/tasks/${child.task_id}`, { key, headers: { Prefer: "wait=30" }, signal });
  }
  if (child.status !== "completed") throw new ChildFailed(`${body.agent}: ${child.error?.message ?? child.status}`, child);
  if (child.result === undefined && child.result_url) return get(new URL(child.result_url, gateway).href, key, signal);
  return child.result;
}
