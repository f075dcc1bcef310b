// @ts-check
// The operations of the gateway as methods of their nouns.
import { operations } from "../operations.js";
import { follow } from "./events.js";
import { waiting, milliseconds } from "./transport.js";

/** Calls an operation: its path's parameters, then the body or the query, then options. @param {any} mesh @param {any} op @param {any[]} args */
export function call(mesh, op, args) {
  args = [...args];
  let path = op.path;
  for (const name of op.params ?? []) {
    const value = args.shift();
    if (typeof value !== "string" || value === "") throw new TypeError(`${op.name} needs ${name}: a text`);
    path = path.replace(`{${name}}`, encodeURIComponent(value));
  }
  const body = op.body ? args.shift() : undefined;
  const query = !op.body && op.query ? (args.shift() ?? {}) : {};
  const options = args.shift() ?? {};
  const headers = { ...options.headers };
  if (op.key) headers["Idempotency-Key"] = JSON.stringify(options.idempotencyKey ?? crypto.randomUUID());
  if (options.parent) headers["Mesh-Parent-Task"] = options.parent;
  if (options.ifMatch) headers["If-Match"] = options.ifMatch;
  if (options.async) headers.Prefer = "respond-async";
  else if (options.wait !== undefined) headers.Prefer = waiting(milliseconds(options.wait));
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const request = {
    method: op.method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    safe: op.method !== "POST" && op.method !== "PATCH" || Boolean(op.key), timeout: options.timeout, signal: options.signal,
  };
  const at = (/** @type {any} */ more) => path + search({ ...query, ...more });
  if (op.stream) return follow(mesh.transport, at({}), { after: options.after, signal: options.signal, last: (e) => (op.noun === "sessions" ? e.type === "closed" : e.type === "status" && e.data.done === true && op.noun !== undefined) });
  if (op.items) return new Pages(op, (/** @type {any} */ more) => mesh.json({ ...request, path: at(more) }));
  return mesh.json({ ...request, path: at({}) });
}

/** @param {Record<string, any>} query */
function search(query) {
  const q = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (name === "labels") for (const [k, v] of Object.entries(value)) q.append(`label.${k}`, v);
    else if (value !== undefined && value !== null && value !== "") q.append(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  const text = q.toString();
  return text && `?${text}`;
}

/** A list: awaited it is its first page, and iterated all that is in it, page after page. */
export class Pages {
  #op;
  #read;

  /** @param {any} op @param {(more: any) => Promise<any>} read */
  constructor(op, read) {
    this.#op = op;
    this.#read = read;
  }

  /** @param {any} resolve @param {any} reject */
  then(resolve, reject) {
    return this.#read({}).then(resolve, reject);
  }

  /** @param {any} reject */
  catch(reject) {
    return this.then(undefined, reject);
  }

  async *pages() {
    for (let more = {}; ; ) {
      const page = await this.#read(more);
      yield page;
      const next = page[this.#op.next];
      if (!next) return;
      more = { [this.#op.from]: next };
    }
  }

  async *[Symbol.asyncIterator]() {
    for await (const page of this.pages()) yield* page[this.#op.items] ?? [];
  }
}

/** Puts the operations of a noun on an object. @param {any} mesh @param {any} target @param {string | undefined} noun */
export function equip(mesh, target, noun) {
  for (const op of Object.values(operations)) {
    if (op.noun === noun && !(op.name in target)) target[op.name] = (/** @type {any[]} */ ...args) => call(mesh, op, args);
  }
  return target;
}

export const nouns = [...new Set(Object.values(operations).flatMap((op) => op.noun ?? []))];
