package worker

import (
	"encoding/json"

	"agentmesh/shared/secret"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// seal hides the values of a journal where they are kept. In memory entries are as they
// are kept: a value is opened when it is asked for.
type seal struct {
	keeper *secret.Keeper // nil: the worker has no key
	on     bool           // the agent's values are sealed
	task   *task.Task
}

// purpose is the same for a task and its retry from a step.
func (s seal) purpose() string { return "steps " + s.task.Tenant + " " + s.task.Agent }

// cover is a value as it is kept in e.
func (s seal) cover(e *task.Entry, raw json.RawMessage) (json.RawMessage, error) {
	if !s.on || len(raw) == 0 {
		return raw, nil
	}
	e.Sealed = true
	return json.Marshal(s.keeper.Seal(s.purpose(), raw))
}

// open is the value of e, which is kept as raw.
func (s seal) open(e *task.Entry, raw []byte) (json.RawMessage, error) {
	if !e.Sealed || len(raw) == 0 {
		return raw, nil
	}
	var text []byte
	err := json.Unmarshal(raw, &text)
	if err == nil && s.keeper == nil {
		err = secret.ErrOpen
	}
	if err == nil {
		text, err = s.keeper.Open(s.purpose(), text)
	}
	if err != nil {
		return nil, &agent.Error{Code: task.CodeStepSealed, Err: err, Message: "what the task has finished is sealed, and the worker has not the key: give it the one that has sealed it (--secret-key-file)"}
	}
	return text, nil
}
