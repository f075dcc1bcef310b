package task

import (
	"encoding/json"
	"time"
)

// Exchange is a question and what a person has answered, for who reads the talk later:
// of an answer itself only a note stays when the agent has it.
type Exchange struct {
	Name    string          `json:"name"`
	N       int             `json:"n,omitempty"` // of the wait
	Prompt  string          `json:"prompt,omitempty"`
	AskedAt time.Time       `json:"asked_at"`
	Value   json.RawMessage `json:"value,omitempty"` // nil: it was too large to keep
	Bytes   int             `json:"bytes,omitempty"` // of a value that was too large
	At      time.Time       `json:"at"`
	Message string          `json:"message,omitempty"` // what its sender calls the answer
}

// Bounds of the exchanges in a record.
const (
	MaxExchanges     = 32
	MaxExchangeBytes = 64 << 10 // of all of them together
)

func (e Exchange) size() int { return len(e.Name) + len(e.Prompt) + len(e.Value) + len(e.Message) }

// Exchanges are those of a task, oldest first: the newest within the bounds.
type Exchanges []Exchange

// With are es and what a person has answered to w.
func (es Exchanges) With(w Wait, value json.RawMessage, at time.Time, message string) Exchanges {
	e := Exchange{Name: w.Name, N: w.N, Prompt: Clip(w.Prompt, maxAsked), AskedAt: w.AskedAt, Value: value, At: at, Message: message}
	if e.size() > MaxExchangeBytes {
		e.Value, e.Bytes = nil, len(value)
	}
	all, bytes := append(es[:len(es):len(es)], e), 0
	for i := len(all) - 1; i >= 0; i-- {
		if bytes += all[i].size(); bytes > MaxExchangeBytes || len(all)-i > MaxExchanges {
			return all[i+1:]
		}
	}
	return all
}
