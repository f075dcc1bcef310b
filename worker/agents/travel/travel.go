// Package travel is the sample agent that has a conversation: it asks for what
// a search for flights needs and then lists what it finds.
//
// Its flights are sample data and not real, and every list says so. It promises
// that any text gets an answer, that the same transcript gets the same one (a
// date such as "next Friday" counts from the time of the message, in UTC), and
// that what was said once can be corrected later. It understands English.
package travel

import (
	"context"
	"time"

	"agentmesh/worker/agent"
)

const greeting = "Hello! How can I help you today?"

// Agent is the agent "travel".
func Agent() agent.Agent {
	a := agent.Conversation(answer)
	a.Definition = agent.Definition{
		Name: "travel", Version: "1.0.0", Greeting: greeting,
		Description: "A conversation about flights: asks for destination, dates and airline, and lists matching flights of a small set of sample data.",
	}
	return a
}

// trip is what the agent knows so far: its state. Dates are written as
// 2006-01-02.
type trip struct {
	Destination string `json:"destination,omitempty"`
	Origin      string `json:"origin,omitempty"` // empty: anywhere
	Depart      string `json:"depart,omitempty"`
	Return      string `json:"return,omitempty"`
	OneWay      bool   `json:"one_way,omitempty"`
	Nights      int    `json:"nights,omitempty"` // said before the departure was
	Airline     string `json:"airline,omitempty"`
	Passengers  int    `json:"passengers,omitempty"` // 0: one
}

// anyAirline is the airline of who has no preference.
const anyAirline = "any"

// answer is one turn.
func answer(_ context.Context, job *agent.Job, text string, t *trip) (string, error) {
	var today time.Time // none outside of a session
	if job.Turn != nil {
		today = dayOf(job.Turn.Messages[len(job.Turn.Messages)-1].At)
	}
	reply := ""
	for _, piece := range respond(t, understand(text, today, t)) {
		job.Output(piece)
		reply += piece
	}
	return reply, nil
}

// item is something that a search needs.
type item int

const (
	nothing item = iota
	destination
	departure
	comingBack
	airline
)

// missing is what to ask for next.
func (t *trip) missing() item {
	_, leaves := day(t.Depart)
	_, returns := day(t.Return)
	switch {
	case t.Destination == "":
		return destination
	case !leaves:
		return departure
	case !returns && !t.OneWay:
		return comingBack
	case t.Airline == "":
		return airline
	}
	return nothing
}
