// Written by make golden from the gateway's own document. Do not edit it.
import type { Options, Pages, StreamEvent } from "./index.js";

export interface APIKey {
  "created_at": string;
  /** The key or the name of who made it. */
  "created_by"?: string;
  "expires_at"?: string;
  /** Shown once, when the key is made. */
  "key"?: string;
  "key_id": string;
  /** A minute late at most. */
  "last_used_at"?: string;
  "name": string;
  "revoked_at"?: string;
  /** The key that takes its place. */
  "rotated_to"?: string;
  "scopes": Array<string> | null;
  "status": "live" | "expired" | "revoked";
  "tenant": string;
}

export interface Accepted {
  "agent": string;
  "created_at": string;
  "retried_from"?: string;
  "status": "pending";
  "status_url": string;
  "task_id": string;
  "trace_id"?: string;
  "trace_url"?: string;
  /** What the client should know, such as that nobody has served the agent for a day. */
  "warning"?: string;
}

export interface AcceptedAction {
  "action_id": string;
  "agent": string;
  "created_at": string;
  "message": string;
  "retried_from"?: string;
  "status": "initiated";
  "status_url": string;
  "trace_id"?: string;
  "trace_url"?: string;
  /** What the client should know, such as that nobody has served the agent for a day. */
  "warning"?: string;
}

export interface AcceptedTurn {
  "agent": string;
  "created_at": string;
  "session_id": string;
  "status": "pending";
  "status_url": string;
  "trace_id"?: string;
  "turn_id": string;
  /** What the client should know, such as that nobody has served the agent for a day. */
  "warning"?: string;
}

export interface Agent {
  /** Slots of each worker. */
  "concurrency": number;
  /** Live workers serve different definitions of it, and no version says which is the newer: tasks are checked against the one that was there first. */
  "conflict"?: boolean;
  /** Runs the tasks that name no agent. */
  "default"?: boolean;
  "description"?: string;
  "greeting"?: string;
  /** JSON Schema of the input. */
  "input_schema"?: unknown;
  "live_workers": number;
  "max_attempts": number;
  /** Slots in the whole mesh. */
  "max_in_flight": number;
  "name": string;
  /** JSON Schema of a task's result. */
  "output_schema"?: unknown;
  /** No worker begins a task of it: POST /agents/{name}/resume. */
  "paused"?: boolean;
  /** When the pause ends by itself; none: when somebody resumes it. */
  "paused_until"?: string;
  /** Of one attempt. */
  "timeout": string;
  "version"?: string;
  "workers": Array<AgentWorker> | null;
}

export interface AgentList {
  "agents": Array<Agent> | null;
}

export interface AgentStats {
  /** Of these, tasks of tenants that have many: others go before them. */
  "bulk": number;
  /** Tasks that workers hold. */
  "in_flight": number;
  /** How many may run in the mesh. */
  "limit": number;
  "live_workers": number;
  "name": string;
  /** How long the task waits that waits longest. */
  "oldest_age_seconds": number;
  /** Nothing is given to a worker: somebody has paused the agent. */
  "paused"?: boolean;
  /** Of the live workers. */
  "slots": number;
  /** Tasks that wait for a worker. */
  "waiting": number;
}

export interface AgentWorker {
  /** Why it takes no tasks of the agent, such as an agent of others that is offline. */
  "away"?: string;
  /** Slots taken, a second or two ago. */
  "busy": number;
  "slots": number;
  "started_at": string;
  "version"?: string;
  "worker_id": string;
}

export interface AnswerTask {
  /** Of the question or the event; may be left out while one question is open. */
  "name"?: string;
  /** The answer: what the schema of the question allows. At most 256 KiB. */
  "value": unknown;
}

export interface Attempt {
  "attempt": number;
  "ended_at"?: string;
  "error"?: Error;
  /** suspended: it waits, and goes on under the same number. */
  "outcome": "completed" | "failed" | "canceled" | "retried" | "lost" | "handed_back" | "suspended" | "running";
  "started_at"?: string;
  "worker_id"?: string;
}

export interface AuditEntry {
  /** A noun and a verb, such as task.cancel. */
  "action": string;
  /** Where the request came from. */
  "address"?: string;
  "at": string;
  /** The API key that was shown. */
  "key_id"?: string;
  /** Id or name. */
  "object"?: string;
  /** unknown: the store did not answer, it may have happened. */
  "outcome": "done" | "unknown";
  /** Who asked; none: nobody was asked who they are. */
  "subject"?: string;
  "tenant": string;
  "trace_id"?: string;
}

export interface AuditList {
  "entries": Array<AuditEntry> | null;
  /** Empty on the last page. A page may be short and still have a next one. */
  "next_cursor": string;
  /** How many entries were looked at for this page. */
  "scanned": number;
}

export interface BackfillSchedule {
  "from": string;
  /** allow when left out. */
  "overlap"?: "skip" | "queue" | "queue_all" | "cancel_running" | "allow";
  "to": string;
}

export interface Budget {
  /** That it holds for. */
  "agents": Array<string> | null;
  /** What is spent, by agent, as workers have told it: within half a minute. */
  "by_agent": Array<SpentName> | null;
  "by_model": Array<SpentName> | null;
  /** The limit; left out: none. */
  "cost"?: number;
  /** Then it begins anew. */
  "end": string;
  /** New tasks of the agents are refused, 429 quota_exceeded. */
  "exhausted": boolean;
  /** What workers hold to spend it. They give back what they do not need. */
  "held": Spent;
  "period": "hour" | "day" | "month";
  "spent": Spent;
  "start": string;
  /** The limit; left out: none. */
  "tokens"?: number;
}

export interface BudgetList {
  "budgets": Array<Budget> | null;
}

export interface BulkDeliveries {
  "action": "redeliver";
  /** The next_cursor of the answer before, to go on; the rest as before. */
  "cursor"?: string;
  /** Count them, and do nothing. */
  "dry_run"?: boolean;
  /** Which deliveries: those that GET /deliveries would list. {} is every one that is dead or parked. */
  "filter": DeliveryFilter;
  /** At most so many; 1000 when left out. */
  "limit"?: number;
}

export interface BulkDone {
  "action": string;
  "done": number;
  "dry_run"?: boolean;
  /** Those that were refused, by code, the most frequent first. */
  "failed": Array<BulkFailure> | null;
  /** How many the filter found. */
  "matched": number;
  /** There may be more: repeat the request with it as cursor. Empty: that was all. */
  "next_cursor": string;
  /** Those that were retried by such a request within a day. */
  "skipped": number;
}

export interface BulkFailure {
  "code": string;
  "count": number;
  /** Of the first one. */
  "detail"?: string;
  /** The id of the first one. */
  "example": string;
}

export interface BulkTasks {
  /** cancel is for tasks that wait or run, retry for those that have failed or were canceled. A task is retried once within a day by this. */
  "action": "cancel" | "retry";
  /** The next_cursor of the answer before, to go on; the rest as before. */
  "cursor"?: string;
  /** Count them, and do nothing. */
  "dry_run"?: boolean;
  /** Which tasks: those that GET /tasks would list. {} is every task that the action is for. */
  "filter": TaskFilter;
  /** At most so many; 1000 when left out. */
  "limit"?: number;
}

export interface Check {
  "detail"?: string;
  "ok": boolean;
}

export interface CreateAction {
  /** Which agent runs it; the mesh's default agent when left out. */
  "agent"?: string;
  /** The events to send; milestones and the outcome when left out. With or without the kind before the dot. */
  "callback_events"?: Array<string> | null;
  /** The webhook whose keys sign the callback; the mesh's own when left out. */
  "callback_secret_ref"?: string;
  /** Where the outcome is POSTed, signed. */
  "callback_url": string;
  /** Past it the task fails. */
  "deadline"?: string;
  /** Run this much later. Not with run_at. */
  "delay"?: string;
  /** Any JSON value; checked against the agent's input_schema. */
  "input"?: unknown;
  /** What to do, in words. */
  "instruction"?: string;
  /** Up to 32, to find the task by. */
  "labels"?: Record<string, string>;
  /** The agent's when left out. */
  "max_attempts"?: number;
  /** Any JSON value up to 16 KiB, kept and returned. */
  "metadata"?: unknown;
  /** Run at this time, up to a year ahead. */
  "run_at"?: string;
  /** Of one attempt, up to 24h; the agent's when left out. */
  "timeout"?: string;
}

export interface CreateKey {
  /** When it ends; never when left out. */
  "expires_at"?: string;
  /** What it is for. */
  "name"?: string;
  /** What the key may do; * is all but admin. */
  "scopes": Array<string> | null;
  /** Whose key it is; the caller's tenant when left out. */
  "tenant"?: string;
}

export interface CreateSession {
  /** Whom to talk with; the mesh's default agent when left out. */
  "agent"?: string;
}

export interface CreateTask {
  /** Which agent runs it; the mesh's default agent when left out. */
  "agent"?: string;
  /** The events to send; milestones and the outcome when left out. With or without the kind before the dot. */
  "callback_events"?: Array<string> | null;
  /** The webhook whose keys sign the callback; the mesh's own when left out. */
  "callback_secret_ref"?: string;
  /** Where the outcome is POSTed, signed. */
  "callback_url"?: string;
  /** Past it the task fails. */
  "deadline"?: string;
  /** Run this much later. Not with run_at. */
  "delay"?: string;
  /** Any JSON value; checked against the agent's input_schema. */
  "input"?: unknown;
  /** What to do, in words. */
  "instruction"?: string;
  /** Up to 32, to find the task by. */
  "labels"?: Record<string, string>;
  /** The agent's when left out. */
  "max_attempts"?: number;
  /** Any JSON value up to 16 KiB, kept and returned. */
  "metadata"?: unknown;
  /** Run at this time, up to a year ahead. */
  "run_at"?: string;
  /** Of one attempt, up to 24h; the agent's when left out. */
  "timeout"?: string;
}

export interface Delivery {
  /** Of an action: the same as task_id. */
  "action_id"?: string;
  "agent"?: string;
  "attempts": Array<DeliveryAttempt> | null;
  "created_at": string;
  /** Also the webhook-id of its requests. */
  "delivery_id": string;
  "event_id": string;
  "next_attempt_at"?: string;
  /** What is sent, in GET /deliveries/{id}. */
  "payload"?: unknown;
  /** The push notification configuration of the task, over A2A. */
  "push_id"?: string;
  /** Of an event of a schedule, which has no task. */
  "schedule_id"?: string;
  "status": "pending" | "retrying" | "delivered" | "dead" | "parked" | "canceled";
  "task_id"?: string;
  "trace_id"?: string;
  "type": string;
  "updated_at"?: string;
  "url"?: string;
  /** The subscription; none for a callback. */
  "webhook_id"?: string;
}

export interface DeliveryAttempt {
  /** The first 4 KiB of the answer's body. */
  "answer"?: string;
  "at": string;
  "class": string;
  "duration_ms": number;
  "error"?: string;
  /** Of a redirect; it is not followed. */
  "location"?: string;
  "next_attempt_at"?: string;
  "status_code"?: number;
  "url": string;
}

export interface DeliveryFilter {
  /** What the last attempt came to. */
  "class"?: string;
  /** Created then or later. */
  "since"?: string;
  /** Any of these; dead and parked when left out. */
  "status"?: Array<string> | null;
  /** Of the event. */
  "type"?: string;
  "webhook_id"?: string;
}

export interface DeliveryList {
  "deliveries": Array<Delivery> | null;
  /** Empty on the last page. A page may be short and still have a next one. */
  "next_cursor": string;
  /** How many records were looked at for this page. */
  "scanned": number;
}

export interface DeliveryStats {
  /** Waiting for a notifier, or held by one. */
  "due": number;
  /** Changes of records that no notifier has read yet. */
  "fanout_lag": number;
  /** Age of the oldest undelivered one, of those that have rested longest. */
  "oldest_age_seconds": number;
  /** Waiting for their next attempt. */
  "scheduled": number;
}

export interface EffectiveLimits {
  "burst": number;
  "pending": number;
  "pending_per_agent": number;
  "rate": number;
  "sessions": number;
  "streams": number;
  "waits": number;
  "webhooks": number;
}

export interface Error {
  "attempt": number;
  "code": string;
  "message": string;
  "retryable": boolean;
}

export interface Event {
  "data": unknown;
  /** Revision of the record; resumes a stream as Last-Event-ID. A step has that of the event before it. */
  "id": number;
  "type": "status" | "progress" | "milestone" | "output" | "step";
}

export interface EventList {
  "events": Array<Event> | null;
}

export interface ForkSession {
  /** The number of the last message that is taken over: the end of a turn. All when left out. */
  "after"?: number;
  /** The agent's state at that point. Left out: the session's, where all messages are taken over, and none otherwise: what it was then is not kept. */
  "state"?: unknown;
}

export interface HistoryAgent {
  /** By their creation. One that still waits is not among them: it has no record. */
  "accepted": number;
  "canceled": number;
  /** This and the next: by their end. */
  "completed": number;
  "failed": number;
  "name": string;
  /** Of those that have ended, from the start of the first attempt; to about a tenth. */
  "run_p50_ms"?: number;
  "run_p95_ms"?: number;
}

export interface HistoryCalls {
  "callee": string;
  "caller": string;
  "calls": number;
  "failed": number;
}

export interface HistoryGauge {
  "in_flight": number;
  /** How long the task waited that waited longest. */
  "oldest_age_seconds": number;
  "waiting": number;
}

export interface HistoryPoint {
  /** By their creation. One that still waits is not among them: it has no record. */
  "accepted": number;
  /** When it began. */
  "at": string;
  "canceled": number;
  /** This and the next: by their end. */
  "completed": number;
  "failed": number;
  /** At the end of the step; left out where nobody has looked then. */
  "now"?: HistoryGauge;
  /** Messages that the queues were given: what was accepted, and what was queued again. Of all agents. */
  "queued": number;
  /** Of those that have ended, from the start of the first attempt; to about a tenth. */
  "run_p50_ms"?: number;
  "run_p95_ms"?: number;
}

export interface Hook {
  "accept": Array<HookRule> | null;
  "created_at": string;
  "hook_id": string;
  "keep_bodies"?: boolean;
  /** The secrets without the secrets, the current one first. */
  "keys": Array<HookKey> | null;
  "max_body": number;
  "name"?: string;
  /** Why it is paused. */
  "note"?: string;
  "paused": boolean;
  "session"?: HookSession;
  "signal"?: HookSignal;
  "task"?: HookTask;
  "updated_at": string;
  /** Where the sender POSTs, without an API key: whoever knows it may knock. */
  "url": string;
  "verify": HookVerify;
}

export interface HookAccepted {
  "status_url"?: string;
  "task_id"?: string;
}

export interface HookCounts {
  "accepted": number;
  "body_differs": number;
  /** Asked whether anybody is there. */
  "challenge": number;
  /** By accept. */
  "ignored": number;
  /** Verified, and not taken. */
  "refused": number;
  /** Not verified. */
  "rejected": number;
  /** The delivery was known. */
  "repeated": number;
}

export interface HookInput {
  /** body (default), headers, request (both), or a JSON pointer into the body. */
  "from"?: string;
  /** Those that the agent may see; never credentials. */
  "headers"?: Array<string> | null;
  /** Members that are always in the input, in the place of those of the body. */
  "merge"?: unknown;
}

export interface HookKey {
  "created_at": string;
  "expires_at"?: string;
}

export interface HookList {
  "hooks": Array<Hook> | null;
}

export interface HookReceipt {
  "at": string;
  /** Its first 2 KiB, where the hook keeps bodies. */
  "body"?: string;
  /** The delivery had come before, with another body: that one stands. */
  "body_differs"?: boolean;
  "cause"?: string;
  "delivery_id"?: string;
  "outcome": "accepted" | "repeated" | "challenge" | "ignored" | "rejected" | "refused";
  /** Of the body, in bytes. */
  "size": number;
  "status_url"?: string;
  "task_id"?: string;
}

export interface HookRecent {
  "counts": HookCounts;
  /** The newest 50 requests, newest first; not more than 25 that were not verified, where there are others. */
  "deliveries": Array<HookReceipt> | null;
}

export interface HookRequest {
  /** Each must hold of a delivery, or it is answered with 204. All count when there are none. */
  "accept"?: Array<HookRule>;
  /** Show the beginnings of bodies in /recent. */
  "keep_bodies"?: boolean;
  /** In bytes; 1 MiB when left out. */
  "max_body"?: number;
  /** One of your own. */
  "name"?: string;
  /** What a delivery says. */
  "session"?: HookSession;
  /** Which waiting task a delivery answers. */
  "signal"?: HookSignal;
  /** What a delivery starts. One of task, session and signal. */
  "task"?: HookTask;
  /** Who is believed. A PATCH that leaves the secrets out keeps them. */
  "verify"?: HookVerify;
}

export interface HookRule {
  "header"?: string;
  "in": Array<string> | null;
  /** A JSON pointer into the body. */
  "json"?: string;
}

export interface HookSession {
  "agent"?: string;
  /** A JSON pointer. */
  "key": string;
  /** A JSON pointer. */
  "text": string;
}

export interface HookSignal {
  /** What the task waits for. */
  "name": string;
  /** A JSON pointer to the id. */
  "task": string;
}

export interface HookTask {
  "agent"?: string;
  "callback_events"?: Array<string> | null;
  "callback_secret_ref"?: string;
  /** Shown without its query, which is stored sealed. */
  "callback_url"?: string;
  "input"?: HookInput;
  "instruction"?: string;
  "labels"?: Record<string, string>;
  "max_attempts"?: number;
  "metadata"?: unknown;
  "timeout"?: string;
}

export interface HookVerify {
  "algorithm"?: "sha256" | "sha512";
  /** What is signed. */
  "content"?: string;
  "encoding"?: "hex" | "base64";
  /** Of the signature, or the token. */
  "header"?: string;
  /** Where the id of a delivery is: a header, a JSON pointer into the body, or none: then every call is a new one. The style says it, but for hmac and token. */
  "id"?: string;
  /** How a secret becomes the key. */
  "key"?: "text" | "base64";
  /** Before the signature or the token, such as sha256=. */
  "prefix"?: string;
  /** One, or two while one takes the place of the other. They are shown never. */
  "secrets"?: Array<string> | null;
  "style": "standard" | "github" | "stripe" | "slack" | "hmac" | "token";
  /** The header of the time in Unix seconds, at most 300 s from now. */
  "timestamp"?: string;
  /** Of HTTP Basic, whose password is the secret. */
  "username"?: string;
}

export interface Index {
  /** The web console, where there is one. */
  "console"?: string;
  /** The API as a page. */
  "docs": string;
  "name": string;
  /** The API as a document. */
  "openapi": string;
  /** What the codes of refusals mean. */
  "problems": string;
  "routes": Array<IndexRoute> | null;
  "version": string;
}

export interface IndexRoute {
  "method": string;
  "path": string;
  /** Of those who may; public: everybody, known: any caller that is known. */
  "scope": string;
  "summary": string;
}

export interface Invalid {
  "detail": string;
  /** JSON pointer into the request body. */
  "pointer": string;
}

export interface Jwk {
  "alg": string;
  "crv": string;
  /** The key's thumbprint (RFC 7638). */
  "kid": string;
  "kty": string;
  "use": string;
  "x": string;
}

export interface Key {
  "created_at": string;
  "expires_at"?: string;
  "key_id": string;
  "public_key"?: string;
  "scheme": string;
}

export interface KeyList {
  "keys": Array<APIKey> | null;
}

export interface KeySet {
  "keys": Array<Jwk> | null;
}

export interface Line {
  /** A checkpoint is written at once. */
  "ack"?: boolean;
  /** A text, or an object with code and message: the step failed for good. */
  "error"?: unknown;
  /** How long to sleep, such as 24h, or a number of seconds. */
  "for"?: unknown;
  /** What a step depends on: one with another key replaces it. */
  "key"?: unknown;
  /** Which of its name it is, from 0; left out: the first that has not come to its end. With it a request may be repeated. */
  "n"?: number;
  /** Of all but a checkpoint. */
  "name"?: string;
  /** Of a question. */
  "prompt"?: string;
  /** JSON Schema of the answer to a question. */
  "schema"?: unknown;
  /** Of a question or an event, such as 48h, or a number of seconds. */
  "timeout"?: unknown;
  /** As in the lines of programs. */
  "type": "step" | "started" | "checkpoint" | "sleep" | "ask" | "wait";
  /** When a sleep is over. */
  "until"?: string;
  /** Of a step or a checkpoint. */
  "value"?: unknown;
}

export interface LineKept {
  /** Which of its name it is. */
  "n"?: number;
  "name"?: string;
  "type": "ok";
}

export interface Message {
  "at": string;
  /** The turn was canceled: there is no reply. */
  "interrupted"?: boolean;
  "role": "user" | "agent";
  "text": string;
  "turn_id"?: string;
}

export interface Milestone {
  "at": string;
  "attempt": number;
  "data"?: unknown;
  "message"?: string;
  "n": number;
  "name": string;
  "task_id"?: string;
}

export interface PauseAgent {
  /** How long, at most 8760h; until somebody resumes it when left out. */
  "for"?: string;
}

export interface PauseHook {
  /** Why. */
  "note"?: string;
}

export interface PauseSchedule {
  /** Why. */
  "note"?: string;
}

export interface PostMessage {
  /** If sent, it must be the session's agent. */
  "agent"?: string;
  /** Instead of text: the answer to the question that the session awaits, as JSON. */
  "answer"?: unknown;
  /** The same as text. */
  "message"?: string;
  /** While another turn is open: refuse with 409 (default), wait behind it and all that wait already (at most 32), or cancel them all. */
  "on_busy"?: "reject" | "wait" | "interrupt";
  /** What the user says. */
  "text"?: string;
}

export interface PreviewSchedule {
  "anchor"?: string;
  /** How many times; 5 when left out. */
  "count"?: number;
  "cron"?: Array<string> | null;
  "end_at"?: string;
  "every"?: string;
  "exclude"?: Array<string> | null;
  /** After when; now when left out. */
  "from"?: string;
  "start_at"?: string;
  "timezone"?: string;
}

export interface PreviewTime {
  "at": string;
  /** What a change of the clock does to it. */
  "note"?: string;
}

export interface Problem {
  "code": string;
  /** What was wrong with this request and what to do. */
  "detail"?: string;
  "errors"?: Array<Invalid> | null;
  "instance"?: string;
  /** The same request may succeed later. */
  "retryable": boolean;
  "status": number;
  /** The same for every problem with this code. */
  "title": string;
  "trace_id"?: string;
  /** Relative URI of the page on this code. */
  "type": string;
}

export interface ProblemList {
  /** In the order of their codes. */
  "problems": Array<ProblemPage> | null;
}

export interface ProblemPage {
  "code": string;
  /** Of a task's error: who must look. */
  "fault"?: "agent" | "client" | "mesh";
  /** The same request may succeed later. */
  "retryable": boolean;
  /** Of the refusal. */
  "status"?: number;
  "title": string;
}

export interface Question {
  "asked_at"?: string;
  "name": string;
  "prompt"?: string;
  /** JSON Schema of the answer. */
  "schema"?: unknown;
  /** Past it no answer is taken. */
  "until"?: string;
}

export interface Readiness {
  "checks": Record<string, Check>;
  /** What an accepted task survives. */
  "durability"?: string;
  "ready": boolean;
}

export interface RedeliverRequest {
  /** The next_cursor of the answer before, to go on; since and statuses as before. */
  "cursor"?: string;
  /** Events since this time; all when left out. */
  "since"?: string;
  /** Deliveries with these statuses; dead and parked when left out. */
  "statuses"?: Array<string> | null;
}

export interface Redelivered {
  "deliveries"?: Array<Delivery> | null;
  /** There may be more than one request sends again: repeat it with the next_cursor. */
  "more"?: boolean;
  "next_cursor"?: string;
  "redelivered": number;
}

export interface RemovedAgent {
  "name": string;
  /** Tasks and turns that go on waiting for an agent of this name. */
  "waiting": number;
  "warning": string;
}

export interface RetryTask {
  /** Name of a step: what the agent has finished before the first of that name is taken over, and not done again. Left out: nothing is. */
  "from"?: string;
}

export interface RotateHook {
  /** How long the one before is believed beside it: 24h when left out, at most 720h. */
  "overlap"?: string;
  /** The new one, as the sender has it. */
  "secret": string;
}

export interface RotateKey {
  /** How long the old key goes on beside the new one: 0s to 720h, 24h when left out. */
  "overlap"?: string;
}

export interface RotateRequest {
  /** How long the old keys go on signing beside the new one: 0s to 720h, 24h when left out. */
  "overlap"?: string;
  /** Of the new key; that of the present one when left out. */
  "scheme"?: "v1" | "v1a";
  /** A key of your own. */
  "secret"?: string;
}

export interface Schedule {
  "anchor"?: string;
  "catch_up": ScheduleCatchUp;
  "counts": ScheduleCounts;
  "created_at": string;
  "cron"?: Array<string> | null;
  "end_at"?: string;
  "every"?: string;
  "exclude"?: Array<string> | null;
  "jitter"?: string;
  "max_runs"?: number;
  "message"?: ScheduleMessage;
  "name"?: string;
  /** The next five times, in its zone. Empty while it is paused, and when it is over. */
  "next_at": Array<string> | null;
  /** Why it is paused, or what a change of the clock does to one of the next times. */
  "note"?: string;
  "overlap": "skip" | "queue" | "queue_all" | "cancel_running" | "allow";
  "pause_after_failures"?: number;
  "paused": boolean;
  "schedule_id": string;
  "start_at"?: string;
  "task"?: ScheduleTask;
  "timezone": string;
  "updated_at": string;
  /** Due times that wait for the open run. */
  "waiting"?: number;
}

export interface ScheduleCatchUp {
  /** Of all: how many, the newest; 100 when left out. */
  "max"?: number;
  /** The newest (default), all of them with the oldest first, or none. */
  "policy"?: "one" | "all" | "none";
  /** How late a time may run: 24h when left out, at most 720h. */
  "window"?: string;
}

export interface ScheduleCounts {
  /** Runs whose task failed or was refused, as far as the schedule has looked. */
  "failed": number;
  "fired": number;
  /** Nobody was there, and catch_up did not run them. */
  "missed": number;
  /** By the overlap policy. */
  "skipped": number;
}

export interface ScheduleList {
  "schedules": Array<Schedule> | null;
}

export interface ScheduleMessage {
  "session_id": string;
  "text": string;
}

export interface SchedulePreview {
  "next_at": Array<string> | null;
  "runs": Array<PreviewTime> | null;
}

export interface ScheduleRequest {
  /** From when every counts; the creation when left out. */
  "anchor"?: string;
  /** Short for task.callback_url. */
  "callback_url"?: string;
  /** Which of the times that nobody was there for run after all. */
  "catch_up"?: ScheduleCatchUp;
  /** Expressions of five fields (minute hour day month weekday), or @hourly to @yearly; each is due by itself. Not with every. */
  "cron"?: Array<string>;
  /** No run from then on. */
  "end_at"?: string;
  /** An interval from 1s to 8784h. Not with cron. */
  "every"?: string;
  /** Days without runs. */
  "exclude"?: Array<string>;
  /** A run begins up to this much late, the same amount each time it is asked for; at most half of the shortest distance. */
  "jitter"?: string;
  /** Short for task.labels. */
  "labels"?: Record<string, string>;
  /** After so many runs it is over; 0: never. */
  "max_runs"?: number;
  /** What each run says in a session. */
  "message"?: ScheduleMessage;
  /** One of your own, to find it by: PUT /schedules/{name}. */
  "name"?: string;
  /** What becomes of a due time while the run before is open: skip (default), one waits, up to 100 wait, the open run is canceled, or both run. */
  "overlap"?: "skip" | "queue" | "queue_all" | "cancel_running" | "allow";
  /** After so many failed runs in a row it is paused; 0: never. */
  "pause_after_failures"?: number;
  /** No run before. */
  "start_at"?: string;
  /** What each run starts. Either this or message. */
  "task"?: ScheduleTask;
  /** Of cron and exclude, from the IANA database; UTC when left out. */
  "timezone"?: string;
}

export interface ScheduleRun {
  "decided_at": string;
  "outcome": "fired" | "waiting" | "skipped" | "missed" | "refused";
  "reason"?: string;
  /** The nominal time. */
  "scheduled_at": string;
  /** Of the task, when the schedule looked last. */
  "status"?: string;
  "status_url"?: string;
  "task_id"?: string;
}

export interface ScheduleRuns {
  /** The newest 20, newest first. */
  "runs": Array<ScheduleRun> | null;
}

export interface ScheduleTask {
  "agent"?: string;
  "callback_events"?: Array<string> | null;
  "callback_secret_ref"?: string;
  /** Shown without its query, which is stored sealed. */
  "callback_url"?: string;
  /** At most 256 KiB. */
  "input"?: unknown;
  "instruction"?: string;
  "labels"?: Record<string, string>;
  "max_attempts"?: number;
  "metadata"?: unknown;
  "timeout"?: string;
}

export interface ScheduleTimes {
  "times": Array<string> | null;
}

export interface Session {
  "agent": string;
  /** A turn is open or waits. */
  "busy": boolean;
  "created_at": string;
  /** Unless there is a turn before. */
  "expires_at": string;
  /** Messages in the transcript. */
  "messages": number;
  /** The id of the open turn. */
  "open_turn"?: string;
  "session_id": string;
  /** What the agent keeps of the session, with ?include=state. */
  "state"?: unknown;
  /** Turns in the transcript; one that failed is not. */
  "turns": number;
  "updated_at": string;
  /** The ids of the turns that wait behind it, the next one first. */
  "waiting"?: Array<string> | null;
}

export interface SessionCreated {
  "agent": string;
  "created_at": string;
  /** Unless there is a turn before. */
  "expires_at": string;
  /** The agent's greeting, empty when it has none. */
  "message": string;
  "session_id": string;
}

export interface SessionForked {
  "agent": string;
  "created_at": string;
  /** Unless there is a turn before. */
  "expires_at": string;
  "forked_from": string;
  /** The agent finds a state. */
  "has_state": boolean;
  /** Messages that were taken over. */
  "messages": number;
  /** Of the new session. */
  "session_id": string;
}

export interface SessionList {
  /** Empty on the last page. A page may be short and still have a next one. */
  "next_cursor": string;
  /** How many records were looked at for this page. */
  "scanned": number;
  "sessions": Array<Session> | null;
}

export interface Spent {
  "cost": number;
  "tokens": number;
}

export interface SpentName {
  "cost": number;
  "name": string;
  "tokens": number;
}

export interface Stats {
  "agents": Array<AgentStats> | null;
  /** When it was counted: at most 2 s ago. */
  "at": string;
  "deliveries": DeliveryStats;
  /** Tasks of them that wait for a person. Where more than 1,000 are scheduled, the first 1,000 were looked at. */
  "input_required": number;
  /** Consumers that were deleted and that a role lives on. What waits for one cannot be told from what is scheduled, so all of it counts as waiting. */
  "missing_consumers"?: Array<string> | null;
  /** Tasks and retries that wait for their time, or for an answer. */
  "scheduled": number;
  /** Sessions that are kept. */
  "sessions": number;
  "storage": StorageStats;
  "workers": Array<WorkerStats> | null;
}

export interface StatsHistory {
  /** By name; over all steps. */
  "agents": Array<HistoryAgent> | null;
  /** Tasks that agents called, the most frequent first; over all steps. */
  "calls": Array<HistoryCalls> | null;
  /** The records of the minutes before are still being read: ask again. */
  "filling"?: boolean;
  "from": string;
  /** Oldest first, one for each step; the last one is not over. */
  "points": Array<HistoryPoint> | null;
  "step_seconds": number;
  "to": string;
  /** The counts are whole from here on: of what was before, as much was read as there was time for. */
  "whole_from": string;
}

export interface Step {
  /** When it was written. */
  "at": string;
  /** In which it was written. */
  "attempt"?: number;
  /** Of the value. */
  "bytes"?: number;
  /** The step failed for good. */
  "error"?: Error;
  /** The beginning of a value that was too long to keep, with include=values. */
  "head"?: string;
  /** Hash of what the step depends on. */
  "key"?: string;
  /** step has ended. started has begun, and nobody knows its end. sleep is over. wait: what came of a wait for an event. answer: of a question. checkpoint: how far the agent has come. */
  "kind": "step" | "started" | "sleep" | "wait" | "answer" | "checkpoint";
  /** How long it took, in milliseconds. */
  "ms"?: number;
  /** Which of its kind and name it is, from 0. */
  "n": number;
  "name"?: string;
  /** The agent has its values sealed: they are not shown. */
  "sealed"?: boolean;
  /** With include=values. */
  "value"?: unknown;
  /** Where the value is, with include=values, when it has more than 256 KiB. */
  "value_url"?: string;
  /** Of the agent. */
  "version"?: string;
}

export interface StepList {
  /** Empty on the last page. While the task runs, an entry that is written anew moves to the end. */
  "next_cursor": string;
  "steps": Array<Step> | null;
}

export interface StorageStats {
  /** None: no limit is known. */
  "limit_bytes"?: number;
  "used_bytes": number;
}

export interface Task {
  /** Of an action: the same as task_id. */
  "action_id"?: string;
  "agent"?: string;
  /** In events: when it happened. */
  "at"?: string;
  /** Attempts begun, from 1; 0 before the first. */
  "attempt": number;
  /** The attempts, oldest first: those of the newest 64 changes of status. */
  "attempts"?: Array<Attempt> | null;
  "callback_events"?: Array<string> | null;
  "callback_url"?: string;
  /** The tasks that this one has started; GET /tasks?parent_id= lists them whole. */
  "children"?: Array<string> | null;
  "created_at"?: string;
  "deadline"?: string;
  /** The status is final. */
  "done": boolean;
  "error"?: TaskError;
  "finished_at"?: string;
  /** The hook whose delivery started it. */
  "hook_id"?: string;
  /** With ?include=input: the input as it was sent, when it is at most 256 KiB. */
  "input"?: unknown;
  /** With ?include=input: where a larger input is. */
  "input_url"?: string;
  "kind"?: string;
  "labels"?: Record<string, string>;
  "max_attempts"?: number;
  "message"?: string;
  "metadata"?: unknown;
  "milestones"?: Array<Milestone> | null;
  /** When a delayed task or a retry may run, and when a task that waits goes on by itself. */
  "not_before"?: string;
  "parent_id"?: string;
  "progress"?: string;
  "progress_percent"?: number;
  /** The first of the open questions. */
  "question"?: Question;
  /** The open questions of the agent, first asked first. POST /tasks/{id}/input answers one. */
  "questions"?: Array<Question> | null;
  /** The result, when it is at most 256 KiB. */
  "result"?: unknown;
  /** Where a larger result is. */
  "result_url"?: string;
  "retried_from"?: string;
  /** The schedule that started it. */
  "schedule_id"?: string;
  /** The time that it was due. */
  "scheduled_at"?: string;
  /** Of a turn. */
  "session_id"?: string;
  "started_at"?: string;
  /** A pending action is initiated. */
  "status": "pending" | "initiated" | "processing" | "input_required" | "completed" | "failed" | "canceled";
  "status_url"?: string;
  /** Of a canceled task: when the agent was seen to end. */
  "stopped_at"?: string;
  /** The limit that ended the agent's work early: steps, tool_calls, tokens, cost, time or tool_errors. */
  "stopped_by"?: string;
  "task_id": string;
  "trace_id"?: string;
  /** The trace in the tracing backend, where the operator has set one. */
  "trace_url"?: string;
  /** Of a turn of a session: the same as task_id. */
  "turn_id"?: string;
  "updated_at"?: string;
  /** What the task has used of models and tools. */
  "usage"?: Usage;
  /** The same, with the tasks that it has called. */
  "usage_total"?: Usage;
  /** In GET of a pending task: why it does not run. */
  "waiting"?: Waiting;
  /** What was wrong with the agent's messages though its result was taken. */
  "warnings"?: Array<string> | null;
}

export interface TaskError {
  "attempt": number;
  "code": string;
  /** For who runs the agent: the end of what it wrote to standard error, or the cause. In GET of one task only, with ?include=error_detail; without authentication on loopback always. */
  "detail"?: string;
  "message": string;
  "retryable": boolean;
}

export interface TaskFilter {
  "agent"?: string;
  "created_after"?: string;
  /** The time of the first request when left out: what is made meanwhile is left alone. */
  "created_before"?: string;
  /** Code of the task's error. */
  "error"?: string;
  "kind"?: "task" | "action" | "turn";
  "labels"?: Record<string, string>;
  "parent_id"?: string;
  "session_id"?: string;
  /** Any of these; all that the action is for when left out. */
  "status"?: Array<string> | null;
  /** That has the task, or had it last. */
  "worker"?: string;
}

export interface TaskList {
  /** Empty on the last page. A page may be short and still have a next one. */
  "next_cursor": string;
  /** How many records were looked at for this page: a listing that filters hard ends after 2 s, with a cursor to go on. */
  "scanned": number;
  "tasks": Array<Task> | null;
}

export interface Tenant {
  "created_at": string;
  /** Those that hold for it: its own, and the mesh's where it has none. */
  "effective": EffectiveLimits;
  /** Its own. */
  "limits": TenantLimits;
  "name": string;
  "updated_at": string;
}

export interface TenantLimits {
  /** Requests at once; as many as in a second when 0. */
  "burst"?: number;
  /** Tasks that wait or run. */
  "pending"?: number;
  /** Tasks of one agent that wait or run. */
  "pending_per_agent"?: number;
  /** Requests a second at each gateway. Of every limit, -1 is none and 0 allows nothing. */
  "rate"?: number;
  "sessions"?: number;
  /** Streams of events, at each gateway. */
  "streams"?: number;
  /** Requests that are held for an outcome or a change, at each gateway. */
  "waits"?: number;
  "webhooks"?: number;
}

export interface TenantList {
  "tenants": Array<Tenant> | null;
}

export interface TenantRequest {
  /** In place of all that it had of its own. */
  "limits"?: TenantLimits;
}

export interface Transcript {
  /** The number of the first message here; the session's first one is 1. */
  "first": number;
  /** Oldest first. */
  "messages": Array<Message> | null;
  /** There are more: ask for those ?after= this one. */
  "next_after"?: number;
  "session_id": string;
}

export interface Turn {
  /** Of an action: the same as task_id. */
  "action_id"?: string;
  "agent"?: string;
  /** In events: when it happened. */
  "at"?: string;
  /** Attempts begun, from 1; 0 before the first. */
  "attempt": number;
  /** The attempts, oldest first: those of the newest 64 changes of status. */
  "attempts"?: Array<Attempt> | null;
  /** The message is a question of this name: the next message answers it. */
  "awaiting"?: string;
  "callback_events"?: Array<string> | null;
  "callback_url"?: string;
  /** The tasks that this one has started; GET /tasks?parent_id= lists them whole. */
  "children"?: Array<string> | null;
  /** The id of the turn whose question it answers. */
  "continues"?: string;
  "created_at"?: string;
  "deadline"?: string;
  /** The status is final. */
  "done": boolean;
  "error"?: TaskError;
  "finished_at"?: string;
  /** The hook whose delivery started it. */
  "hook_id"?: string;
  /** With ?include=input: the input as it was sent, when it is at most 256 KiB. */
  "input"?: unknown;
  /** With ?include=input: where a larger input is. */
  "input_url"?: string;
  "kind"?: string;
  "labels"?: Record<string, string>;
  "max_attempts"?: number;
  /** The agent's reply of a completed turn, else its latest progress message. */
  "message"?: string;
  "metadata"?: unknown;
  "milestones"?: Array<Milestone> | null;
  /** When a delayed task or a retry may run, and when a task that waits goes on by itself. */
  "not_before"?: string;
  "parent_id"?: string;
  "progress"?: string;
  "progress_percent"?: number;
  /** The first of the open questions. */
  "question"?: Question;
  /** The open questions of the agent, first asked first. POST /tasks/{id}/input answers one. */
  "questions"?: Array<Question> | null;
  /** The result, when it is at most 256 KiB. */
  "result"?: unknown;
  /** Where a larger result is. */
  "result_url"?: string;
  "retried_from"?: string;
  /** The schedule that started it. */
  "schedule_id"?: string;
  /** The time that it was due. */
  "scheduled_at"?: string;
  /** Of a turn. */
  "session_id"?: string;
  "started_at"?: string;
  /** A pending action is initiated. */
  "status": "pending" | "initiated" | "processing" | "input_required" | "completed" | "failed" | "canceled";
  "status_url"?: string;
  /** Of a canceled task: when the agent was seen to end. */
  "stopped_at"?: string;
  /** The limit that ended the agent's work early: steps, tool_calls, tokens, cost, time or tool_errors. */
  "stopped_by"?: string;
  "task_id": string;
  /** What the user said. */
  "text": string;
  "trace_id"?: string;
  /** The trace in the tracing backend, where the operator has set one. */
  "trace_url"?: string;
  /** Of a turn of a session: the same as task_id. */
  "turn_id"?: string;
  "updated_at"?: string;
  /** What the task has used of models and tools. */
  "usage"?: Usage;
  /** The same, with the tasks that it has called. */
  "usage_total"?: Usage;
  /** In GET of a pending task: why it does not run. */
  "waiting"?: Waiting;
  /** What was wrong with the agent's messages though its result was taken. */
  "warnings"?: Array<string> | null;
}

export interface TurnReply {
  /** The message is a question of this name: the next message answers it. */
  "awaiting"?: string;
  "error"?: Error;
  /** The agent's reply; null unless the turn is completed. */
  "message": string | null;
  "session_id": string;
  "status": "completed" | "failed" | "canceled";
  "trace_id"?: string;
  "turn_id": string;
}

export interface Usage {
  /** A part of the input. */
  "cached_input_tokens"?: number;
  /** By the prices of agents.yaml. Without a currency it is not known. */
  "cost"?: number;
  /** mixed: the costs are in several currencies, and are not added. */
  "currency"?: string;
  /** A server did not count; bytes were counted instead. */
  "estimated"?: boolean;
  "input_tokens": number;
  "model_calls": number;
  "output_tokens": number;
  /** A part of the output. */
  "reasoning_tokens"?: number;
  "tool_calls": number;
}

export interface Verdict {
  /** What that means, and what to do. */
  "detail": string;
  /** That one. */
  "key_id"?: string;
  /** timestamp_too_far also of a valid one: a receiver that looks at the time refuses it. */
  "reason"?: "headers_missing" | "headers_malformed" | "no_signature_matches" | "timestamp_too_far";
  "scheme"?: string;
  /** When it says that it was sent. */
  "sent_at"?: string;
  /** One of the keys has signed it. */
  "valid": boolean;
}

export interface VerifyRequest {
  /** The body as text, byte for byte, at most 1 MiB. */
  "body": string;
  /** At least webhook-id, webhook-timestamp and webhook-signature, in any case; others are not looked at. */
  "headers": Record<string, string>;
}

export interface Version {
  "commit": string;
  "go": string;
  /** Of the server that the gateway is connected to. */
  "nats"?: string;
  "version": string;
}

export interface Waiting {
  /** How many tasks of the agent may run in the mesh. */
  "limit"?: number;
  /** Workers that serve the agent. */
  "live_workers"?: number;
  "next_attempt_at"?: string;
  /** Place in the agent's line, or in the session's; 1 is next. Beyond 32 an estimate. */
  "position"?: number;
  /** session: other turns of its session are before it. scheduled, retrying and sleeping: until next_attempt_at. waiting_for_event: for one that is told by POST /tasks/{id}/input, or until next_attempt_at. waiting_for_child: for a task that its agent has called. no_live_worker: none serves the agent. mesh_limit: as many tasks of the agent run as may. queued: others are before it. starting: a worker has it. */
  "reason": "session" | "scheduled" | "retrying" | "sleeping" | "waiting_for_event" | "waiting_for_child" | "no_live_worker" | "mesh_limit" | "queued" | "starting";
}

export interface Webhook {
  /** Empty: all. */
  "agents": Array<string> | null;
  "ca"?: string;
  "client_certificate"?: string;
  "created_at": string;
  "description"?: string;
  "disabled_at"?: string;
  "disabled_reason"?: string;
  "enabled": boolean;
  /** Empty: milestones and outcomes. */
  "events": Array<string> | null;
  /** Their names; the values are secret. */
  "headers"?: Array<string> | null;
  /** The current one first; all that have not expired sign. */
  "keys": Array<Key> | null;
  /** Shown once, when the key is made: the shared secret of v1. Of v1a the public_key is all that receivers need. */
  "secret"?: string;
  /** Its secrets cannot be opened, so nothing is sent to it; and what to do. */
  "unreadable"?: string;
  "updated_at": string;
  "url": string;
  "webhook_id": string;
}

export interface WebhookList {
  "webhooks": Array<Webhook> | null;
}

export interface WebhookRequest {
  /** Only of these agents; all when empty. */
  "agents"?: Array<string>;
  /** PEM: the certificate authority of the receiver, instead of the system's. */
  "ca"?: string;
  /** PEM: shown to the receiver (mutual TLS). Needs client_key. */
  "client_certificate"?: string;
  /** PEM; kept sealed. */
  "client_key"?: string;
  "description"?: string;
  /** While it is false events are parked. */
  "enabled"?: boolean;
  /** Types of events; milestones and outcomes when empty. */
  "events"?: Array<string>;
  /** Up to 20, sent with each delivery; kept sealed. A PATCH replaces all of them. */
  "headers"?: Record<string, string>;
  /** POST: how deliveries are signed, v1 (HMAC-SHA256, default) or v1a (ed25519). */
  "scheme"?: "v1" | "v1a";
  /** POST: a key of your own, whsec_... for v1, whsk_... for v1a; a new one is made when left out. */
  "secret"?: string;
  /** Where events are POSTed. */
  "url"?: string;
}

export interface WhoAmI {
  /** How the gateway asks who calls: off, keys, oidc, keys,oidc or certs. */
  "auth": string;
  /** Of the API key that was shown. */
  "key_id"?: string;
  /** What the caller may do; * is all but admin. */
  "scopes": Array<string> | null;
  /** The name of the caller. */
  "subject"?: string;
  /** What belongs to this tenant is all that the caller sees. */
  "tenant": string;
}

export interface WorkerStats {
  "agents": Array<string> | null;
  /** Slots taken, a second or two ago. */
  "busy": number;
  "host"?: string;
  /** When it last said that it is there, which it does every 30 s. */
  "seen_at"?: string;
  "slots": number;
  "started_at": string;
  "worker_id": string;
}

/** What is of no noun. */
export interface RootCalls {
  /** GET /: List what there is; a browser is led to the console */
  getIndex(options?: Options): Promise<Index>;
  /** GET /.well-known/webhooks/jwks.json: Read the public keys that sign deliveries (v1a) */
  webhookKeys(query?: { "tenant"?: string | number | string[] }, options?: Options): Promise<KeySet>;
  /** GET /audit: List who did what, newest first */
  listAudit(query?: { "tenant"?: string | number | string[]; "action"?: string | number | string[]; "object"?: string | number | string[]; "key_id"?: string | number | string[]; "after"?: string | number | string[]; "before"?: string | number | string[]; "limit"?: string | number | string[]; "cursor"?: string | number | string[] }, options?: Options): Pages<AuditEntry, AuditList>;
  /** GET /budgets: List the tenant's budgets for models, and what is used of them */
  listBudgets(options?: Options): Promise<BudgetList>;
  /** GET /events: Follow the events of all tasks */
  allEvents(query?: { "type"?: string | number | string[]; "agent"?: string | number | string[]; labels?: Record<string, string>; "after"?: string | number | string[] }, options?: Options): AsyncIterableIterator<StreamEvent>;
  /** GET /healthz: Whether the process runs */
  healthz(options?: Options): Promise<any>;
  /** GET /readyz: Whether requests can be taken, check by check */
  readyz(options?: Options): Promise<Readiness>;
  /** GET /stats: Count what waits and runs in the whole mesh */
  getStats(options?: Options): Promise<Stats>;
  /** GET /stats/history: Count what became of tasks in the last minutes, and who called whom */
  getStatsHistory(query?: { "since"?: string | number | string[]; "step"?: string | number | string[]; "agent"?: string | number | string[] }, options?: Options): Promise<StatsHistory>;
  /** GET /version: Read which build answers */
  getVersion(options?: Options): Promise<Version>;
  /** GET /whoami: Read who asks: the tenant and the scopes of these credentials */
  whoAmI(options?: Options): Promise<WhoAmI>;
}

export interface ActionsCalls {
  /** POST /actions: Accept an action: a task whose outcome is POSTed to callback_url */
  create(body?: CreateAction, options?: Options): Promise<Task | AcceptedAction>;
  /** GET /actions/{id}: Read an action */
  get(id: string, query?: { "include"?: string | number | string[] }, options?: Options): Promise<Task>;
  /** POST /actions/{id}/cancel: Cancel an action */
  cancel(id: string, options?: Options): Promise<Task>;
  /** GET /actions/{id}/deliveries: List what was sent of an action, and every attempt */
  deliveries(id: string, options?: Options): Promise<DeliveryList>;
  /** GET /actions/{id}/events: Follow an action */
  events(id: string, query?: { "after"?: string | number | string[] }, options?: Options): AsyncIterableIterator<StreamEvent>;
  /** GET /actions/{id}/input: Read the input as it was sent */
  getInput(id: string, options?: Options): Promise<any>;
  /** POST /actions/{id}/input: Answer a question of an action, or tell it an event that it waits for */
  answer(id: string, body?: AnswerTask, options?: Options): Promise<Task>;
  /** POST /actions/{id}/redeliver: Send an action's callbacks again */
  redeliver(id: string, options?: Options): Promise<Redelivered>;
  /** GET /actions/{id}/result: Read the result itself */
  getResult(id: string, options?: Options): Promise<any>;
  /** POST /actions/{id}/retry: Run a failed or canceled action again, as a new one */
  retry(id: string, body?: RetryTask, options?: Options): Promise<Task | AcceptedAction>;
  /** GET /actions/{id}/steps: Read what the agent of an action has finished and waited for */
  steps(id: string, query?: { "include"?: string | number | string[]; "limit"?: string | number | string[]; "cursor"?: string | number | string[] }, options?: Options): Pages<Step, StepList>;
}

export interface AgentsCalls {
  /** GET /agents: List agents and their live workers */
  list(options?: Options): Promise<AgentList>;
  /** DELETE /agents/{name}: Remove an agent that no live worker serves; tasks that wait for it stay */
  delete(name: string, options?: Options): Promise<RemovedAgent>;
  /** GET /agents/{name}: Read an agent */
  get(name: string, options?: Options): Promise<Agent>;
  /** POST /agents/{name}/pause: Have no worker begin a task of an agent; what runs goes on, what is accepted waits */
  pause(name: string, body?: PauseAgent, options?: Options): Promise<Agent>;
  /** POST /agents/{name}/resume: Have workers take the tasks of an agent again */
  resume(name: string, options?: Options): Promise<Agent>;
}

export interface DeliveriesCalls {
  /** GET /deliveries: List deliveries, newest change first; ?status=dead are those that were given up */
  list(query?: { "status"?: string | number | string[]; "webhook_id"?: string | number | string[]; "type"?: string | number | string[]; "class"?: string | number | string[]; "since"?: string | number | string[]; "limit"?: string | number | string[]; "cursor"?: string | number | string[] }, options?: Options): Pages<Delivery, DeliveryList>;
  /** POST /deliveries/bulk: Deliver again all that a filter finds, or count it */
  bulk(body?: BulkDeliveries, options?: Options): Promise<BulkDone>;
  /** GET /deliveries/{id}: Read a delivery, its payload and every attempt */
  get(id: string, options?: Options): Promise<Delivery>;
  /** POST /deliveries/{id}/redeliver: Deliver again, from now and with the whole schedule */
  redeliver(id: string, options?: Options): Promise<Delivery>;
}

export interface HooksCalls {
  /** GET /hooks: List hooks, oldest first */
  list(options?: Options): Promise<HookList>;
  /** POST /hooks: Have somebody else's webhooks start tasks, speak in sessions or answer waiting tasks */
  create(body?: HookRequest, options?: Options): Promise<Hook>;
  /** DELETE /hooks/{id}: Delete a hook; what it has started goes on */
  delete(id: string, options?: Options): Promise<any>;
  /** GET /hooks/{id}: Read a hook, without its secrets */
  get(id: string, options?: Options): Promise<Hook>;
  /** PATCH /hooks/{id}: Change a hook */
  update(id: string, body?: HookRequest, options?: Options): Promise<Hook>;
  /** POST /hooks/{id}: Take a delivery of somebody else's webhook: signed as the hook says, without an API key */
  receive(id: string, options?: Options): Promise<HookAccepted>;
  /** POST /hooks/{id}/pause: Have a hook take nothing until it is resumed; senders are told to repeat */
  pause(id: string, body?: PauseHook, options?: Options): Promise<Hook>;
  /** GET /hooks/{id}/recent: Read the newest requests to a hook, and what became of them */
  recent(id: string, options?: Options): Promise<HookRecent>;
  /** POST /hooks/{id}/resume: Have a hook go on */
  resume(id: string, options?: Options): Promise<Hook>;
  /** POST /hooks/{id}/rotate-secret: Give a hook a new secret; the one before is believed beside it for a while */
  rotateSecret(id: string, body?: RotateHook, options?: Options): Promise<Hook>;
}

export interface KeysCalls {
  /** GET /keys: List API keys, oldest first; those that have ended are among them for 30 days */
  list(query?: { "tenant"?: string | number | string[] }, options?: Options): Promise<KeyList>;
  /** POST /keys: Make an API key; it is shown this once */
  create(body?: CreateKey, options?: Options): Promise<APIKey>;
  /** DELETE /keys/{id}: End an API key at once, at every gateway within 5 s */
  revoke(id: string, query?: { "force"?: string | number | string[] }, options?: Options): Promise<any>;
  /** GET /keys/{id}: Read an API key, without its secret */
  get(id: string, options?: Options): Promise<APIKey>;
  /** POST /keys/{id}/rotate: Make a key that takes the place of another one, which goes on for a while; it is shown this once */
  rotate(id: string, body?: RotateKey, options?: Options): Promise<APIKey>;
}

export interface ProblemsCalls {
  /** GET /problems: List the problem codes */
  list(options?: Options): Promise<ProblemList>;
  /** GET /problems/{code}: Read what a problem code means */
  get(code: string, options?: Options): Promise<ProblemPage>;
}

export interface SchedulesCalls {
  /** GET /schedules: List schedules, oldest first */
  list(options?: Options): Promise<ScheduleList>;
  /** POST /schedules: Start a task, or say something in a session, again and again */
  create(body?: ScheduleRequest, options?: Options): Promise<Schedule>;
  /** POST /schedules/preview: Read when a schedule would be due, without keeping it */
  preview(body?: PreviewSchedule, options?: Options): Promise<SchedulePreview>;
  /** DELETE /schedules/{id}: Delete a schedule; what it has started goes on */
  delete(id: string, options?: Options): Promise<any>;
  /** GET /schedules/{id}: Read a schedule, by its id or name */
  get(id: string, options?: Options): Promise<Schedule>;
  /** PATCH /schedules/{id}: Change a schedule */
  update(id: string, body?: ScheduleRequest, options?: Options): Promise<Schedule>;
  /** PUT /schedules/{id}: Make the schedule of a name what the body says */
  put(id: string, body?: ScheduleRequest, options?: Options): Promise<Schedule>;
  /** POST /schedules/{id}/backfill: Run the times of a span that has passed */
  backfill(id: string, body?: BackfillSchedule, options?: Options): Promise<ScheduleTimes>;
  /** POST /schedules/{id}/pause: Have a schedule start nothing until it is resumed */
  pause(id: string, body?: PauseSchedule, options?: Options): Promise<Schedule>;
  /** POST /schedules/{id}/resume: Have a schedule go on from now */
  resume(id: string, options?: Options): Promise<Schedule>;
  /** GET /schedules/{id}/runs: Read what became of the newest due times */
  runs(id: string, options?: Options): Promise<ScheduleRuns>;
  /** POST /schedules/{id}/trigger: Start a run now, by the overlap policy */
  trigger(id: string, options?: Options): Promise<ScheduleRun>;
}

export interface SessionsCalls {
  /** GET /sessions: List sessions, newest change first */
  list(query?: { "agent"?: string | number | string[]; "limit"?: string | number | string[]; "cursor"?: string | number | string[] }, options?: Options): Pages<Session, SessionList>;
  /** POST /sessions: Begin a conversation with an agent */
  create(body?: CreateSession, options?: Options): Promise<SessionCreated>;
  /** DELETE /sessions/{id}: Delete a session; its open turn and those that wait are canceled */
  delete(id: string, options?: Options): Promise<any>;
  /** GET /sessions/{id}: Read a session */
  get(id: string, query?: { "include"?: string | number | string[] }, options?: Options): Promise<Session>;
  /** GET /sessions/{id}/events: Follow a session: status, progress, milestone and output of its turns, and each reply */
  events(id: string, query?: { "after"?: string | number | string[] }, options?: Options): AsyncIterableIterator<StreamEvent>;
  /** POST /sessions/{id}/fork: Begin a session with what was said in another one, up to a message */
  fork(id: string, body?: ForkSession, options?: Options): Promise<SessionForked>;
  /** GET /sessions/{id}/messages: Read the transcript */
  getMessages(id: string, query?: { "after"?: string | number | string[]; "limit"?: string | number | string[] }, options?: Options): Pages<Message, Transcript>;
  /** POST /sessions/{id}/messages: Say something, and get the reply */
  postMessage(id: string, body?: PostMessage, options?: Options): Promise<TurnReply | AcceptedTurn>;
  /** GET /sessions/{id}/turns/{turn_id}: Read a turn */
  getTurn(id: string, turn_id: string, options?: Options): Promise<Turn>;
  /** POST /sessions/{id}/turns/{turn_id}/cancel: Cancel a turn; its message stays in the transcript, marked as interrupted */
  cancelTurn(id: string, turn_id: string, options?: Options): Promise<Turn>;
}

export interface TasksCalls {
  /** GET /tasks: List tasks */
  list(query?: { "status"?: string | number | string[]; "agent"?: string | number | string[]; "parent_id"?: string | number | string[]; "session_id"?: string | number | string[]; "kind"?: string | number | string[]; "worker"?: string | number | string[]; "error"?: string | number | string[]; "created_after"?: string | number | string[]; "created_before"?: string | number | string[]; labels?: Record<string, string>; "order"?: string | number | string[]; "limit"?: string | number | string[]; "cursor"?: string | number | string[] }, options?: Options): Pages<Task, TaskList>;
  /** POST /tasks: Accept a task */
  create(body?: CreateTask, options?: Options): Promise<Task | Accepted>;
  /** POST /tasks/bulk: Cancel or retry all tasks that a filter finds, or count them */
  bulk(body?: BulkTasks, options?: Options): Promise<BulkDone>;
  /** DELETE /tasks/{id}: Delete a task that has ended, its result and its steps */
  delete(id: string, options?: Options): Promise<any>;
  /** GET /tasks/{id}: Read a task */
  get(id: string, query?: { "include"?: string | number | string[] }, options?: Options): Promise<Task>;
  /** POST /tasks/{id}/cancel: Cancel a task */
  cancel(id: string, options?: Options): Promise<Task>;
  /** GET /tasks/{id}/deliveries: List what was sent of a task, and every attempt */
  deliveries(id: string, options?: Options): Promise<DeliveryList>;
  /** GET /tasks/{id}/events: Follow a task */
  events(id: string, query?: { "after"?: string | number | string[] }, options?: Options): AsyncIterableIterator<StreamEvent>;
  /** GET /tasks/{id}/input: Read the input as it was sent */
  getInput(id: string, options?: Options): Promise<any>;
  /** POST /tasks/{id}/input: Answer a question of a task, or tell it an event that it waits for */
  answer(id: string, body?: AnswerTask, options?: Options): Promise<Task>;
  /** GET /tasks/{id}/result: Read the result itself */
  getResult(id: string, options?: Options): Promise<any>;
  /** POST /tasks/{id}/retry: Run a failed or canceled task again, as a new one */
  retry(id: string, body?: RetryTask, options?: Options): Promise<Task | Accepted>;
  /** GET /tasks/{id}/steps: Read what the agent of a task has finished and waited for */
  steps(id: string, query?: { "include"?: string | number | string[]; "limit"?: string | number | string[]; "cursor"?: string | number | string[] }, options?: Options): Pages<Step, StepList>;
  /** POST /tasks/{id}/steps: Keep a step of an agent that runs, by the lease of its attempt */
  tellStep(id: string, body?: Line, options?: Options): Promise<LineKept>;
  /** GET /tasks/{id}/steps/value: Read the value of a step itself */
  stepValue(id: string, query?: { "kind"?: string | number | string[]; "name"?: string | number | string[]; "n"?: string | number | string[] }, options?: Options): Promise<any>;
}

export interface TenantsCalls {
  /** GET /tenants: List the tenants that have limits of their own */
  list(options?: Options): Promise<TenantList>;
  /** DELETE /tenants/{name}: Take a tenant's own limits away; what it has stays */
  delete(name: string, options?: Options): Promise<any>;
  /** GET /tenants/{name}: Read a tenant's limits */
  get(name: string, options?: Options): Promise<Tenant>;
  /** PUT /tenants/{name}: Give a tenant limits of its own, in place of those that it has */
  set(name: string, body?: TenantRequest, options?: Options): Promise<Tenant>;
}

export interface WebhooksCalls {
  /** GET /webhooks: List webhooks */
  list(options?: Options): Promise<WebhookList>;
  /** POST /webhooks: Subscribe to events; the secret is shown this once */
  create(body?: WebhookRequest, options?: Options): Promise<Webhook>;
  /** DELETE /webhooks/{id}: Delete a webhook; what is on its way to it is canceled */
  delete(id: string, options?: Options): Promise<any>;
  /** GET /webhooks/{id}: Read a webhook */
  get(id: string, options?: Options): Promise<Webhook>;
  /** PATCH /webhooks/{id}: Change a webhook, enable or disable it */
  update(id: string, body?: WebhookRequest, options?: Options): Promise<Webhook>;
  /** POST /webhooks/{id}/redeliver: Send a webhook again what it missed */
  redeliver(id: string, body?: RedeliverRequest, options?: Options): Promise<Redelivered>;
  /** POST /webhooks/{id}/rotate-secret: Give a webhook a new key; the old ones sign beside it for a while */
  rotateSecret(id: string, body?: RotateRequest, options?: Options): Promise<Webhook>;
  /** POST /webhooks/{id}/test: Send a test event, once, and answer with what became of it */
  test(id: string, options?: Options): Promise<Delivery>;
  /** POST /webhooks/{id}/verify: Check whether one of a webhook's keys has signed a request */
  verifySignature(id: string, body?: VerifyRequest, options?: Options): Promise<Verdict>;
}

/** The nouns that have no more than their operations. */
export interface Nouns {
  readonly agents: AgentsCalls;
  readonly deliveries: DeliveriesCalls;
  readonly hooks: HooksCalls;
  readonly keys: KeysCalls;
  readonly problems: ProblemsCalls;
  readonly schedules: SchedulesCalls;
  readonly tenants: TenantsCalls;
  readonly webhooks: WebhooksCalls;
}
