import type * as api from "./types.js";
export type * from "./types.js";

/** A number of seconds, or a text such as 90s or 10m. */
export type Duration = number | string;

/** Of one call. */
export interface Options {
  /** Left out: one is made, so that repeats are one request. */
  idempotencyKey?: string;
  /** Have the gateway hold the answer until the task has ended, at most a minute. */
  wait?: Duration;
  /** Do not wait for the reply of a session. */
  async?: boolean;
  /** The task that this one is a child of. */
  parent?: string;
  ifMatch?: string;
  /** Of a stream: the id to go on after. */
  after?: string;
  /** Of the call, over all tries. */
  timeout?: Duration;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

/** One event of a stream. text is the new output of an output event. */
export interface StreamEvent { id: string; type: string; data: any; text?: string }

/** A list: awaited it is its first page, and iterated all that is in it. */
export class Pages<Item, Page> implements PromiseLike<Page>, AsyncIterable<Item> {
  then<A = Page, B = never>(resolve?: ((page: Page) => A | PromiseLike<A>) | null, reject?: ((reason: any) => B | PromiseLike<B>) | null): Promise<A | B>;
  catch<B = never>(reject?: ((reason: any) => B | PromiseLike<B>) | null): Promise<Page | B>;
  pages(): AsyncIterableIterator<Page>;
  [Symbol.asyncIterator](): AsyncIterator<Item>;
}

/** A task that was accepted. raw is what is known of it. */
export class Task {
  readonly raw: any;
  readonly id: string;
  readonly status: string;
  readonly done: boolean;
  wait(options?: { timeout?: Duration; signal?: AbortSignal }): Promise<this>;
  /** The result. It throws TaskFailed and TaskCanceled. */
  result<T = any>(options?: { timeout?: Duration; signal?: AbortSignal }): Promise<T>;
  /** The result as it was sent. */
  rawResult(options?: { signal?: AbortSignal }): Promise<string>;
  events(options?: Options): AsyncIterableIterator<StreamEvent>;
  cancel(options?: Options): Promise<this>;
  answer(answer: api.AnswerTask, options?: Options): Promise<this>;
}

/** A conversation. */
export class Session {
  readonly raw: any;
  readonly id: string;
  readonly greeting: string;
  send(text: string, options?: Options & { onBusy?: "reject" | "wait" | "interrupt"; answer?: unknown }): Promise<api.TurnReply>;
  stream(text: string, options?: Options & { onBusy?: "reject" | "wait" | "interrupt" }): AsyncIterableIterator<string>;
  messages(): Pages<api.Message, api.Transcript>;
  events(options?: Options): AsyncIterableIterator<StreamEvent>;
  delete(): Promise<void>;
}

type Made<Calls, Body, Handle> = Omit<Calls, "create" | "retry"> & { create(body?: Body, options?: Options): Promise<Handle>; handle(id: string): Handle };

export class Mesh {
  constructor(options?: { url?: string; apiKey?: string; tenant?: string; headers?: Record<string, string>; fetch?: typeof fetch; timeout?: Duration });
  readonly tasks: Made<api.TasksCalls, api.CreateTask, Task> & { retry(id: string, body?: api.RetryTask, options?: Options): Promise<Task> };
  readonly actions: Made<api.ActionsCalls, api.CreateAction, Task> & { retry(id: string, body?: api.RetryTask, options?: Options): Promise<Task> };
  readonly sessions: Made<api.SessionsCalls, api.CreateSession, Session>;
}
export interface Mesh extends api.RootCalls, api.Nouns {}

export class MeshError extends Error {
  /** 0: there was no answer. */
  status: number;
  code: string;
  detail: string;
  traceId: string;
  errors: { pointer: string; detail: string }[];
  retryable: boolean;
  problem: any;
}
export class NotFound extends MeshError {}
export class Conflict extends MeshError {}
export class Invalid extends MeshError {}
export class Denied extends MeshError {}
export class RateLimited extends MeshError {}
export class Unavailable extends MeshError {}
export class TaskFailed extends Error { code: string; attempt: number; task: any }
export class TaskCanceled extends Error { task: any }
export class TimedOut extends Error {}

export class WebhookError extends Error { reason: "missing" | "malformed" | "timestamp" | "mismatch" }
/** How others sign what they send, as the hooks of the mesh verify it. */
export type WebhookStyle =
  | "standard" | "github" | "stripe" | "slack"
  | { style: "standard" | "github" | "stripe" | "slack" }
  | {
    style: "hmac"; header: string; prefix?: string; encoding?: "hex" | "base64"; algorithm?: "sha256" | "sha512"; key?: "text" | "base64";
    /** What is signed, with {id}, {timestamp} and {body}. */
    content?: string;
    /** Its header. */
    timestamp?: string;
    /** A header, or a JSON pointer into the body. */
    id?: string;
  }
  | { style: "token"; header: string; prefix?: string; id?: string }
  | { style: "token"; username: string; id?: string };
/** Checks the headers of a request against its body as it was received. */
export function verifyWebhook(request: {
  secret: string | string[]; headers: Headers | Record<string, string | string[] | undefined>; body: string | Uint8Array;
  /** Left out: Standard Webhooks, as the mesh itself signs. */
  style?: WebhookStyle;
  /** Seconds, 300 when left out. */
  tolerance?: number;
  now?: number;
}): Promise<{
  /** That of the delivery; empty where the style has none. */
  id: string;
  /** The time that is signed, in Unix seconds. */
  at?: number;
  event: any;
}>;
