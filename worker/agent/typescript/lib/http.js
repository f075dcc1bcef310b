// @ts-check
// Handlers as an HTTP service: a POST is a task, and the answer its lines.
import { timingSafeEqual, createHash } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";
import { request as send } from "./calls.js";
import { AgentError, Canceled } from "./errors.js";
import { Job } from "./job.js";
import { perform } from "./perform.js";

const maxBody = 64 << 20;
const grace = 4000;

/**
 * Serves agents at an address (host:port; without a host on loopback) until close.
 * @param {any[]} agents @param {{address?: string, token?: string, slots?: number}} options
 * @returns {Promise<{address: string, close(): Promise<void>, closed: Promise<void>}>}
 */
export async function listen(agents, { address = "127.0.0.1:0", token = "", slots = 0 }) {
  /** @type {Set<Job>} */
  const jobs = new Set();
  const server = createServer(async (req, res) => {
    try {
      await answer({ agents, token, slots, jobs }, req, res);
    } catch (error) {
      if (!(error instanceof Canceled)) process.stderr.write(`${/** @type {Error} */ (error).stack}\n`);
      res.destroy();
    }
  });
  server.requestTimeout = 0; // the worker has its own
  const at = address.lastIndexOf(":");
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(Number(address.slice(at + 1)), address.slice(0, at).replace(/^\[|\]$/g, "") || "127.0.0.1", () => resolve(undefined));
  });
  const bound = /** @type {import("node:net").AddressInfo} */ (server.address());
  const closed = new Promise((resolve) => server.once("close", () => resolve(undefined)));
  return {
    address: `${bound.family === "IPv6" ? `[${bound.address}]` : bound.address}:${bound.port}`,
    closed: /** @type {Promise<void>} */ (closed),
    async close() {
      for (const job of jobs) job.cancel();
      setTimeout(() => server.closeAllConnections(), grace).unref();
      server.close();
      server.closeIdleConnections();
      await closed;
    },
  };
}

/** @param {any} service @param {import("node:http").IncomingMessage} req @param {import("node:http").ServerResponse} res */
async function answer(service, req, res) {
  const { agents, token, slots, jobs } = service;
  const say = (/** @type {number} */ status, /** @type {any} */ body, /** @type {any} */ headers = {}) => {
    res.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body) + "\n");
  };
  if (req.method === "GET" || req.method === "HEAD") {
    if (req.url?.split("?")[0] !== "/healthz") return say(404, { detail: "POST a task here" });
    return say(200, { status: "ok", agents: agents.map((/** @type {any} */ a) => a.name) });
  }
  if (req.method !== "POST") return say(405, { detail: "POST a task here" }, { Allow: "GET, HEAD, POST" });
  const raw = await body(req);
  if (!raw) return say(413, { detail: `a task has at most ${maxBody} bytes` }, { Connection: "close" });
  if (token && !same(req.headers.authorization ?? "", `Bearer ${token}`)) {
    return say(401, { detail: "Authorization: Bearer is not MESH_AGENT_TOKEN" }, { "WWW-Authenticate": "Bearer" });
  }
  let order;
  try {
    order = JSON.parse(raw.toString("utf8"));
  } catch {}
  if (!order || typeof order !== "object" || Array.isArray(order)) return say(400, { detail: "the body is no task: one JSON object" });
  if (slots && jobs.size >= slots) return say(503, { detail: "all slots are taken" }, { "Retry-After": "1" });
  const { MESH_GATEWAY_URL = "", MESH_API_KEY = "" } = process.env;
  const wire = new Answer(res, order);
  const job = new Job(order, wire, { gateway: MESH_GATEWAY_URL.replace(/\/$/, ""), key: MESH_API_KEY });
  jobs.add(job);
  res.once("close", () => res.writableFinished || job.cancel()); // the worker hung up
  try {
    await perform(job, agents, (line) => wire.say(line));
    wire.end();
  } finally {
    jobs.delete(job);
  }
}

/** @param {string} a @param {string} b */
function same(a, b) {
  const hash = (/** @type {string} */ s) => createHash("sha256").update(s).digest();
  return timingSafeEqual(hash(a), hash(b));
}

/** @param {import("node:http").IncomingMessage} req */
async function body(req) {
  const parts = [];
  let size = 0;
  for await (const part of req) {
    size += part.length;
    if (size > maxBody) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

// The lines of one task, as an answer.
class Answer {
  /** @param {import("node:http").ServerResponse} res @param {any} order */
  constructor(res, order) {
    this.res = res;
    this.order = order;
  }

  /** @param {any} line */
  say(line, sent = () => {}) {
    if (!this.res.headersSent) this.res.writeHead(200, { "Content-Type": "application/x-ndjson" });
    this.res.write(JSON.stringify(line) + "\n", sent);
  }

  // A line is durable when the gateway says so. Without its address it is one of the
  // answer, durable when the answer has ended.
  /** @param {any} line */
  async keep(line) {
    const { steps_url: url, lease } = this.order;
    if (!url) return new Promise((/** @type {any} */ resolve) => this.say(line, resolve));
    try {
      await send("POST", url, { key: lease, body: line });
    } catch (error) {
      if (error instanceof AgentError && ["lease_lost", "unauthenticated"].includes(error.code)) throw new Canceled();
      throw error;
    }
  }

  end() {
    if (!this.res.headersSent) this.res.writeHead(200, { "Content-Type": "application/x-ndjson" });
    this.res.end();
  }
}
