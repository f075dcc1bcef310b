package store

import "agentmesh/shared/task"

// The members of a task's record, in their order.

func taskMembers(f *form, t *task.Task) {
	text(f, "task_id", &t.ID, always)
	text(f, "tenant", &t.Tenant, always)
	text(f, "kind", &t.Kind, always)
	text(f, "agent", &t.Agent, always)
	text(f, "status", &t.Status, always)
	text(f, "instruction", &t.Instruction, ifAny)
	part(f, "input", &t.Input, !t.Input.IsZero(), valueMembers)
	rare(f, "labels", &t.Labels, len(t.Labels) > 0)
	raw(f, "metadata", &t.Metadata)
	number(f, "attempt", &t.Attempt, ifAny)
	number(f, "max_attempts", &t.MaxAttempts, ifAny)
	rare(f, "timeout", &t.Timeout, !t.Timeout.IsZero())
	moment(f, "created_at", &t.CreatedAt, always)
	moment(f, "updated_at", &t.UpdatedAt, ifAny)
	moment(f, "started_at", &t.StartedAt, ifAny)
	moment(f, "finished_at", &t.FinishedAt, ifAny)
	moment(f, "stopped_at", &t.StoppedAt, ifAny)
	moment(f, "not_before", &t.NotBefore, ifAny)
	moment(f, "deadline", &t.Deadline, ifAny)
	known(f, "progress_percent", &t.Percent)
	text(f, "message", &t.Message, ifAny)
	pointer(f, "reported", &t.Reported, reportMembers)
	list(f, "milestones", &t.Milestones, milestoneMembers)
	text(f, "output", &t.Output, ifAny)
	number(f, "output_bytes", &t.OutputBytes, ifAny)
	part(f, "result", &t.Result, !t.Result.IsZero(), valueMembers)
	pointer(f, "error", &t.Error, errorMembers)
	text(f, "error_detail", &t.ErrorDetail, ifAny)
	rare(f, "warnings", &t.Warnings, len(t.Warnings) > 0)
	pointer(f, "lease", &t.Lease, leaseMembers)
	list(f, "transitions", &t.Transitions, transitionMembers)
	number(f, "replaces", &t.Replaces, ifAny)
	text(f, "traceparent", &t.TraceParent, ifAny)
	text(f, "tracestate", &t.TraceState, ifAny)
	text(f, "retried_from", &t.RetriedFrom, ifAny)
	text(f, "parent_id", &t.ParentID, ifAny)
	text(f, "session_id", &t.SessionID, ifAny)
	text(f, "schedule_id", &t.ScheduleID, ifAny)
	moment(f, "scheduled_at", &t.ScheduledAt, ifAny)
	text(f, "hook_id", &t.HookID, ifAny)
	text(f, "hook_body", &t.HookBody, ifAny)
	flag(f, "waited", &t.Waited, ifAny)
	flag(f, "is_answer", &t.IsAnswer, ifAny)
	text(f, "continues", &t.Continues, ifAny)
	flag(f, "has_children", &t.HasChildren, ifAny)
	rare(f, "callers", &t.Callers, len(t.Callers) > 0)
	number(f, "event_depth", &t.EventDepth, ifAny)
	rare(f, "waits", &t.Waits, len(t.Waits) > 0)
	rare(f, "answers", &t.Answers, len(t.Answers) > 0)
	rare(f, "exchanges", &t.Exchanges, len(t.Exchanges) > 0)
	flag(f, "suspended", &t.Suspended, ifAny)
	number(f, "run", &t.Run, ifAny)
	rare(f, "steps", &t.Steps, t.Steps != nil)
	rare(f, "step", &t.Step, t.Step != nil)
	rare(f, "usage", &t.Usage, t.Usage != nil)
	rare(f, "usage_total", &t.UsageTotal, t.UsageTotal != nil)
	text(f, "stopped_by", &t.StoppedBy, ifAny)
	rare(f, "within", &t.Within, t.Within != task.Within{})
	number(f, "output_rewinds", &t.OutputRewinds, ifAny)
	number(f, "output_from", &t.OutputFrom, ifAny)
	rare(f, "callback", &t.Callback, t.Callback != nil)
}

func valueMembers(f *form, v *task.Value) {
	raw(f, "inline", &v.Inline)
	text(f, "object", &v.Object, ifAny)
	number(f, "size", &v.Size, ifAny)
}

func milestoneMembers(f *form, m *task.Milestone) {
	number(f, "n", &m.N, always)
	text(f, "name", &m.Name, always)
	text(f, "message", &m.Message, ifAny)
	raw(f, "data", &m.Data)
	moment(f, "at", &m.At, always)
	number(f, "attempt", &m.Attempt, always)
	number(f, "after", &m.After, always)
	number(f, "rev", &m.Rev, ifAny)
	number(f, "output", &m.Output, ifAny)
}

func reportMembers(f *form, r *task.Report) {
	number(f, "after", &r.After, always)
	number(f, "rev", &r.Rev, ifAny)
	number(f, "output", &r.Output, ifAny)
	number(f, "milestone", &r.Milestone, ifAny)
}

func errorMembers(f *form, e *task.Error) {
	text(f, "code", &e.Code, always)
	text(f, "message", &e.Message, always)
	number(f, "attempt", &e.Attempt, always)
	flag(f, "retryable", &e.Retryable, always)
}

func leaseMembers(f *form, l *task.Lease) {
	text(f, "worker", &l.Worker, always)
	number(f, "seq", &l.Seq, always)
	text(f, "key", &l.Key, ifAny)
	flag(f, "narrow", &l.Narrow, ifAny)
	text(f, "traceparent", &l.TraceParent, ifAny)
}

func transitionMembers(f *form, tr *task.Transition) {
	text(f, "status", &tr.Status, always)
	number(f, "attempt", &tr.Attempt, always)
	moment(f, "at", &tr.At, always)
	number(f, "after", &tr.After, always)
	number(f, "rev", &tr.Rev, ifAny)
	number(f, "output", &tr.Output, ifAny)
	pointer(f, "error", &tr.Error, errorMembers)
	text(f, "worker", &tr.Worker, ifAny)
	number(f, "run", &tr.Run, ifAny)
	rare(f, "question", &tr.Question, tr.Question != nil)
}
