/** What the function of a step may want to know. */
export interface StepInfo {
  /** The same in every run, for effects that know idempotency keys. */
  key: string;
  /** It has begun before, and nobody knows how it ended. */
  again: boolean;
}

/** A JSON Schema. */
export type Schema = boolean | { [keyword: string]: unknown };
/** A text such as 90s or 24h, or a number of seconds. */
export type Duration = string | number;
export interface Message { role: "user" | "agent"; text: string; at?: string; turn_id?: string }

/** One attempt of a task, as its handler sees it. */
export class Job<Input = any> {
  readonly raw: any;
  readonly taskId: string;
  readonly kind: "task" | "action" | "turn";
  readonly agent: string;
  /** From 1. */
  readonly attempt: number;
  readonly instruction?: string;
  readonly input: Input;
  readonly labels: Record<string, string>;
  readonly metadata?: unknown;
  readonly deadline?: string;
  readonly scheduledAt?: string;
  readonly traceparent: string;
  readonly session?: { session_id: string; messages: Message[]; state: Record<string, any> };
  readonly run: number;
  readonly gateway: string;
  readonly apiKey: string;
  readonly messages: Message[];
  /** The new message of a turn; else the instruction. */
  readonly text: string;
  readonly state: Record<string, any>;
  /** Aborted when nobody wants the attempt any more. */
  readonly signal: AbortSignal;
  readonly canceled: boolean;
  readonly lastCheckpoint?: any;

  progress(percent: number, message?: string): void;
  milestone(name: string, message?: string, data?: unknown): void;
  /** Text that readers see as it comes. Without a result it is the result. */
  output(text: string): void;
  /** What work returned: now, or in the run that did it. */
  step<T>(name: string, work: (info: StepInfo) => T | Promise<T>, options?: { marked?: boolean }): Promise<T>;
  stepKey(name: string, n?: number): string;
  checkpoint(value: unknown): void;
  /** Ends the run, and has the handler run again when the time is over. */
  sleep(name: string, time: Duration | { until: string }): Promise<void>;
  /** The answer of a person. Until it is there the handler does not go on. */
  ask<T = any>(name: string, prompt: string, options?: { schema?: Schema; timeout?: Duration }): Promise<T>;
  /** What came with an event that somebody else tells of. */
  wait<T = any>(name: string, options?: { timeout?: Duration }): Promise<T>;
  /** Runs another agent and returns its result. */
  call<T = any>(agent: string, input?: unknown, options?: { instruction?: string }): Promise<T>;
}

/** Answers a turn of a session, and leaves a new state; undefined: as it was. */
export class Reply {
  constructor(message: string, state?: Record<string, unknown>);
  message: string;
  state?: Record<string, unknown>;
}

/** A failure with what the client may see of it, tried again unless it is not retryable. */
export class AgentError extends Error {
  constructor(message: string, options?: { code?: string; retryable?: boolean; cause?: unknown });
  code: string;
  retryable: boolean;
}
/** A failure that no retry can mend. */
export class Permanent extends AgentError {
  constructor(message: string, options?: { code?: string; cause?: unknown });
}
export class StepFailed extends Permanent {}
export class InputTimeout extends Permanent {}
export class ChildFailed extends Permanent { task: any }
export class Canceled extends Error {}
export class Suspended extends Error {}

export type Handler<Input = any> = (job: Job<Input>) => unknown;
export interface Definition { description?: string; version?: string; inputSchema?: Schema }
export interface Agent extends Definition { name: string; handler: Handler }

/** Makes a function the handler of an agent. */
export function agent<Input = any>(name: string, handler: Handler<Input>): Agent;
export function agent<Input = any>(name: string, options: Definition, handler: Handler<Input>): Agent;
export function describe(agents?: Agent[]): { agents: { name: string; description?: string; version?: string; input_schema?: Schema }[] };
/** Runs the agents of this program as its environment says. */
export function serve(options?: { agents?: Agent[]; rawOutput?: boolean }): Promise<void>;
/** Serves agents at an address (host:port) until close. */
export function listen(agents: Agent[], options: { address?: string; token?: string; slots?: number }): Promise<{ address: string; close(): Promise<void>; closed: Promise<void> }>;
