// @ts-check
// Refusals of the gateway, and how a task may end.

/** A refusal of the gateway (RFC 9457), or no answer of one: then status is 0. Switch on code. */
export class MeshError extends Error {
  /** @param {any} problem @param {{cause?: unknown, retryAfter?: number}} [more] */
  constructor(problem, { cause, retryAfter = 0 } = {}) {
    const faults = (problem.errors ?? []).map((/** @type {any} */ e) => `\n  ${e.pointer}: ${e.detail}`).join("");
    super(`${problem.detail || problem.title} (${problem.code})${faults}`, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.status = problem.status ?? 0;
    this.code = problem.code;
    this.detail = problem.detail ?? problem.title ?? "";
    this.traceId = problem.trace_id ?? "";
    this.errors = problem.errors ?? [];
    this.retryable = Boolean(problem.retryable);
    this.retryAfter = retryAfter;
    this.problem = problem;
  }
}

export class NotFound extends MeshError {}
export class Conflict extends MeshError {}
export class Invalid extends MeshError {}
export class Denied extends MeshError {}
export class RateLimited extends MeshError {}
/** The gateway is away, or cannot take requests now. */
export class Unavailable extends MeshError {}

/** A task has failed: its code, its message, the attempt, and the task. */
export class TaskFailed extends Error {
  /** @param {any} task */
  constructor(task) {
    const error = task.error ?? { code: "failed", message: "the task failed" };
    super(`${error.message} (${error.code})`);
    this.name = "TaskFailed";
    this.code = error.code;
    this.attempt = error.attempt ?? task.attempt;
    this.task = task;
  }
}

/** A task was canceled. */
export class TaskCanceled extends Error {
  /** @param {any} task */
  constructor(task) {
    super(`the task ${task.task_id} was canceled`);
    this.name = "TaskCanceled";
    this.task = task;
  }
}

/** Something has not come in time. The task goes on. */
export class TimedOut extends Error {
  /** @param {string} what */
  constructor(what) {
    super(`${what} has not come in time`);
    this.name = "TimedOut";
  }
}

/** @param {number} status */
function kindOf(status) {
  if (status === 404 || status === 410) return NotFound;
  if (status === 409 || status === 412) return Conflict;
  if (status === 401 || status === 403) return Denied;
  if (status === 429) return RateLimited;
  if (status === 0 || status >= 500 || status === 408) return Unavailable;
  return status >= 400 ? Invalid : MeshError;
}

/** The refusal of an answer. @param {number} status @param {string} text @param {number} retryAfter */
export function refusal(status, text, retryAfter) {
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {}
  if (!problem?.code) problem = { title: "the answer is not the gateway's", code: `http_${status}` };
  return new (kindOf(status))({ ...problem, status }, { retryAfter });
}

/** @param {string} what @param {any} cause */
export function unreachable(what, cause) {
  return new Unavailable({ title: `${what}: ${cause?.cause?.message ?? cause?.message ?? cause}`, code: "unreachable", status: 0, retryable: true }, { cause });
}
