package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"agentmesh/gateway/api"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

// noting is an agent that keeps a small step, a large one, a checkpoint and a step
// that failed for good, and then waits for go before it fails.
func noting(reached chan<- struct{}, on <-chan struct{}) agent.Agent {
	return meshtest.Named("notes", func(ctx context.Context, job *agent.Job) (any, error) {
		value := func(v any) func(context.Context, agent.StepInfo) (any, error) {
			return func(context.Context, agent.StepInfo) (any, error) { return v, nil }
		}
		if _, err := agent.Step(ctx, job, "small", value(7)); err != nil {
			return nil, err
		}
		if _, err := agent.Step(ctx, job, "large", value(strings.Repeat("x", 300<<10))); err != nil {
			return nil, err
		}
		_, _ = agent.Step(ctx, job, "bad", func(context.Context, agent.StepInfo) (any, error) {
			return nil, agent.Permanent(errors.New("no such account"))
		})
		close(reached)
		<-on
		return nil, agent.Permanent(errors.New("the end"))
	})
}

// The steps of a task are the same while it runs, from its journal, and when it has
// ended, from the archive.
func TestTheStepsOfATaskAreReadWhileItRunsAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		reached, on := make(chan struct{}), make(chan struct{})
		m.Work(noting(reached, on))
		id := m.Create(`{"agent":"notes","instruction":"x"}`)
		read := func(query string) api.StepList {
			t.Helper()
			w := m.Do("GET", "/tasks/"+id+"/steps"+query, "")
			if w.Code != 200 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return meshtest.Decode[api.StepList](t, w.Body)
		}
		check := func() {
			t.Helper()
			var got []string
			list := read("?include=values")
			for _, s := range list.Steps {
				got = append(got, fmt.Sprintf("%s %s %d %d %s %t %t", s.Kind, s.Name, s.N, s.Bytes, s.Value, s.ValueURL != "", s.Error != nil))
			}
			want := "[step small 0 1 7 false false step large 0 307202  true false step bad 0 0  false true]"
			if fmt.Sprint(got) != want {
				t.Fatalf("%v, want %s", got, want)
			}
			if w := m.Do("GET", list.Steps[1].ValueURL, ""); w.Code != 200 || w.Body.Len() != 300<<10+2 {
				t.Errorf("large value: %d, %d bytes", w.Code, w.Body.Len())
			}
			if plain := read(""); plain.Steps[0].Value != nil || plain.Steps[1].ValueURL != "" {
				t.Errorf("values without include: %+v", plain)
			}
			one := read("?limit=2")
			if two := read("?limit=2&cursor=" + one.NextCursor); len(one.Steps) != 2 || len(two.Steps) != 1 || two.Steps[0].Name != "bad" || two.NextCursor != "" {
				t.Errorf("pages: %+v, %+v", one, two)
			}
		}
		<-reached
		check()
		close(on)
		if v := m.End(id); v.Status != "failed" {
			t.Fatalf("%+v", v)
		}
		check()
		none := m.Create(`{"agent":"notes","delay":"1h","instruction":"x"}`)
		if w := m.Do("GET", "/tasks/"+none+"/steps", ""); w.Code != 200 || w.Body.String() != `{"steps":[],"next_cursor":""}` {
			t.Errorf("a task without steps: %d %s", w.Code, w.Body)
		}
	})
}
