"""Written by make golden from the gateway's own document. Do not edit it."""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Optional, TypedDict


class _APIKey(TypedDict):
    created_at: str
    key_id: str
    name: str
    scopes: Optional[List[str]]
    status: Literal['live', 'expired', 'revoked']
    tenant: str


class APIKey(_APIKey, total=False):
    created_by: str
    expires_at: str
    key: str
    last_used_at: str
    revoked_at: str
    rotated_to: str


class _Accepted(TypedDict):
    agent: str
    created_at: str
    status: Literal['pending']
    status_url: str
    task_id: str


class Accepted(_Accepted, total=False):
    retried_from: str
    trace_id: str
    trace_url: str
    warning: str


class _AcceptedAction(TypedDict):
    action_id: str
    agent: str
    created_at: str
    message: str
    status: Literal['initiated']
    status_url: str


class AcceptedAction(_AcceptedAction, total=False):
    retried_from: str
    trace_id: str
    trace_url: str
    warning: str


class _AcceptedTurn(TypedDict):
    agent: str
    created_at: str
    session_id: str
    status: Literal['pending']
    status_url: str
    turn_id: str


class AcceptedTurn(_AcceptedTurn, total=False):
    trace_id: str
    warning: str


class _Agent(TypedDict):
    concurrency: int
    live_workers: int
    max_attempts: int
    max_in_flight: int
    name: str
    timeout: str
    workers: Optional[List[AgentWorker]]


class Agent(_Agent, total=False):
    conflict: bool
    default: bool
    description: str
    greeting: str
    input_schema: Any
    output_schema: Any
    paused: bool
    paused_until: str
    version: str


class AgentList(TypedDict):
    agents: Optional[List[Agent]]


class _AgentStats(TypedDict):
    bulk: int
    in_flight: int
    limit: int
    live_workers: int
    name: str
    oldest_age_seconds: float
    slots: int
    waiting: int


class AgentStats(_AgentStats, total=False):
    paused: bool


class _AgentWorker(TypedDict):
    busy: int
    slots: int
    started_at: str
    worker_id: str


class AgentWorker(_AgentWorker, total=False):
    away: str
    version: str


class _AnswerTask(TypedDict):
    value: Any


class AnswerTask(_AnswerTask, total=False):
    name: str


class _Attempt(TypedDict):
    attempt: int
    outcome: Literal['completed', 'failed', 'canceled', 'retried', 'lost', 'handed_back', 'suspended', 'running']


class Attempt(_Attempt, total=False):
    ended_at: str
    error: Error
    started_at: str
    worker_id: str


class _AuditEntry(TypedDict):
    action: str
    at: str
    outcome: Literal['done', 'unknown']
    tenant: str


class AuditEntry(_AuditEntry, total=False):
    address: str
    key_id: str
    object: str
    subject: str
    trace_id: str


class AuditList(TypedDict):
    entries: Optional[List[AuditEntry]]
    next_cursor: str
    scanned: int


BackfillSchedule = TypedDict("BackfillSchedule", {"from": "str", "overlap": "Literal['skip', 'queue', 'queue_all', 'cancel_running', 'allow']", "to": "str"}, total=False)


class _Budget(TypedDict):
    agents: Optional[List[str]]
    by_agent: Optional[List[SpentName]]
    by_model: Optional[List[SpentName]]
    end: str
    exhausted: bool
    held: Spent
    period: Literal['hour', 'day', 'month']
    spent: Spent
    start: str


class Budget(_Budget, total=False):
    cost: float
    tokens: int


class BudgetList(TypedDict):
    budgets: Optional[List[Budget]]


class _BulkDeliveries(TypedDict):
    action: Literal['redeliver']
    filter: DeliveryFilter


class BulkDeliveries(_BulkDeliveries, total=False):
    cursor: str
    dry_run: bool
    limit: int


class _BulkDone(TypedDict):
    action: str
    done: int
    failed: Optional[List[BulkFailure]]
    matched: int
    next_cursor: str
    skipped: int


class BulkDone(_BulkDone, total=False):
    dry_run: bool


class _BulkFailure(TypedDict):
    code: str
    count: int
    example: str


class BulkFailure(_BulkFailure, total=False):
    detail: str


class _BulkTasks(TypedDict):
    action: Literal['cancel', 'retry']
    filter: TaskFilter


class BulkTasks(_BulkTasks, total=False):
    cursor: str
    dry_run: bool
    limit: int


class _Check(TypedDict):
    ok: bool


class Check(_Check, total=False):
    detail: str


class _CreateAction(TypedDict):
    callback_url: str


class CreateAction(_CreateAction, total=False):
    agent: str
    callback_events: Optional[List[str]]
    callback_secret_ref: str
    deadline: str
    delay: str
    input: Any
    instruction: str
    labels: Dict[str, str]
    max_attempts: int
    metadata: Any
    run_at: str
    timeout: str


class _CreateKey(TypedDict):
    scopes: Optional[List[str]]


class CreateKey(_CreateKey, total=False):
    expires_at: str
    name: str
    tenant: str


class CreateSession(TypedDict, total=False):
    agent: str


class CreateTask(TypedDict, total=False):
    agent: str
    callback_events: Optional[List[str]]
    callback_secret_ref: str
    callback_url: str
    deadline: str
    delay: str
    input: Any
    instruction: str
    labels: Dict[str, str]
    max_attempts: int
    metadata: Any
    run_at: str
    timeout: str


class _Delivery(TypedDict):
    attempts: Optional[List[DeliveryAttempt]]
    created_at: str
    delivery_id: str
    event_id: str
    status: Literal['pending', 'retrying', 'delivered', 'dead', 'parked', 'canceled']
    type: str


class Delivery(_Delivery, total=False):
    action_id: str
    agent: str
    next_attempt_at: str
    payload: Any
    push_id: str
    schedule_id: str
    task_id: str
    trace_id: str
    updated_at: str
    url: str
    webhook_id: str


DeliveryAttempt = TypedDict("DeliveryAttempt", {"answer": "str", "at": "str", "class": "str", "duration_ms": "float", "error": "str", "location": "str", "next_attempt_at": "str", "status_code": "int", "url": "str"}, total=False)


DeliveryFilter = TypedDict("DeliveryFilter", {"class": "str", "since": "str", "status": "Optional[List[str]]", "type": "str", "webhook_id": "str"}, total=False)


class DeliveryList(TypedDict):
    deliveries: Optional[List[Delivery]]
    next_cursor: str
    scanned: int


class DeliveryStats(TypedDict):
    due: int
    fanout_lag: int
    oldest_age_seconds: float
    scheduled: int


class EffectiveLimits(TypedDict):
    burst: int
    pending: int
    pending_per_agent: int
    rate: float
    sessions: int
    streams: int
    waits: int
    webhooks: int


class Error(TypedDict):
    attempt: int
    code: str
    message: str
    retryable: bool


class Event(TypedDict):
    data: Any
    id: int
    type: Literal['status', 'progress', 'milestone', 'output', 'step']


class EventList(TypedDict):
    events: Optional[List[Event]]


class ForkSession(TypedDict, total=False):
    after: int
    state: Any


class _HistoryAgent(TypedDict):
    accepted: int
    canceled: int
    completed: int
    failed: int
    name: str


class HistoryAgent(_HistoryAgent, total=False):
    run_p50_ms: float
    run_p95_ms: float


class HistoryCalls(TypedDict):
    callee: str
    caller: str
    calls: int
    failed: int


class HistoryGauge(TypedDict):
    in_flight: int
    oldest_age_seconds: float
    waiting: int


class _HistoryPoint(TypedDict):
    accepted: int
    at: str
    canceled: int
    completed: int
    failed: int
    queued: int


class HistoryPoint(_HistoryPoint, total=False):
    now: HistoryGauge
    run_p50_ms: float
    run_p95_ms: float


class _Hook(TypedDict):
    accept: Optional[List[HookRule]]
    created_at: str
    hook_id: str
    keys: Optional[List[HookKey]]
    max_body: int
    paused: bool
    updated_at: str
    url: str
    verify: HookVerify


class Hook(_Hook, total=False):
    keep_bodies: bool
    name: str
    note: str
    session: HookSession
    signal: HookSignal
    task: HookTask


class HookAccepted(TypedDict, total=False):
    status_url: str
    task_id: str


class HookCounts(TypedDict):
    accepted: int
    body_differs: int
    challenge: int
    ignored: int
    refused: int
    rejected: int
    repeated: int


HookInput = TypedDict("HookInput", {"from": "str", "headers": "Optional[List[str]]", "merge": "Any"}, total=False)


class _HookKey(TypedDict):
    created_at: str


class HookKey(_HookKey, total=False):
    expires_at: str


class HookList(TypedDict):
    hooks: Optional[List[Hook]]


class _HookReceipt(TypedDict):
    at: str
    outcome: Literal['accepted', 'repeated', 'challenge', 'ignored', 'rejected', 'refused']
    size: int


class HookReceipt(_HookReceipt, total=False):
    body: str
    body_differs: bool
    cause: str
    delivery_id: str
    status_url: str
    task_id: str


class HookRecent(TypedDict):
    counts: HookCounts
    deliveries: Optional[List[HookReceipt]]


class HookRequest(TypedDict, total=False):
    accept: List[HookRule]
    keep_bodies: bool
    max_body: int
    name: str
    session: HookSession
    signal: HookSignal
    task: HookTask
    verify: HookVerify


HookRule = TypedDict("HookRule", {"header": "str", "in": "Optional[List[str]]", "json": "str"}, total=False)


class _HookSession(TypedDict):
    key: str
    text: str


class HookSession(_HookSession, total=False):
    agent: str


class HookSignal(TypedDict):
    name: str
    task: str


class HookTask(TypedDict, total=False):
    agent: str
    callback_events: Optional[List[str]]
    callback_secret_ref: str
    callback_url: str
    input: HookInput
    instruction: str
    labels: Dict[str, str]
    max_attempts: int
    metadata: Any
    timeout: str


class _HookVerify(TypedDict):
    style: Literal['standard', 'github', 'stripe', 'slack', 'hmac', 'token']


class HookVerify(_HookVerify, total=False):
    algorithm: Literal['sha256', 'sha512']
    content: str
    encoding: Literal['hex', 'base64']
    header: str
    id: str
    key: Literal['text', 'base64']
    prefix: str
    secrets: Optional[List[str]]
    timestamp: str
    username: str


class _Index(TypedDict):
    docs: str
    name: str
    openapi: str
    problems: str
    routes: Optional[List[IndexRoute]]
    version: str


class Index(_Index, total=False):
    console: str


class IndexRoute(TypedDict):
    method: str
    path: str
    scope: str
    summary: str


class Invalid(TypedDict):
    detail: str
    pointer: str


class Jwk(TypedDict):
    alg: str
    crv: str
    kid: str
    kty: str
    use: str
    x: str


class _Key(TypedDict):
    created_at: str
    key_id: str
    scheme: str


class Key(_Key, total=False):
    expires_at: str
    public_key: str


class KeyList(TypedDict):
    keys: Optional[List[APIKey]]


class KeySet(TypedDict):
    keys: Optional[List[Jwk]]


Line = TypedDict("Line", {"ack": "bool", "error": "Any", "for": "Any", "key": "Any", "n": "int", "name": "str", "prompt": "str", "schema": "Any", "timeout": "Any", "type": "Literal['step', 'started', 'checkpoint', 'sleep', 'ask', 'wait']", "until": "str", "value": "Any"}, total=False)


class _LineKept(TypedDict):
    type: Literal['ok']


class LineKept(_LineKept, total=False):
    n: int
    name: str


class _Message(TypedDict):
    at: str
    role: Literal['user', 'agent']
    text: str


class Message(_Message, total=False):
    interrupted: bool
    turn_id: str


class _Milestone(TypedDict):
    at: str
    attempt: int
    n: int
    name: str


class Milestone(_Milestone, total=False):
    data: Any
    message: str
    task_id: str


PauseAgent = TypedDict("PauseAgent", {"for": "str"}, total=False)


class PauseHook(TypedDict, total=False):
    note: str


class PauseSchedule(TypedDict, total=False):
    note: str


class PostMessage(TypedDict, total=False):
    agent: str
    answer: Any
    message: str
    on_busy: Literal['reject', 'wait', 'interrupt']
    text: str


PreviewSchedule = TypedDict("PreviewSchedule", {"anchor": "str", "count": "int", "cron": "Optional[List[str]]", "end_at": "str", "every": "str", "exclude": "Optional[List[str]]", "from": "str", "start_at": "str", "timezone": "str"}, total=False)


class _PreviewTime(TypedDict):
    at: str


class PreviewTime(_PreviewTime, total=False):
    note: str


class _Problem(TypedDict):
    code: str
    retryable: bool
    status: int
    title: str
    type: str


class Problem(_Problem, total=False):
    detail: str
    errors: Optional[List[Invalid]]
    instance: str
    trace_id: str


class ProblemList(TypedDict):
    problems: Optional[List[ProblemPage]]


class _ProblemPage(TypedDict):
    code: str
    retryable: bool
    title: str


class ProblemPage(_ProblemPage, total=False):
    fault: Literal['agent', 'client', 'mesh']
    status: int


class _Question(TypedDict):
    name: str


class Question(_Question, total=False):
    asked_at: str
    prompt: str
    schema: Any
    until: str


class _Readiness(TypedDict):
    checks: Dict[str, Check]
    ready: bool


class Readiness(_Readiness, total=False):
    durability: str


class RedeliverRequest(TypedDict, total=False):
    cursor: str
    since: str
    statuses: Optional[List[str]]


class _Redelivered(TypedDict):
    redelivered: int


class Redelivered(_Redelivered, total=False):
    deliveries: Optional[List[Delivery]]
    more: bool
    next_cursor: str


class RemovedAgent(TypedDict):
    name: str
    waiting: int
    warning: str


RetryTask = TypedDict("RetryTask", {"from": "str"}, total=False)


class _RotateHook(TypedDict):
    secret: str


class RotateHook(_RotateHook, total=False):
    overlap: str


class RotateKey(TypedDict, total=False):
    overlap: str


class RotateRequest(TypedDict, total=False):
    overlap: str
    scheme: Literal['v1', 'v1a']
    secret: str


class _Schedule(TypedDict):
    catch_up: ScheduleCatchUp
    counts: ScheduleCounts
    created_at: str
    next_at: Optional[List[str]]
    overlap: Literal['skip', 'queue', 'queue_all', 'cancel_running', 'allow']
    paused: bool
    schedule_id: str
    timezone: str
    updated_at: str


class Schedule(_Schedule, total=False):
    anchor: str
    cron: Optional[List[str]]
    end_at: str
    every: str
    exclude: Optional[List[str]]
    jitter: str
    max_runs: int
    message: ScheduleMessage
    name: str
    note: str
    pause_after_failures: int
    start_at: str
    task: ScheduleTask
    waiting: int


class ScheduleCatchUp(TypedDict, total=False):
    max: int
    policy: Literal['one', 'all', 'none']
    window: str


class ScheduleCounts(TypedDict):
    failed: int
    fired: int
    missed: int
    skipped: int


class ScheduleList(TypedDict):
    schedules: Optional[List[Schedule]]


class ScheduleMessage(TypedDict):
    session_id: str
    text: str


class SchedulePreview(TypedDict):
    next_at: Optional[List[str]]
    runs: Optional[List[PreviewTime]]


class ScheduleRequest(TypedDict, total=False):
    anchor: str
    callback_url: str
    catch_up: ScheduleCatchUp
    cron: List[str]
    end_at: str
    every: str
    exclude: List[str]
    jitter: str
    labels: Dict[str, str]
    max_runs: int
    message: ScheduleMessage
    name: str
    overlap: Literal['skip', 'queue', 'queue_all', 'cancel_running', 'allow']
    pause_after_failures: int
    start_at: str
    task: ScheduleTask
    timezone: str


class _ScheduleRun(TypedDict):
    decided_at: str
    outcome: Literal['fired', 'waiting', 'skipped', 'missed', 'refused']
    scheduled_at: str


class ScheduleRun(_ScheduleRun, total=False):
    reason: str
    status: str
    status_url: str
    task_id: str


class ScheduleRuns(TypedDict):
    runs: Optional[List[ScheduleRun]]


class ScheduleTask(TypedDict, total=False):
    agent: str
    callback_events: Optional[List[str]]
    callback_secret_ref: str
    callback_url: str
    input: Any
    instruction: str
    labels: Dict[str, str]
    max_attempts: int
    metadata: Any
    timeout: str


class ScheduleTimes(TypedDict):
    times: Optional[List[str]]


class _Session(TypedDict):
    agent: str
    busy: bool
    created_at: str
    expires_at: str
    messages: int
    session_id: str
    turns: int
    updated_at: str


class Session(_Session, total=False):
    open_turn: str
    state: Any
    waiting: Optional[List[str]]


class SessionCreated(TypedDict):
    agent: str
    created_at: str
    expires_at: str
    message: str
    session_id: str


class SessionForked(TypedDict):
    agent: str
    created_at: str
    expires_at: str
    forked_from: str
    has_state: bool
    messages: int
    session_id: str


class SessionList(TypedDict):
    next_cursor: str
    scanned: int
    sessions: Optional[List[Session]]


class Spent(TypedDict):
    cost: float
    tokens: int


class SpentName(TypedDict):
    cost: float
    name: str
    tokens: int


class _Stats(TypedDict):
    agents: Optional[List[AgentStats]]
    at: str
    deliveries: DeliveryStats
    input_required: int
    scheduled: int
    sessions: int
    storage: StorageStats
    workers: Optional[List[WorkerStats]]


class Stats(_Stats, total=False):
    missing_consumers: Optional[List[str]]


StatsHistory = TypedDict("StatsHistory", {"agents": "Optional[List[HistoryAgent]]", "calls": "Optional[List[HistoryCalls]]", "filling": "bool", "from": "str", "points": "Optional[List[HistoryPoint]]", "step_seconds": "float", "to": "str", "whole_from": "str"}, total=False)


class _Step(TypedDict):
    at: str
    kind: Literal['step', 'started', 'sleep', 'wait', 'answer', 'checkpoint']
    n: int


class Step(_Step, total=False):
    attempt: int
    bytes: int
    error: Error
    head: str
    key: str
    ms: int
    name: str
    sealed: bool
    value: Any
    value_url: str
    version: str


class StepList(TypedDict):
    next_cursor: str
    steps: Optional[List[Step]]


class _StorageStats(TypedDict):
    used_bytes: int


class StorageStats(_StorageStats, total=False):
    limit_bytes: int


class _Task(TypedDict):
    attempt: int
    done: bool
    status: Literal['pending', 'initiated', 'processing', 'input_required', 'completed', 'failed', 'canceled']
    task_id: str


class Task(_Task, total=False):
    action_id: str
    agent: str
    at: str
    attempts: Optional[List[Attempt]]
    callback_events: Optional[List[str]]
    callback_url: str
    children: Optional[List[str]]
    created_at: str
    deadline: str
    error: TaskError
    finished_at: str
    hook_id: str
    input: Any
    input_url: str
    kind: str
    labels: Dict[str, str]
    max_attempts: int
    message: str
    metadata: Any
    milestones: Optional[List[Milestone]]
    not_before: str
    parent_id: str
    progress: str
    progress_percent: int
    question: Question
    questions: Optional[List[Question]]
    result: Any
    result_url: str
    retried_from: str
    schedule_id: str
    scheduled_at: str
    session_id: str
    started_at: str
    status_url: str
    stopped_at: str
    stopped_by: str
    trace_id: str
    trace_url: str
    turn_id: str
    updated_at: str
    usage: Usage
    usage_total: Usage
    waiting: Waiting
    warnings: Optional[List[str]]


class _TaskError(TypedDict):
    attempt: int
    code: str
    message: str
    retryable: bool


class TaskError(_TaskError, total=False):
    detail: str


class TaskFilter(TypedDict, total=False):
    agent: str
    created_after: str
    created_before: str
    error: str
    kind: Literal['task', 'action', 'turn']
    labels: Dict[str, str]
    parent_id: str
    session_id: str
    status: Optional[List[str]]
    worker: str


class TaskList(TypedDict):
    next_cursor: str
    scanned: int
    tasks: Optional[List[Task]]


class Tenant(TypedDict):
    created_at: str
    effective: EffectiveLimits
    limits: TenantLimits
    name: str
    updated_at: str


class TenantLimits(TypedDict, total=False):
    burst: int
    pending: int
    pending_per_agent: int
    rate: float
    sessions: int
    streams: int
    waits: int
    webhooks: int


class TenantList(TypedDict):
    tenants: Optional[List[Tenant]]


class TenantRequest(TypedDict, total=False):
    limits: TenantLimits


class _Transcript(TypedDict):
    first: int
    messages: Optional[List[Message]]
    session_id: str


class Transcript(_Transcript, total=False):
    next_after: int


class _Turn(TypedDict):
    attempt: int
    done: bool
    status: Literal['pending', 'initiated', 'processing', 'input_required', 'completed', 'failed', 'canceled']
    task_id: str
    text: str


class Turn(_Turn, total=False):
    action_id: str
    agent: str
    at: str
    attempts: Optional[List[Attempt]]
    awaiting: str
    callback_events: Optional[List[str]]
    callback_url: str
    children: Optional[List[str]]
    continues: str
    created_at: str
    deadline: str
    error: TaskError
    finished_at: str
    hook_id: str
    input: Any
    input_url: str
    kind: str
    labels: Dict[str, str]
    max_attempts: int
    message: str
    metadata: Any
    milestones: Optional[List[Milestone]]
    not_before: str
    parent_id: str
    progress: str
    progress_percent: int
    question: Question
    questions: Optional[List[Question]]
    result: Any
    result_url: str
    retried_from: str
    schedule_id: str
    scheduled_at: str
    session_id: str
    started_at: str
    status_url: str
    stopped_at: str
    stopped_by: str
    trace_id: str
    trace_url: str
    turn_id: str
    updated_at: str
    usage: Usage
    usage_total: Usage
    waiting: Waiting
    warnings: Optional[List[str]]


class _TurnReply(TypedDict):
    message: Optional[str]
    session_id: str
    status: Literal['completed', 'failed', 'canceled']
    turn_id: str


class TurnReply(_TurnReply, total=False):
    awaiting: str
    error: Error
    trace_id: str


class _Usage(TypedDict):
    input_tokens: int
    model_calls: int
    output_tokens: int
    tool_calls: int


class Usage(_Usage, total=False):
    cached_input_tokens: int
    cost: float
    currency: str
    estimated: bool
    reasoning_tokens: int


class _Verdict(TypedDict):
    detail: str
    valid: bool


class Verdict(_Verdict, total=False):
    key_id: str
    reason: Literal['headers_missing', 'headers_malformed', 'no_signature_matches', 'timestamp_too_far']
    scheme: str
    sent_at: str


class VerifyRequest(TypedDict):
    body: str
    headers: Dict[str, str]


class _Version(TypedDict):
    commit: str
    go: str
    version: str


class Version(_Version, total=False):
    nats: str


class _Waiting(TypedDict):
    reason: Literal['session', 'scheduled', 'retrying', 'sleeping', 'waiting_for_event', 'waiting_for_child', 'no_live_worker', 'mesh_limit', 'queued', 'starting']


class Waiting(_Waiting, total=False):
    limit: int
    live_workers: int
    next_attempt_at: str
    position: int


class _Webhook(TypedDict):
    agents: Optional[List[str]]
    created_at: str
    enabled: bool
    events: Optional[List[str]]
    keys: Optional[List[Key]]
    updated_at: str
    url: str
    webhook_id: str


class Webhook(_Webhook, total=False):
    ca: str
    client_certificate: str
    description: str
    disabled_at: str
    disabled_reason: str
    headers: Optional[List[str]]
    secret: str
    unreadable: str


class WebhookList(TypedDict):
    webhooks: Optional[List[Webhook]]


class WebhookRequest(TypedDict, total=False):
    agents: List[str]
    ca: str
    client_certificate: str
    client_key: str
    description: str
    enabled: bool
    events: List[str]
    headers: Dict[str, str]
    scheme: Literal['v1', 'v1a']
    secret: str
    url: str


class _WhoAmI(TypedDict):
    auth: str
    scopes: Optional[List[str]]
    tenant: str


class WhoAmI(_WhoAmI, total=False):
    key_id: str
    subject: str


class _WorkerStats(TypedDict):
    agents: Optional[List[str]]
    busy: int
    slots: int
    started_at: str
    worker_id: str


class WorkerStats(_WorkerStats, total=False):
    host: str
    seen_at: str
