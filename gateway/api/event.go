package api

import "time"

// Event is one thing that happened to a task, as the JSON history lists it. The
// same data travels as server-sent events.
type Event struct {
	ID   uint64 `json:"id" doc:"Revision of the record; resumes a stream as Last-Event-ID. A step has that of the event before it."`
	Type string `json:"type" enum:"status,progress,milestone,output,step"`
	Data any    `json:"data"`
}

// EventList is the history of a task.
type EventList struct {
	Events []Event `json:"events"`
}

// Output is the data of an output event: text of the agent as it is produced.
type Output struct {
	TaskID  string `json:"task_id"`
	Attempt int    `json:"attempt" doc:"The attempt that wrote the text."`
	Offset  int64  `json:"offset" doc:"Place of the text in the whole output, in bytes: a resumed stream may repeat text."`
	Text    string `json:"text"`
}

// Reasoning is the data of a reasoning event: what a model thinks before it answers. It is
// shown live and kept nowhere.
type Reasoning struct {
	TaskID  string `json:"task_id"`
	Attempt int    `json:"attempt"`
	Offset  int64  `json:"offset" doc:"Place of the text in the reasoning of its answer, in bytes: at 0 it begins anew."`
	Text    string `json:"text"`
}

// StepEvent is the data of a step event: what the agent has finished, without its value.
type StepEvent struct {
	TaskID string `json:"task_id"`
	Step
}

// Reply is the data of a reply event.
type Reply struct {
	SessionID string    `json:"session_id"`
	Message   string    `json:"message"`
	TurnID    string    `json:"turn_id,omitempty"`
	At        time.Time `json:"at"`
}

// Closed is the data of the last event of a session that is gone.
type Closed struct {
	SessionID string `json:"session_id"`
	Reason    string `json:"reason" enum:"deleted,expired"`
}
