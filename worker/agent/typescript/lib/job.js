// @ts-check
// One attempt of a task, as its handler sees it.
import { call, get } from "./calls.js";
import { Canceled, InputTimeout, Permanent, StepFailed, Suspended } from "./errors.js";

/** Answers a turn of a session, and leaves a new state (an object). */
export class Reply {
  /** @param {string} message @param {Record<string, unknown>} [state] */
  constructor(message, state) {
    this.message = message;
    this.state = state;
  }
}

/** The object that an agent receives (raw), and what it may say. */
export class Job {
  #wire;
  #past = new Map();
  #counts = new Map();
  #abort = new AbortController();
  /** @type {Set<Promise<unknown>>} */
  #working = new Set();

  /**
   * @param {any} raw
   * @param {{say(line: any): void, keep(line: any): Promise<void>}} wire
   * @param {{gateway?: string, key?: string}} [mesh]
   */
  constructor(raw, wire, { gateway = "", key = "" } = {}) {
    this.raw = raw;
    this.#wire = wire;
    this.taskId = raw.task_id ?? "";
    this.kind = raw.kind ?? "task";
    this.agent = raw.agent ?? "";
    this.attempt = raw.attempt ?? 1;
    this.instruction = raw.instruction;
    this.input = raw.input;
    this.labels = raw.labels ?? {};
    this.metadata = raw.metadata;
    this.deadline = raw.deadline;
    this.scheduledAt = raw.scheduled_at;
    this.traceparent = raw.traceparent ?? "";
    this.session = raw.session;
    this.run = raw.run ?? 1;
    this.gateway = gateway;
    this.apiKey = key;
    this.waiting = false; // it has said that it waits
    this.silent = true; // it has put out nothing
    for (const s of raw.steps ?? []) this.#past.set(`${s.n} ${s.name}`, s);
  }

  /** The conversation, oldest first; the last one is the new one. */
  get messages() {
    return this.session?.messages ?? [];
  }

  /** The new message of a turn; else the instruction. */
  get text() {
    return this.messages.at(-1)?.text ?? this.instruction ?? "";
  }

  /** What the agent left in the session. */
  get state() {
    return this.session?.state ?? {};
  }

  /** Aborted when nobody wants the attempt any more. */
  get signal() {
    return this.#abort.signal;
  }

  get canceled() {
    return this.signal.aborted;
  }

  cancel() {
    this.#abort.abort(new Canceled());
  }

  /** @param {number} percent @param {string} [message] */
  progress(percent, message = "") {
    this.#say({ type: "progress", percent, message });
  }

  /** @param {string} name @param {string} [message] @param {unknown} [data] */
  milestone(name, message = "", data) {
    this.#say({ type: "milestone", name, message, data });
  }

  /** Text that readers see as it comes. Without a result it is the result. @param {string} text */
  output(text) {
    if (!text) return;
    this.silent = false;
    this.#say({ type: "output", text });
  }

  /** @param {any} line */
  #say(line) {
    this.signal.throwIfAborted();
    this.#wire.say(line);
  }

  /**
   * What work returned: now, or in the run that did it. A Permanent error is kept, too,
   * any other is not. marked notes the beginning, so that again can say that the step may
   * have been done.
   * @param {string} name
   * @param {(info: {key: string, again: boolean}) => any} work
   * @param {{marked?: boolean}} [options]
   */
  async step(name, work, { marked = false } = {}) {
    const [n, known] = this.#begin(name);
    if (known && !known.kind) return this.#known(known, StepFailed);
    const done = this.#work({ name, n }, known, work, marked);
    this.#working.add(done);
    try {
      return await done;
    } finally {
      this.#working.delete(done);
    }
  }

  /** @param {{name: string, n: number}} id @param {any} known @param {any} work @param {boolean} marked */
  async #work(id, known, work, marked) {
    if (marked && !known) await this.#wire.keep({ type: "started", ...id });
    let value;
    try {
      value = await work({ key: this.stepKey(id.name, id.n), again: Boolean(known) });
    } catch (error) {
      if (error instanceof Permanent) {
        await this.#wire.keep({ type: "step", ...id, error: { code: error.code || "agent_error", message: error.message || error.name } });
      }
      throw error;
    }
    value = JSON.parse(JSON.stringify(value ?? null)); // as the runs that follow find it
    await this.#wire.keep({ type: "step", ...id, value });
    return value;
  }

  /** The idempotency key of a step. */
  stepKey(/** @type {string} */ name, n = 0) {
    return `${this.taskId}.${name}.${n}`;
  }

  /** Keeps one value, the newest. @param {unknown} value */
  checkpoint(value) {
    this.#needsSteps("checkpoint");
    this.#say({ type: "checkpoint", value: value ?? null });
  }

  get lastCheckpoint() {
    return this.raw.checkpoint;
  }

  /**
   * Ends the run, and has the handler run again when the time is over.
   * @param {string} name @param {string | number | {until: string}} time
   */
  async sleep(name, time) {
    await this.#wait({ type: "sleep", name }, typeof time === "object" ? time : { for: time });
  }

  /**
   * The answer of a person. Until it is there the handler does not go on.
   * @param {string} name @param {string} prompt @param {{schema?: unknown, timeout?: string | number}} [options]
   */
  async ask(name, prompt, { schema, timeout } = {}) {
    return this.#wait({ type: "ask", name }, { prompt, schema, timeout });
  }

  /** What came with an event that somebody else tells of. @param {string} name @param {{timeout?: string | number}} [options] */
  async wait(name, { timeout } = {}) {
    return this.#wait({ type: "wait", name }, { timeout });
  }

  /** @param {{type: string, name: string}} line @param {any} members */
  async #wait(line, members) {
    const [n, known] = this.#begin(line.name);
    if (known) return this.#known(known, InputTimeout);
    this.waiting = true;
    this.#say({ ...line, n, ...members });
    throw new Suspended();
  }

  /** @param {string} name */
  #begin(name) {
    this.signal.throwIfAborted();
    this.#needsSteps(`step ${JSON.stringify(name)}`);
    const n = this.#counts.get(name) ?? 0;
    this.#counts.set(name, n + 1);
    return [n, this.#past.get(`${n} ${name}`)];
  }

  /** @param {string} what */
  #needsSteps(what) {
    if (this.raw.run === undefined) {
      throw new Permanent(`${what}: this agent keeps no steps; write protocol: steps beside its command in agents.yaml`, { code: "no_steps" });
    }
  }

  /** @param {any} entry @param {typeof StepFailed} Failure */
  async #known(entry, Failure) {
    if (entry.error) throw new Failure(entry.error.message || entry.error.code || "failed", { code: entry.error.code ?? "" });
    if (entry.value === undefined && entry.value_url) return get(entry.value_url, this.apiKey || this.raw.lease, this.signal);
    return entry.value;
  }

  /** Waits until no step is at work. */
  async settle() {
    while (this.#working.size > 0) await Promise.allSettled([...this.#working]);
  }

  /**
   * Runs another agent and returns its result: a task of its own in the same trace,
   * canceled with this one, and found again when this one is retried.
   * @param {string} agent @param {unknown} [input] @param {{instruction?: string}} [options]
   */
  call(agent, input, { instruction } = {}) {
    return call(this, { agent, input, instruction });
  }
}
