package llm

import (
	"cmp"
	"encoding/json"
	"strings"

	"agentmesh/worker/agents/llm/chat"
)

// talk is the conversation as the model is shown it.
type talk struct {
	*compiled // the agent that has the conversation

	system   string // instructions of the agent
	summary  string // of what the model is not shown any more
	messages []chat.Message
	from     int // the first message that it is shown
	offers   []chat.Tool
	rounds   int  // answers of the model so far
	noFormat bool // the server takes no schema: final_answer is a tool
}

// request is what the model is asked now.
func (l *talk) request(choice string) chat.Request {
	r := chat.Request{Choice: cmp.Or(choice, l.choice()), Tools: l.offers}
	system := l.system
	if l.summary != "" {
		system = strings.TrimSpace(system + "\n\nWhat was said before, in short:\n" + l.summary)
	}
	if system != "" {
		r.Messages = append(r.Messages, chat.Message{Role: chat.System, Content: system})
	}
	r.Messages = append(r.Messages, l.messages[l.from:]...)
	if l.OutputSchema != nil {
		if l.noFormat {
			r.Tools = append(r.Tools[:len(r.Tools):len(r.Tools)], chat.Tool{Name: finalAnswer, Description: "Gives the answer. Call it once, when you have it.", Parameters: l.OutputSchema})
			if choice == "none" {
				r.Choice = finalAnswer
			}
		} else {
			r.Format = &chat.Format{Name: "answer", Schema: l.OutputSchema}
		}
	}
	return r
}

// choice is the file's wish for the first answer: one that is required again and again
// would never end.
func (l *talk) choice() string {
	if l.rounds > 0 {
		return "auto"
	}
	return l.ToolChoice
}

// depends is what an answer depends on. How the server is asked for a schema is no part
// of it.
func (l *talk) depends(m *model, r chat.Request) any {
	r.Tools, r.Format = l.offers, nil
	return struct {
		Model   string
		Params  map[string]any
		Request chat.Request
		Schema  json.RawMessage
	}{m.Config.Model, m.Params, r, l.OutputSchema}
}

// cutAt is the first message to be shown so that what is shown is small enough. A call
// and its result stay together.
func (l *talk) cutAt(most int64) int {
	at := l.from
	for i := l.from + 1; i < len(l.messages); i++ {
		if l.messages[i].Role == chat.ToolRole {
			continue
		}
		at = i
		if (chat.Request{Messages: l.messages[i:], Tools: l.offers}).Estimate() <= most {
			break
		}
	}
	return at
}

// lastText is the newest thing that the model has said in this task.
func (l *talk) lastText() string {
	for i := len(l.messages) - 1; i >= 0 && l.rounds > 0; i-- {
		if m := l.messages[i]; m.Role == chat.Assistant && m.Content != "" {
			return m.Content
		}
	}
	return ""
}
