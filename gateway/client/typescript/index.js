// @ts-check
// A client of the agent mesh for Node, Deno, Bun and browsers.
//
//	const mesh = new Mesh({ url, apiKey }); // MESH_URL, MESH_API_KEY
//	const task = await mesh.tasks.create({ agent: "research", input: { topic } });
//	console.log(await task.result({ timeout: "10m" }));
//
// Every create has an idempotency key, and what may be repeated is, where that may help;
// streams of events miss nothing however often the connection breaks. Each operation of
// the gateway is a method of its noun.
import { equip, nouns } from "./lib/nouns.js";
import { sessions, tasks } from "./lib/tasks.js";
import { Transport } from "./lib/transport.js";

export { Conflict, Denied, Invalid, MeshError, NotFound, RateLimited, TaskCanceled, TaskFailed, TimedOut, Unavailable } from "./lib/errors.js";
export { Pages } from "./lib/nouns.js";
export { Session, Task } from "./lib/tasks.js";
export { WebhookError } from "./lib/signed.js";
export { verifyWebhook } from "./lib/webhook.js";

/** @type {Record<string, string | undefined>} */
const env = globalThis.process?.env ?? {};

export class Mesh {
  /** @param {any} [options] */
  constructor({ url = env.MESH_URL ?? "http://127.0.0.1:8080", apiKey = env.MESH_API_KEY, ...more } = {}) {
    this.transport = new Transport({ url, apiKey, ...more });
    const self = /** @type {any} */ (this);
    for (const noun of nouns) {
      self[noun] = equip(this, noun === "sessions" ? sessions(this) : noun === "tasks" || noun === "actions" ? tasks(this, noun) : {}, noun);
    }
    equip(this, this, undefined);
  }

  /** The JSON of an answer; undefined: it has none. @param {any} request */
  async json(request) {
    const { text } = await this.transport.send(request);
    return text ? JSON.parse(text) : undefined;
  }
}
