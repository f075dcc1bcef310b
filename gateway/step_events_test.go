package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// readEvents reads events until one of a name, as "<type> <what it is about> <has an id>".
func readEvents(t *testing.T, events <-chan meshtest.TaskEvent, until string) (got []string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case e, open := <-events:
			if !open {
				t.Fatalf("the stream ended before %s: %v", until, got)
			}
			about := e.Data.Status
			if e.Event == "step" {
				var s api.StepEvent
				if err := json.Unmarshal([]byte(e.Raw), &s); err != nil || s.TaskID == "" || s.Value != nil {
					t.Errorf("%v %s", err, e.Raw)
				}
				about = s.Kind + " " + s.Name
			}
			if e.Event == "progress" {
				continue
			}
			if got = append(got, fmt.Sprintf("%s %s %t", e.Event, about, e.ID != "")); strings.Contains(got[len(got)-1], until) {
				return got
			}
		case <-timeout:
			t.Fatalf("no %s: %v", until, got)
		}
	}
}

// A stream tells each step when it has ended, behind the claim of its run and without
// an id, so that who resumes misses no event of the record. The history has all steps
// in their places, while the task runs and after.
func TestAStreamTellsStepsAsTheyEnd(t *testing.T) {
	m := meshtest.New(t)
	goOn := make(chan struct{})
	m.Work(meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
		for _, name := range []string{"one", "two", "three"} {
			select {
			case <-goOn:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			if _, err := agent.Step(ctx, job, name, func(context.Context, agent.StepInfo) (string, error) { return "kept", nil }); err != nil {
				return nil, err
			}
		}
		return 1, nil
	}))
	srv, _ := m.Serve()
	id := m.Create(`{"agent":"a","instruction":"x"}`)
	events, cut := meshtest.FollowTask(t, srv.URL, id, "")
	readEvents(t, events, "processing")
	goOn <- struct{}{}
	if got := readEvents(t, events, "step"); fmt.Sprint(got) != "[step step one false]" {
		t.Errorf("live: %v", got)
	}
	cut()
	events, cut = meshtest.FollowTask(t, srv.URL, id, "0")
	defer cut()
	if got := readEvents(t, events, "processing"); fmt.Sprint(got) != "[status processing true]" {
		t.Errorf("resumed: %v", got)
	}
	goOn <- struct{}{}
	readEvents(t, events, "step two")
	goOn <- struct{}{}
	if got := readEvents(t, events, "completed"); fmt.Sprint(got) != "[step step three false status completed true]" {
		t.Errorf("to the end: %v", got)
	}
	list := meshtest.Decode[api.EventList](t, m.Do("GET", "/tasks/"+id+"/events", "", "Accept", "application/json").Body)
	var kinds []string
	for i, e := range list.Events {
		kinds = append(kinds, e.Type)
		if e.Type == "step" && e.ID != list.Events[i-1].ID {
			t.Errorf("a step has the id %d, the event before it %d", e.ID, list.Events[i-1].ID)
		}
	}
	if got := fmt.Sprint(kinds); got != "[status status step step step status]" {
		t.Errorf("history: %v", got)
	}
}

// A step whose run a reader has not heard of yet is told after the record that says that
// it runs: steps and records come on different ways.
func TestAStepIsToldBehindTheRecordOfItsRun(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("a", meshtest.Says("x")))() // known, and nobody serves it
	srv, _ := m.Serve()
	id := m.Create(`{"agent":"a","instruction":"x"}`)
	rec, err := m.Store.Tasks.Find(t.Context(), "default", task.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	rec.Attempt = 1
	save := func(state task.State) {
		t.Helper()
		err := rec.To(state, time.Now())
		if err == nil {
			err = m.Store.Tasks.Save(t.Context(), rec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	save(task.Processing)
	events, cut := meshtest.FollowTask(t, srv.URL, id, "")
	defer cut()
	readEvents(t, events, "processing")
	save(task.Pending)
	readEvents(t, events, "pending")
	next := rec.Rev + 1
	if _, err := m.Store.Steps.Append(t.Context(), "default", rec.ID, &task.Entry{Kind: task.EntryStep, Name: "early", At: time.Now(), Epoch: next}, 0); err != nil {
		t.Fatal(err)
	}
	save(task.Processing)
	if rec.Rev != next {
		t.Fatalf("revision %d, the test awaits %d", rec.Rev, next)
	}
	if got := readEvents(t, events, "step"); fmt.Sprint(got) != "[status processing true step step early false]" {
		t.Errorf("%v", got)
	}
}
