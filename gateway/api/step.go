package api

import (
	"encoding/json"
	"time"
)

// StepList is the answer of GET /tasks/{id}/steps.
type StepList struct {
	Steps      []Step `json:"steps"`
	NextCursor string `json:"next_cursor" doc:"Empty on the last page. While the task runs, an entry that is written anew moves to the end."`
}

// Step is one thing that the agent of a task has finished, or what a wait came to.
type Step struct {
	Kind    string    `json:"kind" enum:"step,started,sleep,wait,answer,checkpoint" doc:"step has ended. started has begun, and nobody knows its end. sleep is over. wait: what came of a wait for an event. answer: of a question. checkpoint: how far the agent has come."`
	Name    string    `json:"name,omitempty"`
	N       int       `json:"n" doc:"Which of its kind and name it is, from 0."`
	Attempt int       `json:"attempt,omitempty" doc:"In which it was written."`
	At      time.Time `json:"at" doc:"When it was written."`
	MS      int64     `json:"ms,omitempty" doc:"How long it took, in milliseconds."`
	Key     string    `json:"key,omitempty" doc:"Hash of what the step depends on."`
	Version string    `json:"version,omitempty" doc:"Of the agent."`

	Bytes    int64           `json:"bytes,omitempty" doc:"Of the value."`
	Value    json.RawMessage `json:"value,omitempty" doc:"With include=values."`
	ValueURL string          `json:"value_url,omitempty" doc:"Where the value is, with include=values, when it has more than 256 KiB."`
	Head     string          `json:"head,omitempty" doc:"The beginning of a value that was too long to keep, with include=values."`
	Sealed   bool            `json:"sealed,omitempty" doc:"The agent has its values sealed: they are not shown."`
	Error    *Error          `json:"error,omitempty" doc:"The step failed for good."`
}
