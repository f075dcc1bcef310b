// @ts-check
// A program: jobs and words come on standard input, lines go to standard output.
import process from "node:process";
import { Canceled } from "./errors.js";
import { Job } from "./job.js";
import { perform } from "./perform.js";

// Where the console does not write by process.stdout, and where a process does not end
// when its standard input is destroyed.
const deno = "Deno" in globalThis;
const other = deno || "Bun" in globalThis;
const grace = 4000; // from SIGTERM to the end, whatever the handler does

export class Program {
  /** @type {Lines | undefined} */
  #now;
  #ended = false;
  #wake = () => {};

  /** @param {any[]} agents @param {boolean} pool @param {boolean} rawOutput */
  constructor(agents, pool, rawOutput) {
    this.agents = agents;
    this.pool = pool;
    const out = process.stdout;
    this.write = out.write.bind(out);
    if (!rawOutput || pool) {
      out.write = /** @type {any} */ (process.stderr.write.bind(process.stderr));
      if (other) for (const name of ["log", "info", "debug", "dir", "table"]) /** @type {any} */ (console)[name] = console.error.bind(console);
    }
    this.jobs = /** @type {Lines[]} */ ([]);
  }

  async run() {
    process.on("SIGTERM", () => this.#leave());
    this.#read();
    for (;;) {
      while (this.jobs.length === 0 && !this.#ended) await new Promise((r) => (this.#wake = /** @type {any} */ (r)));
      const lines = this.jobs.shift();
      if (!lines) return this.#exit(0);
      const canceled = await this.#work(lines);
      if (!this.pool) return this.#exit(canceled ? 143 : 0);
    }
  }

  /** @param {Lines} lines */
  async #work(lines) {
    const awake = setInterval(() => {}, 1 << 30); // a handler may wait for its signal alone
    try {
      await perform(lines.job, this.agents, (line) => lines.say(line));
    } catch (error) {
      if (error instanceof Canceled) return true;
      throw error;
    } finally {
      clearInterval(awake);
      this.#now = undefined;
      if (this.pool) lines.say({ type: "done" });
    }
    return false;
  }

  #read() {
    /** @type {Buffer[]} */
    let rest = [];
    process.stdin.on("data", (chunk) => {
      let from = 0;
      for (let at; (at = chunk.indexOf(10, from)) >= 0; from = at + 1) {
        // A line is decoded whole: a character may be cut over chunks.
        const line = Buffer.concat([...rest, chunk.subarray(from, at)]);
        rest = [];
        this.#take(line);
      }
      rest.push(chunk.subarray(from));
    });
    const end = () => {
      const line = Buffer.concat(rest);
      rest = [];
      if (line.length > 0) this.#take(line);
      this.#ended = true;
      this.#now?.end();
      this.#wake();
    };
    process.stdin.on("end", end);
    process.stdin.on("error", end);
  }

  /** @param {Buffer} line */
  #take(line) {
    const text = line.toString("utf8");
    if (!text.trim()) return;
    const message = JSON.parse(text);
    if (!this.pool && message.type === undefined) this.#begin(message);
    else if (message.type === "job") this.#begin(message.job, message.id, message.api_key);
    else if (this.#now && this.#now.id === message.id) this.#now.word(message);
  }

  /** @param {any} raw @param {string} [id] @param {string} [key] */
  #begin(raw, id, key) {
    const { MESH_GATEWAY_URL = "", MESH_API_KEY = "" } = process.env;
    const lines = new Lines(this, id);
    lines.job = new Job(raw, lines, { gateway: MESH_GATEWAY_URL.replace(/\/$/, ""), key: MESH_API_KEY || key });
    this.#now = lines;
    this.jobs.push(lines);
    this.#wake();
  }

  // SIGTERM: the handler may end by itself, or is ended.
  #leave() {
    if (!this.#now) process.exit(0);
    this.#now.job.cancel();
    this.#now.end();
    setTimeout(() => process.exit(143), grace).unref();
  }

  /** @param {number} status */
  async #exit(status) {
    await new Promise((r) => this.write("", () => r(undefined)));
    if (this.pool || status || deno) process.exit(status);
    process.stdin.destroy(); // else a program that keeps steps would wait for words
  }
}

// The lines of one job.
class Lines {
  /** @type {any} */
  job;
  /** @type {Map<string, {resolve: () => void, reject: (e: Error) => void}>} */
  #waiting = new Map();
  #over = false;

  /** @param {Program} program @param {string} [id] */
  constructor(program, id) {
    this.program = program;
    this.id = id;
  }

  /** @param {any} line */
  say(line) {
    this.program.write(JSON.stringify(this.id === undefined ? line : { ...line, id: this.id }) + "\n");
  }

  /** @param {any} line */
  keep(line) {
    this.say({ ...line, ack: true });
    return new Promise((/** @type {any} */ resolve, reject) => {
      if (this.#over) reject(new Canceled());
      else this.#waiting.set(`${line.n} ${line.name}`, { resolve, reject });
    });
  }

  /** @param {any} message */
  word(message) {
    const name = `${message.n} ${message.name}`;
    if (message.type === "ok") {
      this.#waiting.get(name)?.resolve();
      this.#waiting.delete(name);
    } else if (message.type === "cancel") {
      this.job.cancel();
      this.end();
    }
  }

  // Nobody will say anything any more.
  end() {
    this.#over = true;
    for (const one of this.#waiting.values()) one.reject(new Canceled());
    this.#waiting.clear();
  }
}
