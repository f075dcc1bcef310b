// @ts-check
// Tasks and sessions of a FakeMesh.
import { Refusal, checked, members } from "./fake_answers.js";
import { pause } from "./transport.js";

export const now = () => new Date().toISOString();
const final = ["completed", "failed", "canceled"];

/** Events that readers follow. */
class Log {
  events = /** @type {any[]} */ ([]);
  over = false;
  #revision = 0;
  #wake = () => {};
  #changed = /** @type {Promise<void>} */ (Promise.resolve());

  constructor() {
    this.#next();
  }

  #next() {
    this.#changed = new Promise((r) => (this.#wake = r));
  }

  /** @param {string} type @param {any} data */
  tell(type, data) {
    this.events.push({ type, data, ...(type !== "output" && { id: this.#revision++ }) });
    const wake = this.#wake;
    this.#next();
    wake();
  }

  /** @param {AbortSignal} [signal] */
  async changed(signal) {
    await Promise.race([this.#changed, ...(signal ? [new Promise((r) => signal.addEventListener("abort", r, { once: true }))] : [])]);
  }

  /** @param {string} [after] @param {AbortSignal} [signal] */
  stream(after, signal) {
    let at = 0;
    const encoder = new TextEncoder();
    const next = async (/** @type {ReadableStreamDefaultController} */ to) => {
      for (;;) {
        if (signal?.aborted) return to.close();
        const event = this.events[at++];
        if (event) {
          if (after && event.id !== undefined && event.id <= Number(after)) continue;
          return to.enqueue(encoder.encode(`event: ${event.type}\n${event.id === undefined ? "" : `id: ${event.id}\n`}data: ${JSON.stringify(event.data)}\n\n`));
        }
        at--;
        if (this.over) return to.close();
        await this.changed(signal);
      }
    };
    return new Response(new ReadableStream({ pull: next }), { headers: { "Content-Type": "text/event-stream" } });
  }
}

/** A task, and what is told of it. */
export class Record extends Log {
  questions = /** @type {any[]} */ ([]);
  answered = new Map();
  #waiting = /** @type {Map<string, (value: any) => void>} */ (new Map());
  #stop = new AbortController();
  #output = 0;
  reply = /** @type {string | undefined} */ (undefined);
  /** Called when the agent has nothing to say any more. */
  left = () => {};

  /** @param {string} id @param {any} body @param {any} more */
  constructor(id, body, { also, text, messages = [], state = {}, ...more }) {
    super();
    this.id = id;
    this.body = body;
    this.also = /** @type {Log | undefined} */ (also);
    this.turn = { text, messages, state };
    const kind = /** @type {any} */ ({ tsk_: "task", act_: "action", trn_: "turn" })[id.slice(0, 4)];
    this.raw = /** @type {any} */ ({
      task_id: id, ...(kind !== "task" && { [`${kind}_id`]: id }), status: kind === "action" ? "initiated" : "pending", done: false, kind, agent: body.agent, attempt: 0,
      created_at: now(), updated_at: now(), status_url: `/${kind === "action" ? "actions" : "tasks"}/${id}`,
      ...(body.labels && { labels: body.labels }), ...(body.metadata !== undefined && { metadata: body.metadata }), ...more,
    });
    this.#status({});
  }

  /** @param {string} type @param {any} data */
  tell(type, data) {
    super.tell(type, data);
    this.also?.tell(type, data);
  }

  /** @param {any} patch */
  #status(patch) {
    if (this.raw.done) return;
    Object.assign(this.raw, patch, { updated_at: now() });
    this.raw.done = this.over = final.includes(this.raw.status);
    if (this.over) this.raw.finished_at = now();
    this.tell("status", { ...this.shown(), at: now() });
  }

  shown() {
    return structuredClone({ ...this.raw, ...(this.questions.length > 0 && { question: this.questions[0], questions: this.questions }) });
  }

  accepted() {
    const { task_id, action_id, status, status_url, agent, created_at, retried_from } = this.raw;
    return { ...(action_id ? { action_id, message: "Processing your request." } : { task_id }), status: action_id ? "initiated" : "pending", status_url, agent, created_at, ...(retried_from && { retried_from }) };
  }

  /** What a user says in a turn. */
  said() {
    return { role: "user", text: this.turn.text, at: this.raw.created_at, turn_id: this.id };
  }

  /** @param {(job: any) => unknown} run */
  async run(run) {
    await pause(0);
    if (this.raw.done) return;
    this.#status({ status: "processing", attempt: 1, started_at: now() });
    try {
      const value = await run(this.#job());
      this.#status({ status: "completed", progress: "100%", progress_percent: 100, result: structuredClone(value ?? null) });
    } catch (error) {
      const { code = "agent_error", message = String(error) } = /** @type {any} */ (error);
      this.#status({ status: "failed", error: { code, message, attempt: 1, retryable: false } });
    }
  }

  #job() {
    const { agent, instruction, input, labels = {} } = this.body;
    const told = (/** @type {() => void} */ say) => {
      this.#stop.signal.throwIfAborted();
      say();
    };
    return {
      taskId: this.id, agent, attempt: 1, instruction, input: structuredClone(input), labels, signal: this.#stop.signal,
      text: this.turn.text ?? instruction ?? "", messages: this.turn.messages, state: this.turn.state,
      progress: (/** @type {number} */ percent, /** @type {string} */ message) => told(() => {
        Object.assign(this.raw, { progress: `${percent}%`, progress_percent: percent, ...(message && { message }) });
        this.tell("progress", { ...this.shown(), at: now() });
      }),
      milestone: (/** @type {string} */ name, /** @type {string} */ message, /** @type {any} */ data) => told(() => {
        const one = { n: (this.raw.milestones?.length ?? 0) + 1, name, ...(message && { message }), ...(data !== undefined && { data }), at: now(), attempt: 1 };
        this.raw.milestones = [...(this.raw.milestones ?? []), one];
        this.tell("milestone", { task_id: this.id, ...one });
      }),
      output: (/** @type {string} */ text) => told(() => {
        this.tell("output", { task_id: this.id, attempt: 1, offset: this.#output, text });
        this.#output += new TextEncoder().encode(text).length;
      }),
      ask: (/** @type {string} */ name, /** @type {string} */ prompt, /** @type {any} */ { schema } = {}) => this.#ask(name, prompt, schema),
    };
  }

  /** @param {string} name @param {string} prompt @param {any} schema */
  async #ask(name, prompt, schema) {
    if (this.raw.kind === "turn") throw new Error("the fake mesh has no questions in turns: reply with the question as the message");
    if (this.answered.has(name)) return this.answered.get(name);
    this.questions.push({ name, prompt, ...(schema !== undefined && { schema }), asked_at: now() });
    this.#status({ status: "input_required" });
    const value = await new Promise((resolve, reject) => {
      this.#waiting.set(name, resolve);
      this.#stop.signal.addEventListener("abort", () => reject(this.#stop.signal.reason), { once: true });
    });
    this.#status({ status: "processing" });
    return value;
  }

  /** An answer, which may come before its question. @param {string} name @param {any} value */
  answer(name, value) {
    this.answered.set(name, value);
    const go = this.#waiting.get(name);
    if (!go) return;
    this.questions = this.questions.filter((q) => q.name !== name);
    this.#status({ status: "pending" });
    go(value);
  }

  cancel() {
    this.questions = [];
    this.#status({ status: "canceled" });
    this.left();
    this.#stop.abort(new Error("the task was canceled"));
  }

  /** @param {number} [ms] @param {AbortSignal} [signal] */
  async ended(ms, signal) {
    const until = new AbortController();
    const timer = ms === undefined ? undefined : setTimeout(() => until.abort(), ms);
    const stop = () => until.abort();
    signal?.addEventListener("abort", stop, { once: true });
    while (!this.raw.done && !until.signal.aborted) await this.changed(until.signal);
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    signal?.throwIfAborted();
  }
}

class Session extends Log {
  messages = /** @type {any[]} */ ([]);
  state = /** @type {any} */ ({});
  turns = /** @type {Map<string, Record>} */ (new Map());
  made = now();
  open = /** @type {Record[]} */ ([]);

  /** @param {string} id @param {string} agent */
  constructor(id, agent) {
    super();
    this.id = id;
    this.agent = agent;
  }

  /** A turn is open no more. @param {Record} record */
  leave(record) {
    const at = this.open.indexOf(record);
    if (at < 0) return;
    this.open.splice(at, 1);
    if (record.raw.status === "canceled") this.messages.push({ ...record.said(), interrupted: true });
  }

  shown() {
    const [open, ...waiting] = this.open.map((t) => t.id);
    const turns = new Set(this.messages.flatMap((m) => m.turn_id ?? []));
    return {
      session_id: this.id, agent: this.agent, busy: open !== undefined, ...(open && { open_turn: open }), ...(waiting.length > 0 && { waiting }), turns: turns.size, messages: this.messages.length,
      created_at: this.made, updated_at: this.messages.at(-1)?.at ?? this.made, expires_at: new Date(Date.now() + 86_400_000).toISOString(),
    };
  }
}

/** The sessions of a gateway. */
export class Sessions {
  #all = /** @type {Map<string, Session>} */ (new Map());

  /** @param {any} gateway */
  constructor(gateway) {
    this.gateway = gateway;
  }

  routes() {
    const of = (/** @type {any} */ r) => {
      const session = this.#all.get(r.params.id);
      if (!session) throw new Refusal(404, "session_not_found", { detail: `There is no session ${r.params.id}.` });
      return session;
    };
    const turn = (/** @type {any} */ r) => {
      const record = of(r).turns.get(r.params.turn_id);
      if (!record) throw new Refusal(404, "turn_not_found", { detail: `There is no turn ${r.params.turn_id}.` });
      return record;
    };
    return {
      "GET /sessions": () => ({ sessions: [...this.#all.values()].map((s) => s.shown()), next_cursor: "", scanned: this.#all.size }),
      "POST /sessions": (/** @type {any} */ r) => this.#create(checked(r.body, members.session)),
      "GET /sessions/{id}": (/** @type {any} */ r) => ({ ...of(r).shown(), ...(r.query.include === "state" && { state: of(r).state }) }),
      "DELETE /sessions/{id}": (/** @type {any} */ r) => this.#close(of(r)),
      "GET /sessions/{id}/messages": (/** @type {any} */ r) => ({ session_id: of(r).id, messages: of(r).messages.slice(Number(r.query.after ?? 0)), first: Number(r.query.after ?? 0) + 1 }),
      "POST /sessions/{id}/messages": (/** @type {any} */ r) => this.#say(of(r), checked(r.body, members.message), r),
      "GET /sessions/{id}/events": (/** @type {any} */ r) => of(r).stream(r.headers["Last-Event-ID"] ?? r.query.after, r.signal),
      "GET /sessions/{id}/turns/{turn_id}": async (/** @type {any} */ r) => {
        const wait = /^wait=(\d+)$/.exec(r.headers.Prefer ?? "");
        if (wait) await turn(r).ended(Number(wait[1]) * 1000, r.signal);
        return this.#turn(turn(r));
      },
      "POST /sessions/{id}/turns/{turn_id}/cancel": (/** @type {any} */ r) => {
        turn(r).cancel();
        return this.#turn(turn(r));
      },
    };
  }

  /** @param {any} body */
  #create({ agent }) {
    const { greeting } = this.gateway.agent(agent);
    const session = new Session(this.gateway.id("ses_"), agent);
    if (greeting) session.messages.push({ role: "agent", text: greeting, at: now() });
    this.#all.set(session.id, session);
    const { session_id, created_at, expires_at } = session.shown();
    return Response.json({ session_id, message: greeting, agent, created_at, expires_at }, { status: 201 });
  }

  /** @param {Session} session */
  #close(session) {
    for (const turn of [...session.open]) turn.cancel();
    this.#all.delete(session.id);
    session.over = true;
    session.tell("closed", { session_id: session.id, reason: "deleted" });
  }

  /** @param {Session} session @param {any} body @param {any} request */
  async #say(session, { text, message = text, answer, on_busy = "reject" }, { headers, signal }) {
    if (session.open.length > 0 && on_busy === "reject") throw new Refusal(409, "session_busy", { detail: "A turn is open." });
    const before = on_busy === "interrupt" ? [] : [...session.open];
    if (on_busy === "interrupt") for (const turn of [...session.open]) turn.cancel();
    const said = message ?? JSON.stringify(answer);
    const { run } = this.gateway.agent(session.agent);
    const record = new Record(this.gateway.id("trn_"), { agent: session.agent }, { session_id: session.id, also: session, text: said });
    this.gateway.keep(record);
    session.turns.set(record.id, record);
    session.open.push(record);
    record.left = () => session.leave(record);
    void this.#run(session, record, run, before);
    const prefer = headers.Prefer ?? "wait=30";
    const wait = /^wait=(\d+)$/.exec(prefer);
    if (wait) await record.ended(Number(wait[1]) * 1000, signal);
    if (record.raw.done) {
      const { text: _, ...turn } = this.#turn(record);
      return Response.json({ session_id: session.id, message: turn.status === "completed" ? turn.message : null, turn_id: record.id, status: turn.status, ...(turn.error && { error: turn.error }) });
    }
    return Response.json({ session_id: session.id, turn_id: record.id, status: "pending", status_url: `/sessions/${session.id}/turns/${record.id}`, agent: session.agent, created_at: record.raw.created_at }, { status: 202 });
  }

  /** @param {Session} session @param {Record} record @param {any} run @param {Record[]} before */
  async #run(session, record, run, before) {
    for (const turn of before) await turn.ended();
    record.turn.messages = [...session.messages, record.said()];
    record.turn.state = structuredClone(session.state);
    await record.run(async (job) => {
      try {
        const value = await run(job);
        const reply = typeof value === "string" ? { message: value } : value;
        if (typeof reply?.message !== "string") throw new Error("an agent answers a turn with a text, or with message and state");
        if (record.raw.done) return;
        session.messages = [...record.turn.messages, { role: "agent", text: reply.message, at: now(), turn_id: record.id }];
        if (reply.state !== undefined) session.state = structuredClone(reply.state);
        record.reply = reply.message;
        return { message: reply.message };
      } finally {
        record.left();
      }
    });
    if (record.raw.status === "completed") session.tell("reply", { session_id: session.id, message: record.reply, turn_id: record.id, at: now() });
  }

  /** @param {Record} record */
  #turn(record) {
    return { ...record.shown(), text: record.turn.text, ...(record.reply !== undefined && record.raw.status === "completed" && { message: record.reply }) };
  }
}
