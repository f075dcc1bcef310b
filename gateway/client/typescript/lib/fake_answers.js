// @ts-check
// What a fake mesh refuses.

/** An answer that is a problem. */
export class Refusal extends Error {
  /** @param {number} status @param {string} code @param {any} [more] */
  constructor(status, code, { detail = code, errors, retryAfter } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.problem = { type: `/problems/${code}`, title: code, status, detail, code, retryable: status === 503 || status === 429, ...(errors && { errors }) };
    this.retryAfter = retryAfter;
  }

  answer() {
    return new Response(JSON.stringify(this.problem), { status: this.status, headers: { "Content-Type": "application/problem+json", ...(this.retryAfter && { "Retry-After": String(this.retryAfter) }) } });
  }
}

// The members of bodies, so that a test finds a word that is none.
export const members = {
  task: ["agent", "callback_events", "callback_secret_ref", "callback_url", "deadline", "delay", "input", "instruction", "labels", "max_attempts", "metadata", "run_at", "timeout"],
  session: ["agent"],
  message: ["agent", "answer", "message", "on_busy", "text"],
  answer: ["name", "value"],
};

/** A body without other members. @param {any} body @param {string[]} known */
export function checked(body, known) {
  const errors = Object.keys(body ?? {}).filter((name) => !known.includes(name)).map((name) => ({ pointer: `/${name}`, detail: "there is no such member" }));
  if (errors.length > 0) throw invalid(errors);
  return body ?? {};
}

export const invalid = (/** @type {any[]} */ errors) => new Refusal(422, "validation_failed", { detail: `${errors[0].pointer.slice(1)}: ${errors[0].detail}`, errors });
