// @ts-check
// Tasks and sessions, as more than their answers.
import { operations } from "../operations.js";
import { TaskCanceled, TaskFailed, TimedOut } from "./errors.js";
import { call } from "./nouns.js";
import { backoff, milliseconds, pause, repeatable, waiting } from "./transport.js";

const longest = 60_000; // that a gateway holds an answer

/** A task that was accepted. raw is what is known of it. */
export class Task {
  #mesh;

  /** @param {any} mesh @param {any} raw */
  constructor(mesh, raw) {
    this.#mesh = mesh;
    this.raw = raw;
  }

  get id() {
    return this.raw.task_id ?? this.raw.action_id ?? this.raw.turn_id;
  }

  get status() {
    return this.raw.status;
  }

  get done() {
    return ["completed", "failed", "canceled"].includes(this.status);
  }

  /** Waits until the task has ended, by long polls that survive a gateway's restart. @param {{timeout?: any, signal?: AbortSignal}} [options] */
  async wait({ timeout, signal } = {}) {
    const end = timeout === undefined ? Infinity : Date.now() + milliseconds(timeout);
    for (let fails = 0; !this.done; ) {
      const left = end - Date.now();
      if (left <= 0) throw new TimedOut(`the end of ${this.id}`);
      try {
        const headers = { Prefer: waiting(Math.min(left, longest)) };
        this.raw = await this.#mesh.json({ method: "GET", path: `/tasks/${encodeURIComponent(this.id)}`, headers, safe: false, signal });
        fails = 0;
        if (!this.done) await pause(50, signal); // the gateway may shut down and answer at once
      } catch (error) {
        if (!repeatable(error) || ++fails > 50) throw error;
        await pause(Math.min(backoff(Math.min(fails, 5), error), Math.max(end - Date.now(), 0)), signal);
      }
    }
    return this;
  }

  /** The result. It throws TaskFailed and TaskCanceled. @param {{timeout?: any, signal?: AbortSignal}} [options] */
  async result(options) {
    await this.wait(options);
    if (this.status === "failed") throw new TaskFailed(this.raw);
    if (this.status === "canceled") throw new TaskCanceled(this.raw);
    if (this.raw.result === undefined && this.raw.result_url) return JSON.parse(await this.rawResult(options));
    return this.raw.result;
  }

  /** The result of a completed task as it was sent: its text keeps numbers of any size. @param {any} [options] */
  async rawResult({ signal } = {}) {
    return (await this.#mesh.transport.send({ method: "GET", path: `/tasks/${encodeURIComponent(this.id)}/result`, safe: true, signal })).text;
  }

  /** @param {any} [options] */
  events(options) {
    return this.#mesh.tasks.events(this.id, {}, options);
  }

  /** @param {any} [options] */
  async cancel(options) {
    this.raw = await this.#mesh.tasks.cancel(this.id, options);
    return this;
  }

  /** @param {any} answer @param {any} [options] */
  async answer(answer, options) {
    this.raw = await this.#mesh.tasks.answer(this.id, answer, options);
    return this;
  }
}

/** A conversation. */
export class Session {
  #mesh;

  /** @param {any} mesh @param {any} raw */
  constructor(mesh, raw) {
    this.#mesh = mesh;
    this.raw = raw;
  }

  get id() {
    return this.raw.session_id;
  }

  /** How the agent begins. */
  get greeting() {
    return this.raw.message ?? "";
  }

  /** Says something and waits for the reply: {message, turn_id, status}. @param {string} text @param {any} [options] */
  async send(text, { onBusy, answer, ...options } = {}) {
    const said = await this.#mesh.sessions.postMessage(this.id, { text, answer, on_busy: onBusy }, options);
    if (said.status !== "pending" || options.async) return said;
    await this.#mesh.tasks.handle(said.turn_id).wait(options);
    return this.#mesh.sessions.getTurn(this.id, said.turn_id);
  }

  /** Says something and reads the reply as it comes. @param {string} text @param {any} [options] */
  async *stream(text, { onBusy, ...options } = {}) {
    const said = await this.#mesh.sessions.postMessage(this.id, { text, on_busy: onBusy }, { ...options, async: true });
    let silent = true;
    for await (const event of this.#mesh.tasks.events(said.turn_id, {}, { signal: options.signal })) {
      if (event.type === "output") {
        silent = false;
        yield event.text;
      }
    }
    const turn = await this.#mesh.sessions.getTurn(this.id, said.turn_id);
    if (turn.status === "failed") throw new TaskFailed(turn);
    if (turn.status === "canceled") throw new TaskCanceled(turn);
    if (silent && turn.message) yield turn.message;
  }

  /** The whole transcript. */
  messages() {
    return this.#mesh.sessions.getMessages(this.id);
  }

  /** @param {any} [options] */
  events(options) {
    return this.#mesh.sessions.events(this.id, {}, options);
  }

  delete() {
    return this.#mesh.sessions.delete(this.id);
  }
}

/** What tasks and actions have besides their operations. @param {any} mesh @param {string} noun */
export function tasks(mesh, noun) {
  const one = noun === "tasks" ? "Task" : "Action";
  const made = (/** @type {string} */ id) => async (/** @type {any[]} */ ...args) => new Task(mesh, await call(mesh, operations[id], args));
  return {
    create: made(`create${one}`),
    retry: made(`retry${one}`),
    /** A task that is known by its id. */
    handle: (/** @type {string} */ id) => new Task(mesh, { task_id: id }),
  };
}

/** @param {any} mesh */
export function sessions(mesh) {
  return {
    create: async (/** @type {any[]} */ ...args) => new Session(mesh, await call(mesh, operations.createSession, args)),
    handle: (/** @type {string} */ id) => new Session(mesh, { session_id: id }),
  };
}
