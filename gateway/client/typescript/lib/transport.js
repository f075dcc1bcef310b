// @ts-check
// Requests that are repeated where a repeat is the same request.
import { MeshError, TimedOut, refusal, unreachable } from "./errors.js";

export const tries = 5;
const again = new Set([408, 425, 429, 502, 503, 504]);

/** Milliseconds of 90, "90s", "10m" or "250ms"; a number is seconds. @param {any} d @returns {number} */
export function milliseconds(d) {
  if (typeof d === "number") return d * 1000;
  const parts = /^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/.exec(d);
  if (!d || !parts) throw new TypeError(`${JSON.stringify(d)} is no duration such as 90s or 10m`);
  const [h = 0, m = 0, s = 0, ms = 0] = parts.slice(1).map((p) => Number(p ?? 0));
  return ((h * 60 + m) * 60 + s) * 1000 + ms;
}

/** Prefer: wait, of at most a minute. @param {number} ms */
export const waiting = (ms) => `wait=${Math.max(0, Math.ceil(Math.min(ms, 60_000) / 1000))}`;

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), ms);
    const stop = () => (clearTimeout(timer), reject(signal?.reason));
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** How long to wait before a repeat. @param {number} n @param {any} error */
export const backoff = (n, error) => Math.max(error?.retryAfter ?? 0, Math.random() * Math.min(100 * 2 ** n, 5000));

/** Whether an error leaves open what happened, or says to come back. @param {any} error */
export const repeatable = (error) => error instanceof MeshError && (error.status === 0 || again.has(error.status) || error.retryable);

export class Transport {
  /** @param {any} options */
  constructor({ url, apiKey, tenant, headers = {}, fetch: send = globalThis.fetch.bind(globalThis), timeout }) {
    const base = new URL(url);
    if (!/^https?:$/.test(base.protocol)) throw new TypeError(`the gateway's URL must look like http://127.0.0.1:8080, not ${base.protocol}//…`);
    this.base = url.replace(/\/+$/, "");
    this.fetch = send;
    this.timeout = timeout;
    this.headers = { ...headers, ...(apiKey && { Authorization: `Bearer ${apiKey}` }), ...(tenant && { "Mesh-Tenant": tenant }) };
    if (typeof globalThis.document === "undefined") this.headers["User-Agent"] = "agentmesh-js/0.1";
  }

  /**
   * An answer, as text. It is asked for again where that may help.
   * @param {{method: string, path: string, headers?: any, body?: string, safe: boolean, timeout?: any, signal?: AbortSignal}} r
   * @returns {Promise<{status: number, headers: Headers, text: string}>}
   */
  async send(r) {
    const limit = r.timeout ?? this.timeout;
    const until = new AbortController();
    const timer = limit === undefined ? undefined : setTimeout(() => until.abort(new TimedOut(`the answer to ${r.method} ${r.path}`)), milliseconds(limit));
    const stop = () => until.abort(r.signal?.reason);
    if (r.signal?.aborted) stop();
    r.signal?.addEventListener("abort", stop, { once: true });
    try {
      for (let n = 1; ; n++) {
        let error;
        try {
          const answer = await this.open(r, until.signal);
          const text = await answer.text();
          if (answer.status >= 200 && answer.status < 300) return { status: answer.status, headers: answer.headers, text };
          error = refusal(answer.status, text, retryAfter(answer.headers));
        } catch (cause) {
          until.signal.throwIfAborted();
          error = unreachable(`${r.method} ${r.path}`, cause);
        }
        if (n === tries || !repeatable(error) || !(r.safe || error.status === 429)) throw error;
        await pause(backoff(n, error), until.signal);
      }
    } finally {
      clearTimeout(timer);
      r.signal?.removeEventListener("abort", stop);
    }
  }

  /** One answer, whatever it says. @param {any} r @param {AbortSignal} [signal] */
  async open(r, signal) {
    const headers = { ...this.headers, ...(await trace()), ...r.headers };
    signal?.throwIfAborted();
    // A redirect is not followed: the key is for this address only.
    return this.fetch(this.base + r.path, { method: r.method, headers, body: r.body, redirect: "manual", signal });
  }
}

/** @type {Promise<any> | undefined} */
let telemetry;

/** The headers of the trace that the caller is in, where OpenTelemetry is installed. */
async function trace() {
  const name = "@opentelemetry/api"; // not a dependency: it is used where it is
  telemetry ??= import(name).catch(() => undefined);
  const otel = await telemetry;
  const headers = {};
  otel?.propagation.inject(otel.context.active(), headers);
  return headers;
}

/** Milliseconds. @param {Headers} headers */
function retryAfter(headers) {
  const text = headers.get("Retry-After");
  if (!text) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 3_600_000) : 0;
}
