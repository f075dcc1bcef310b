package a2a_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// wantsTwo asks for two answers, one after the other, and then for two at once.
func wantsTwo(ctx context.Context, job *agent.Job) (any, error) {
	for range 2 {
		if _, err := agent.Ask[string](ctx, job, "more", agent.Question{Prompt: "More?"}); err != nil {
			return nil, err
		}
	}
	yes, err := agent.Ask[bool](ctx, job, "sure", agent.Question{Prompt: "Sure?", Schema: json.RawMessage(`{"type":"boolean"}`)})
	return yes, err
}

func TestTheHistoryHasWhatWasAskedAndAnswered(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("wants", wantsTwo))
	v := sent(t, rpc(m, "wants", "SendMessage", text("begin")))
	say := func(id, words string) {
		v = sent(t, rpc(m, "wants", "SendMessage", fmt.Sprintf(`{"message":{"messageId":%q,"taskId":%q,"role":"ROLE_USER","parts":[{"text":%q}]}}`, id, v.ID, words)))
	}
	say("m2", "one")
	if w := m.Do("POST", "/tasks/"+v.ID+"/input", `{"name":"more","value":"two"}`); w.Code != 200 && w.Code != 202 {
		t.Fatalf("an answer over HTTP = %d %s", w.Code, w.Body)
	}
	natstest.Until(t, "the third question is open", func() bool {
		v = got(t, rpc(m, "wants", "GetTask", byID(v.ID)))
		return v.Status.Message != nil && v.Status.Message.Parts[0].Text == "Sure?"
	})
	say("m4", "yes")
	var all []string
	for _, h := range v.History {
		words := h.Parts[0].Text
		if words == "" {
			words = string(h.Parts[0].Data)
		}
		all = append(all, strings.ToLower(strings.TrimPrefix(h.Role, "ROLE_"))+" "+strings.TrimPrefix(h.MessageID, v.ID)+" "+words)
	}
	want := "user m1 begin, agent -question-more.0 More?, user m2 one, agent -question-more.1 More?, user -answer-more.1 two, agent -question-sure.0 Sure?, user m4 true"
	if got := strings.Join(all, ", "); got != want {
		t.Errorf("history = %s\nwant      %s", got, want)
	}
}

// wantsBoth asks two questions at once.
func wantsBoth(ctx context.Context, job *agent.Job) (any, error) {
	var both sync.WaitGroup
	var got [2]string
	var errs [2]error
	for i, name := range []string{"first", "second"} {
		both.Go(func() { got[i], errs[i] = agent.Ask[string](ctx, job, name, agent.Question{Prompt: name + "?"}) })
	}
	both.Wait()
	return got, errors.Join(errs[:]...)
}

// An answer that comes while the agent is at work on the one before is a part of the
// history, too, also when the task has ended.
func TestTheHistoryHasAnswersThatCameWhileTheAgentRan(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("wants", wantsBoth))
	v := sent(t, rpc(m, "wants", "SendMessage", text("begin")))
	natstest.Until(t, "both questions are open", func() bool {
		body := m.Do("GET", "/tasks/"+v.ID, "").Body.String()
		return strings.Contains(body, `"first?"`) && strings.Contains(body, `"second?"`)
	})
	for _, name := range []string{"first", "second"} {
		if w := m.Do("POST", "/tasks/"+v.ID+"/input", fmt.Sprintf(`{"name":%q,"value":"to %s"}`, name, name)); w.Code != 200 && w.Code != 202 {
			t.Fatalf("an answer = %d %s", w.Code, w.Body)
		}
	}
	natstest.Until(t, "it has ended", func() bool {
		v = got(t, rpc(m, "wants", "GetTask", byID(v.ID)))
		return v.Status.State == "TASK_STATE_COMPLETED"
	})
	var all []string
	for _, h := range v.History {
		all = append(all, h.Parts[0].Text)
	}
	slices.Sort(all[1:]) // the questions come in any order
	if got := strings.Join(all, ", "); got != "begin, first?, second?, to first, to second" {
		t.Errorf("history = %s", got)
	}
}
