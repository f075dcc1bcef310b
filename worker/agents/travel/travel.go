// Package travel is the sample agent that has a conversation. It is a slot
// machine: a message may fill the slots of a search for flights (city, two dates,
// airline), and the answer asks for the first empty one or lists what
// it finds.
//
// Its flights are sample data and not real, and every list says so. It promises
// that any text gets an answer, that the same transcript gets the same one, and
// that what was said once can be corrected later. It understands plain English:
// "From May 15 to May 20", "no, from the 16th", "actually to Osaka".
package travel

import (
	"context"
	"strings"
	"time"

	"agentmesh/worker/agent"
)

const greeting = "Hello! How can I help you today?"

// Agent is the agent "travel".
func Agent() agent.Agent {
	a := agent.Conversation(answer)
	a.Definition = agent.Definition{
		Name: "travel", Version: "1.2.0", Greeting: greeting,
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
	Airline     string `json:"airline,omitempty"`
}

// anyAirline is the airline of a traveller without a preference.
const anyAirline = "any"

// answer is one turn.
func answer(_ context.Context, job *agent.Job, text string, t *trip) (string, error) {
	today := time.Now().UTC() // outside of a session
	if job.Turn != nil {
		today = job.Turn.Messages[len(job.Turn.Messages)-1].At.UTC()
	}
	today = today.Truncate(24 * time.Hour)
	before := *t
	text = strings.ToLower(text)
	fault := understand(text, today, t)
	var reply strings.Builder
	for _, piece := range respond(text, before, t, fault) {
		job.Output(piece)
		reply.WriteString(piece)
	}
	return reply.String(), nil
}
