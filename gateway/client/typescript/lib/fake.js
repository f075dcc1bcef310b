// @ts-check
// The gateway of a FakeMesh: it answers as the mesh does.
import { Refusal, checked, invalid, members } from "./fake_answers.js";
import { Record, Sessions } from "./fake_tasks.js";

export class Gateway {
  asked = /** @type {any[]} */ ([]);
  refusals = /** @type {Refusal[]} */ ([]);
  #tasks = /** @type {Map<string, Record>} */ (new Map());
  #keys = /** @type {Map<string, {body: string, came: Promise<{status: number, text: string}>}>} */ (new Map());
  #sessions;
  #made = 0;

  /** @param {any} agents @param {any} routes */
  constructor(agents, routes) {
    this.agents = agents;
    this.#sessions = new Sessions(this);
    this.routes = [...Object.entries(routes), ...Object.entries(this.#own())].map(([route, answer]) => {
      const [method, path] = route.split(" ");
      const names = [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
      const parts = path.split(/\{\w+\}/).map((p) => p.replace(/[.*+?^$()|[\]\\]/g, "\\$&"));
      return { method, names, pattern: new RegExp(`^${parts.join("([^/]+)")}$`), answer };
    });
  }

  /** @param {string} url @param {any} options */
  async fetch(url, { method, headers, body, signal }) {
    signal?.throwIfAborted();
    const at = new URL(url);
    const request = { method, path: at.pathname, query: Object.fromEntries(at.searchParams), headers, body: body === undefined ? undefined : JSON.parse(body), params: {}, signal };
    this.asked.push(request);
    try {
      const refusal = this.refusals.shift();
      if (refusal) throw refusal;
      return await this.#once(request, body ?? "");
    } catch (error) {
      if (error instanceof Refusal) return error.answer();
      throw error;
    }
  }

  // A request with an idempotency key is done once, also when it comes twice at once.
  /** @param {any} request @param {string} body @returns {Promise<Response>} */
  async #once(request, body) {
    if (request.method !== "POST" || !request.headers["Idempotency-Key"]) return this.#answer(request);
    const key = `${request.path} ${request.headers["Idempotency-Key"]}`;
    const before = this.#keys.get(key);
    if (before) {
      if (before.body !== body) throw new Refusal(422, "idempotency_key_reused", { detail: "The Idempotency-Key belongs to another request." });
      const { status, text } = await before.came;
      return new Response(text, { status, headers: { "Idempotent-Replayed": "true" } });
    }
    const came = this.#answer(request).then(async (answer) => ({ status: answer.status, text: await answer.text() }));
    this.#keys.set(key, { body, came });
    came.catch(() => this.#keys.delete(key));
    const { status, text } = await came;
    return new Response(text, { status });
  }

  /** @param {any} request */
  async #answer(request) {
    for (const { method, names, pattern, answer } of this.routes) {
      const found = method === request.method && pattern.exec(request.path);
      if (!found) continue;
      request.params = Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(found[i + 1])]));
      const value = await answer(request);
      if (value instanceof Response) return value;
      return value === undefined ? new Response(null, { status: 204 }) : new Response(JSON.stringify(value));
    }
    throw new Refusal(501, "not_faked", { detail: `the fake mesh has no answer to ${request.method} ${request.path}: give it one in routes` });
  }

  /** @param {string} name */
  agent(name) {
    const one = Object.hasOwn(this.agents, name ?? "") && this.agents[name];
    if (!one) throw new Refusal(404, "agent_not_found", { detail: `There is no agent "${name}"; known are: ${Object.keys(this.agents).join(", ")}.` });
    return typeof one === "function" ? { greeting: "", run: one } : { greeting: "", ...one };
  }

  /** @param {string} prefix */
  id(prefix) {
    return prefix + String(++this.#made).padStart(32, "0");
  }

  /** @param {string} id */
  task(id) {
    const record = this.#tasks.get(id);
    if (!record) throw new Refusal(404, "task_not_found", { detail: `There is no task ${id}.` });
    return record;
  }

  /** @param {Record} record */
  keep(record) {
    this.#tasks.set(record.id, record);
    return record;
  }

  /** A task that begins. @param {string} prefix @param {any} body @param {any} [more] */
  start(prefix, body, more = {}) {
    const { run } = this.agent(body.agent);
    const record = this.keep(new Record(this.id(prefix), body, more));
    void record.run(run);
    return record;
  }

  /** What a wait comes to: the task at its end, or as it is. @param {Record} record @param {any} request @param {() => Response} [accepted] */
  async held(record, { headers, signal }, accepted) {
    const wait = /^wait=(\d+)$/.exec(headers.Prefer ?? "");
    if (wait) await record.ended(Number(wait[1]) * 1000, signal);
    return accepted && !(wait && record.raw.done) ? accepted() : Response.json(record.shown());
  }

  // What the mesh itself answers.
  #own() {
    const create = (/** @type {string} */ prefix) => async (/** @type {any} */ request) => {
      const body = checked(request.body, members.task);
      this.agent(body.agent);
      if (body.input === undefined && !body.instruction) throw invalid([{ pointer: "/input", detail: "a task needs an input or an instruction" }]);
      const record = this.start(prefix, body);
      return this.held(record, request, () => Response.json(record.accepted(), { status: 202 }));
    };
    const retry = (/** @type {string} */ prefix) => async (/** @type {any} */ request) => {
      const old = this.task(request.params.id);
      if (!["failed", "canceled"].includes(old.raw.status)) throw new Refusal(409, "task_not_retryable", { detail: `The task is ${old.raw.status}.` });
      const record = this.start(prefix, old.body, { retried_from: old.id });
      return this.held(record, request, () => Response.json(record.accepted(), { status: 202 }));
    };
    /** @type {any} */
    const routes = {
      "GET /agents": () => ({ agents: Object.keys(this.agents).map((name) => ({ name, live_workers: 1 })) }),
      "GET /agents/{name}": (/** @type {any} */ r) => this.agent(r.params.name) && { name: r.params.name, live_workers: 1 },
      "GET /tasks": (/** @type {any} */ r) => this.#list(r.query),
      ...this.#sessions.routes(),
    };
    for (const [noun, prefix] of [["tasks", "tsk_"], ["actions", "act_"]]) {
      routes[`POST /${noun}`] = create(prefix);
      routes[`GET /${noun}/{id}`] = (/** @type {any} */ r) => this.held(this.task(r.params.id), r);
      routes[`POST /${noun}/{id}/retry`] = retry(prefix);
      routes[`POST /${noun}/{id}/cancel`] = (/** @type {any} */ r) => this.#cancel(this.task(r.params.id));
      routes[`GET /${noun}/{id}/events`] = (/** @type {any} */ r) => this.task(r.params.id).stream(r.headers["Last-Event-ID"] ?? r.query.after, r.signal);
      routes[`GET /${noun}/{id}/input`] = (/** @type {any} */ r) => this.task(r.params.id).body.input ?? null;
      routes[`POST /${noun}/{id}/input`] = (/** @type {any} */ r) => this.#answerTo(this.task(r.params.id), checked(r.body, members.answer));
      routes[`GET /${noun}/{id}/result`] = (/** @type {any} */ r) => this.#result(this.task(r.params.id));
    }
    return routes;
  }

  /** @param {Record} record */
  #cancel(record) {
    if (record.raw.done) throw new Refusal(409, "task_finished", { detail: "A finished task never changes. Retry it as a new task with POST /tasks/{id}/retry." });
    record.cancel();
    return record.shown();
  }

  /** @param {Record} record @param {any} body */
  #answerTo(record, { name = record.questions[0]?.name, value }) {
    if (record.raw.done) throw new Refusal(409, "task_finished", { detail: `The task is ${record.raw.status} and waits for nothing.` });
    if (name === undefined) throw invalid([{ pointer: "/name", detail: "is missing: no question is open; name the one that the answer is for" }]);
    if (record.answered.has(name)) throw new Refusal(409, "already_answered", { detail: `The question ${name} has been answered already.` });
    record.answer(name, value);
    return Response.json(record.shown(), { status: 202 });
  }

  /** @param {Record} record */
  #result(record) {
    if (record.raw.status !== "completed") throw new Refusal(404, "result_not_ready", { detail: `The task is ${record.raw.status}.` });
    return Response.json(record.raw.result);
  }

  /** @param {any} query */
  #list({ status, agent, session_id, order, limit, ...more }) {
    const labels = Object.entries(more).filter(([name]) => name.startsWith("label."));
    const all = [...this.#tasks.values()].map((r) => r.shown()).filter((t) =>
      (!status || status.split(",").includes(t.status)) && (!agent || t.agent === agent) && (!session_id || t.session_id === session_id) &&
      labels.every(([name, value]) => t.labels?.[name.slice(6)] === value));
    if (order !== "created") all.reverse();
    const from = Number(more.cursor ?? 0);
    const to = from + Number(limit ?? 100);
    return { tasks: all.slice(from, to), next_cursor: to < all.length ? String(to) : "", scanned: all.length };
  }
}
