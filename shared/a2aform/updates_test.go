package a2aform_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/a2aform"
	"agentmesh/shared/task"
)

func link(t *task.Task) string { return "https://mesh/" + string(t.ID) }

func TestAnUpdateHasTheSameBytesWhicheverRevisionItIsReadFrom(t *testing.T) {
	now := time.Date(2026, 5, 19, 10, 30, 0, 0, time.UTC)
	rec := &task.Task{ID: "tsk_01a200000000000000000000000000ff", Tenant: "default", Kind: task.KindTask, Agent: "echo", Status: task.Pending, CreatedAt: now}
	bodies := map[string][]byte{}
	var last []string
	keep := func() {
		rec.Replaces, rec.Rev = rec.Rev, rec.Rev+7
		all, err := a2aform.Updates(rec, 0, link)
		if err != nil {
			t.Fatal(err)
		}
		last = nil
		for _, e := range all {
			if first, ok := bodies[e.ID]; ok && !bytes.Equal(first, e.Body) {
				t.Errorf("%s changed:\n%s\n%s", e.ID, first, e.Body)
			}
			bodies[e.ID] = e.Body
			last = append(last, strings.TrimPrefix(e.ID, string(rec.ID)+"-a2a-"))
		}
	}
	to := func(s task.State, change func(*task.Transition)) {
		now = now.Add(time.Second)
		if err := rec.To(s, now); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(&rec.Transitions[len(rec.Transitions)-1])
		}
		keep()
	}
	rec.Attempt = 1
	to(task.Processing, nil)
	rec.Milestones = append(rec.Milestones, task.Milestone{N: 1, Name: "a", At: now, After: rec.Rev})
	keep()
	to(task.InputRequired, func(tr *task.Transition) {
		tr.Run, tr.Question = 1, &task.Question{Name: "sure", Prompt: "Sure?"}
	})
	to(task.Pending, nil)
	to(task.Processing, nil)
	rec.Message = "progress is not told"
	keep()
	rec.Result = task.Value{Inline: json.RawMessage(`{"x":"<&>"}`)}
	to(task.Completed, nil)
	rec.UpdatedAt = now.Add(time.Hour) // an annotation
	keep()
	if got := strings.Join(last, " "); got != "working-0 milestone-1 input_required-1 working-1 artifact-1 completed" {
		t.Errorf("updates = %s", got)
	}
}
