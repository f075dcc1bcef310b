// @ts-check
// Streams of events, over as many connections as it takes.
import { refusal, unreachable } from "./errors.js";
import { backoff, pause, repeatable } from "./transport.js";

const maxEvent = 16 << 20; // characters
const maxFails = 20; // since the last event

/** The events of a text/event-stream. @param {AsyncIterable<Uint8Array>} body */
export async function* parse(body) {
  const decoder = new TextDecoder(); // it skips a byte order mark, and waits for whole characters
  let rest = "";
  let event = { id: /** @type {string | undefined} */ (undefined), type: "", data: /** @type {string[]} */ ([]), retry: /** @type {number | undefined} */ (undefined) };
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > maxEvent) throw new Error("an event is too long");
    // A carriage return at the end may be half a line break.
    for (let m; (m = /\r\n|\n|\r(?!$)/.exec(rest)); ) {
      const line = rest.slice(0, m.index);
      rest = rest.slice(m.index + m[0].length);
      if (line === "") {
        if (event.data.length > 0 || event.retry !== undefined) yield { ...event, type: event.type || "message", data: event.data.join("\n"), empty: event.data.length === 0 };
        event = { id: undefined, type: "", data: [], retry: undefined };
        continue;
      }
      const [, name, value] = /** @type {RegExpExecArray} */ (/^([^:]*):? ?([^]*)$/.exec(line));
      if (name === "data") event.data.push(value);
      else if (name === "event") event.type = value;
      else if (name === "id" && !value.includes("\0")) event.id = value;
      else if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
    }
  }
}

/**
 * Follows a stream until last says that an event is the last one. A broken connection is
 * taken up again behind the newest id, and what comes again is left out.
 * @param {import("./transport.js").Transport} transport @param {string} path
 * @param {{after?: string, signal?: AbortSignal, last?: (event: any) => boolean}} options
 */
export async function* follow(transport, path, { after = "", signal, last = () => false }) {
  const seen = new Seen(after);
  let fails = 0;
  let least = 0;
  for (;;) {
    let error;
    const stop = new AbortController();
    const abort = () => stop.abort(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      const headers = { Accept: "text/event-stream", ...(seen.last && { "Last-Event-ID": seen.last }) };
      const answer = await transport.open({ method: "GET", path, headers }, stop.signal);
      if (answer.status === 204) return;
      if (answer.status !== 200) error = refusal(answer.status, await answer.text(), 0);
      else {
        for await (const raw of parse(answer.body)) {
          if (raw.retry !== undefined) least = Math.min(raw.retry, 60_000);
          if (raw.empty) continue;
          fails = 0;
          const event = seen.take(raw);
          if (event) yield event;
          if (event && last(event)) return;
        }
        error = unreachable(`GET ${path}`, new Error("the stream ended early"));
      }
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      error = unreachable(`GET ${path}`, cause);
    } finally {
      signal?.removeEventListener("abort", abort);
      stop.abort();
    }
    if (++fails > maxFails || !repeatable(error)) throw error;
    await pause(Math.max(least, backoff(Math.min(fails, 5), error)), signal);
  }
}

// What a reader has seen.
class Seen {
  #same = new Set(); // events of the newest id
  #output = 0; // bytes
  #of = ""; // the task whose output it is

  /** @param {string} last */
  constructor(last) {
    this.last = last;
  }

  /** @param {any} raw */
  take({ id, type, data: text }) {
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      return undefined;
    }
    if (id !== undefined && /^\d+$/.test(id) && type !== "output") {
      if (this.last && BigInt(id) < BigInt(this.last)) return undefined;
      if (id !== this.last) this.#same.clear();
      const what = `${type} ${text}`;
      if (this.#same.has(what)) return undefined;
      this.#same.add(what);
      this.last = id;
    }
    if (type !== "output") return { id: id ?? "", type, data };
    const fresh = this.#fresh(data);
    return fresh && { id: "", type, data, text: fresh };
  }

  // The output that is new: places are counted in bytes.
  /** @param {any} data */
  #fresh(data) {
    const of = data.task_id ?? "";
    if (of !== this.#of) [this.#of, this.#output] = [of, 0];
    const bytes = new TextEncoder().encode(data.text ?? "");
    const from = Math.max(this.#output - (data.offset ?? 0), 0);
    if (from >= bytes.length) return "";
    this.#output = (data.offset ?? 0) + bytes.length;
    return new TextDecoder().decode(bytes.subarray(from));
  }
}
