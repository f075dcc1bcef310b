// @ts-check
// How an attempt ends that does not end with a result.

/** A failure with what the client may see of it, tried again unless it is not retryable. */
export class AgentError extends Error {
  /** @param {string} message @param {{code?: string, retryable?: boolean, cause?: unknown}} [options] */
  constructor(message, { code = "", retryable = true, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = retryable;
  }
}

/** A failure that no retry can mend. */
export class Permanent extends AgentError {
  /** @param {string} message @param {{code?: string, cause?: unknown}} [options] */
  constructor(message, options = {}) {
    super(message, { ...options, retryable: false });
  }
}

/** A step has failed for good, in this run or in one before. */
export class StepFailed extends Permanent {}

/** No answer has come in time. */
export class InputTimeout extends Permanent {}

/** A task that this one has called did not complete; task is its record. */
export class ChildFailed extends Permanent {
  /** @param {string} message @param {any} task */
  constructor(message, task) {
    super(message, { code: "child_failed" });
    this.task = task;
  }
}

/** Nobody wants the attempt any more. */
export class Canceled extends Error {
  constructor() {
    super("the task is not wanted any more");
    this.name = "Canceled";
  }
}

/** The job waits: the handler runs again from its top when the wait is over. */
export class Suspended extends Error {
  constructor() {
    super("the task waits");
    this.name = "Suspended";
  }
}

/** The error line of what was thrown. @param {any} error */
export function told(error) {
  if (error instanceof AgentError) {
    const line = { type: "error", message: error.message || error.name, retryable: error.retryable };
    return error.code ? { ...line, code: error.code } : line;
  }
  if (!(error instanceof Error)) return { type: "error", message: String(error) || "failed" };
  return { type: "error", message: error.message ? `${error.name}: ${error.message}` : error.name };
}
