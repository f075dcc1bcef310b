import type { Mesh, Duration } from "./index.js";

/** A task or a turn, as its agent sees it. */
export interface FakeJob {
  readonly taskId: string;
  readonly agent: string;
  readonly attempt: number;
  readonly instruction?: string;
  readonly input?: any;
  readonly labels: Record<string, string>;
  /** Of a turn: what the user says, what was said, and what the agent keeps. */
  readonly text: string;
  readonly messages: { role: "user" | "agent"; text: string }[];
  readonly state: Record<string, any>;
  /** Aborted when the task is canceled. */
  readonly signal: AbortSignal;
  progress(percent: number, message?: string): void;
  milestone(name: string, message?: string, data?: unknown): void;
  output(text: string): void;
  /** Waits for the answer of a person. */
  ask(name: string, prompt: string, options?: { schema?: unknown }): Promise<any>;
}

/**
 * What is returned is the result; of a turn the reply, as a text or as message and state. A
 * task fails with what is thrown, under its code where it has one.
 */
export type FakeAgent = ((job: FakeJob) => unknown) | { greeting?: string; run: (job: FakeJob) => unknown };

export interface FakeRequest { method: string; path: string; query: Record<string, string>; headers: Record<string, string>; body?: any; params: Record<string, string> }

/** A mesh in memory. */
export class FakeMesh extends Mesh {
  constructor(options?: {
    agents?: Record<string, FakeAgent>;
    /** Answers by method and path, such as "GET /schedules/{id}": they go before its own. */
    routes?: Record<string, (request: FakeRequest) => unknown>;
    tenant?: string;
    timeout?: Duration;
  });
  readonly asked: FakeRequest[];
  /** Has the next requests be refused, such as with status 503 and the code unavailable. */
  refuse(...problems: { status: number; code: string; detail?: string; errors?: { pointer: string; detail: string }[]; retryAfter?: number }[]): void;
}

/** Thrown by a route: the answer is a problem. */
export class Refusal extends Error {
  constructor(status: number, code: string, more?: { detail?: string; errors?: { pointer: string; detail: string }[]; retryAfter?: number });
}
