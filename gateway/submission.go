package gateway

import (
	"encoding/json"
	"strconv"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
	"agentmesh/shared/webhook"
)

// null treats an explicit null as left out.
func null(v json.RawMessage) json.RawMessage {
	if string(v) == "null" {
		return nil
	}
	return v
}

// submission reads the fields with a form of their own. A field that cannot be
// read is among its faults.
func submission(req *api.CreateTask, kind task.Kind, now time.Time) *mesh.Submission {
	s := &mesh.Submission{
		Kind: kind, Agent: req.Agent, Instruction: req.Instruction, Input: null(req.Input), Labels: req.Labels, Metadata: null(req.Metadata),
		CallbackURL: req.CallbackURL, CallbackEvents: req.CallbackEvents, CallbackSecret: webhook.ID(req.CallbackSecretRef),
	}
	fault := func(pointer, detail string) { s.Faults = append(s.Faults, mesh.Field(detail, pointer)) }
	if n := req.MaxAttempts; n != nil {
		if s.MaxAttempts = *n; *n < 1 || *n > task.MaxAttempts {
			fault("/max_attempts", "it must be 1 to "+strconv.Itoa(task.MaxAttempts)+"; leave it out for the agent's own")
		}
	}
	if req.Timeout != "" {
		d, err := time.ParseDuration(req.Timeout)
		if err != nil || d < time.Millisecond || d > task.MaxTimeout {
			fault("/timeout", `it must be a duration such as "90s" or "5m", 1ms to 24h`)
		}
		s.Timeout = d
	}
	times(req, s, now, fault)
	return s
}

func times(req *api.CreateTask, s *mesh.Submission, now time.Time, fault func(pointer, detail string)) {
	switch {
	case req.Delay != "" && req.RunAt != "":
		fault("/delay", "send delay or run_at, not both")
	case req.Delay != "":
		d, err := time.ParseDuration(req.Delay)
		if err != nil || d < 0 || d > mesh.MaxAhead {
			fault("/delay", `it must be a duration such as "90s" or "24h", at most a year`)
		} else if d > 0 {
			s.NotBefore = now.Add(d)
		}
	case req.RunAt != "":
		at, err := readTime(req.RunAt)
		switch {
		case err != nil:
			fault("/run_at", `it must be a time such as "2026-05-19T10:30:00Z"`)
		case at.Before(now):
			fault("/run_at", "it is in the past; leave it out to run at once")
		case at.After(now.Add(mesh.MaxAhead)):
			fault("/run_at", "it is more than a year ahead")
		default:
			s.NotBefore = at
		}
	}
	if req.Deadline != "" {
		at, err := readTime(req.Deadline)
		switch {
		case err != nil:
			fault("/deadline", `it must be a time such as "2026-05-19T10:30:00Z"`)
		case !at.After(now) || !at.After(s.NotBefore):
			fault("/deadline", "it must lie ahead, and after the time at which the task may run")
		default:
			s.Deadline = at
		}
	}
}
