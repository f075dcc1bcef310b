package api

import "encoding/json"

// Line is what an agent tells while it runs: the body of POST /tasks/{id}/steps.
type Line struct {
	Type    string          `json:"type" enum:"step,started,checkpoint,sleep,ask,wait" doc:"As in the lines of programs."`
	Name    string          `json:"name,omitempty" maxLength:"128" doc:"Of all but a checkpoint."`
	N       *int            `json:"n,omitempty" doc:"Which of its name it is, from 0; left out: the first that has not come to its end. With it a request may be repeated."`
	Key     json.RawMessage `json:"key,omitempty" doc:"What a step depends on: one with another key replaces it."`
	Value   json.RawMessage `json:"value,omitempty" doc:"Of a step or a checkpoint."`
	Error   json.RawMessage `json:"error,omitempty" doc:"A text, or an object with code and message: the step failed for good."`
	Prompt  string          `json:"prompt,omitempty" doc:"Of a question."`
	Schema  json.RawMessage `json:"schema,omitempty" doc:"JSON Schema of the answer to a question."`
	Timeout json.RawMessage `json:"timeout,omitempty" doc:"Of a question or an event, such as 48h, or a number of seconds."`
	For     json.RawMessage `json:"for,omitempty" doc:"How long to sleep, such as 24h, or a number of seconds."`
	Until   string          `json:"until,omitempty" doc:"When a sleep is over."`
	Ack     bool            `json:"ack,omitempty" doc:"A checkpoint is written at once."`
}

// LineKept says that a line is durable.
type LineKept struct {
	Type string `json:"type" enum:"ok"`
	Name string `json:"name,omitempty"`
	N    *int   `json:"n,omitempty" doc:"Which of its name it is."`
}
