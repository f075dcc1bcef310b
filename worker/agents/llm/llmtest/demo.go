package llmtest

import (
	"encoding/json"
	"strings"
	"time"
)

// Demo is the model of mesh up --demo-llm. It shows what an agent does with a model
// that knows more: it has a text summarized by another agent, asks a person, refuses,
// and answers.
func Demo(r Request) Reply {
	said := r.Said()
	reply := Reply{Chunk: 4, Delay: 20 * time.Millisecond, Input: 40 + len(said)/4}
	last := r.Last()
	switch {
	case last.Role == "tool" && strings.HasPrefix(last.CallID, "ask"):
		reply.Text = "Thank you. You said: " + last.Content
	case last.Role == "tool":
		reply.Text = "In short: " + summaryOf(last.Content)
	case strings.Contains(strings.ToLower(said), "ask"):
		reply.Calls = []Call{{ID: "ask_1", Name: "ask_human", Arguments: `{"question":"Tea or coffee?","options":["tea","coffee"]}`}}
	case strings.Contains(strings.ToLower(said), "refuse"):
		reply.Refusal = "I was told to."
	case strings.Count(said, ". ") > 0:
		args, err := json.Marshal(map[string]any{"text": said, "sentences": 1})
		if err != nil {
			panic(err)
		}
		reply.Calls = []Call{{ID: "call_1", Name: "summarize", Arguments: string(args)}}
	default:
		reply.Text = "I am a script, not a model: I know three things. Send me a text of several sentences, and I have the agent summarize pick one of them. Send me \"ask me\", and I ask you something: answer it by POST /tasks/{id}/input. Send me \"refuse\", and I fail the task."
	}
	reply.Output = 1 + len(reply.Text)/4
	return reply
}

func summaryOf(result string) string {
	var v struct{ Summary string }
	if json.Unmarshal([]byte(result), &v) != nil || v.Summary == "" {
		return result
	}
	return v.Summary
}
