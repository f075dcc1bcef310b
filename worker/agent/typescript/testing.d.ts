import type { Agent, Handler } from "./index.js";

/** What a task came to. lines are all that the handler said, in all runs. */
export interface Ended {
  /** input_required: a question has no answer. */
  status: "completed" | "failed" | "canceled" | "input_required";
  result?: any;
  error?: { type: "error"; message: string; code?: string; retryable?: boolean };
  reply?: { type: "reply"; message: string; state?: Record<string, unknown> };
  text: string;
  runs: number;
  steps: any[];
  lines: any[];
}

/** Runs a task to its end, without a mesh. answers are those of questions and events, by name. */
export function run(
  one: Agent | Handler,
  options?: {
    input?: unknown; instruction?: string; text?: string; state?: Record<string, unknown>; answers?: Record<string, unknown>;
    attempt?: number; cancelAt?: string; gateway?: string; key?: string;
  },
): Promise<Ended>;
