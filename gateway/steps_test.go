package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/mesh"
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

// failsOnce is an agent of four steps, which it counts in ran. It fails the first time.
func failsOnce(ran map[string]int) agent.Agent {
	return meshtest.Named("a", func(ctx context.Context, job *agent.Job) (any, error) {
		for _, name := range []string{"one", "two", "charge", "three"} {
			_, err := agent.Step(ctx, job, name, func(context.Context, agent.StepInfo) (int, error) {
				ran[name]++
				return 1, nil
			})
			if err != nil {
				return nil, err
			}
		}
		if ran["three"] == 1 {
			return nil, agent.Permanent(errors.New("the first time"))
		}
		return 1, nil
	})
}

// A retry from a step takes over what was finished before it: that does not run again,
// whatever of equal requests comes when.
func TestARetryFromAStepDoesNotRepeatWhatWasBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		ran := map[string]int{}
		m.Work(failsOnce(ran))
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		if v := m.End(id); v.Status != "failed" {
			t.Fatalf("%+v", v)
		}
		w := m.Do("POST", "/tasks/"+id+"/retry", `{"from":"other"}`)
		if p := meshtest.Problem(t, w); w.Code != 422 || len(p.Errors) != 1 || p.Errors[0].Pointer != "/from" {
			t.Errorf("an unknown name: %d %s", w.Code, w.Body)
		}
		again := make([]string, 4)
		var all sync.WaitGroup
		for i := range again {
			all.Go(func() {
				w := m.Do("POST", "/tasks/"+id+"/retry", `{"from":"charge"}`, "Idempotency-Key", "one")
				again[i] = meshtest.Decode[api.Accepted](t, w.Body).TaskID
			})
		}
		all.Wait()
		if slices.Sort(again); len(slices.Compact(again)) != 1 || again[0] == "" {
			t.Fatalf("equal requests made %v", again)
		}
		if w := m.Do("POST", "/tasks/"+id+"/retry", `{"from":"two"}`, "Idempotency-Key", "one"); w.Code != 422 || meshtest.Code(t, w) != "idempotency_key_reused" {
			t.Errorf("the key of another request: %d %s", w.Code, w.Body)
		}
		if v := m.End(again[0]); v.Status != "completed" || v.RetriedFrom != id {
			t.Fatalf("%+v", v)
		}
		if got := fmt.Sprint(ran); got != "map[charge:2 one:1 three:2 two:1]" {
			t.Errorf("ran %s", got)
		}
		plain := meshtest.Decode[api.Accepted](t, m.Do("POST", "/tasks/"+id+"/retry", "").Body).TaskID
		if v := m.End(plain); v.Status != "completed" || ran["one"] != 2 {
			t.Errorf("without from: %+v, %v", v, ran)
		}
	})
}

// A gateway that is killed between its writes leaves nothing that runs without its
// steps: the repeat of the request ends the copy, and without one it is swept.
func TestARetryFromAStepSurvivesAKillAtEachWrite(t *testing.T) {
	for cut := 1; cut <= 3; cut++ { // two entries and the task
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := meshtest.New(t)
				ran := map[string]int{}
				stop := m.Work(failsOnce(ran))
				id := m.Create(`{"agent":"a","instruction":"x"}`)
				m.End(id)
				st, hangUp, err := m.StoreOver(&meshtest.Wire{Server: m.Server.Server, Cut: cut, After: after})
				if err != nil {
					t.Fatal(err)
				}
				defer hangUp()
				r := httptest.NewRequest("POST", "/tasks/"+id+"/retry", strings.NewReader(`{"from":"charge"}`))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Idempotency-Key", "one")
				w := httptest.NewRecorder()
				m.NewGateway(st).Handler().ServeHTTP(w, r)
				if w.Code == 202 {
					t.Fatalf("cut %d %t: %d %s", cut, after, w.Code, w.Body)
				}
				if cut == 2 && after {
					stop()
					time.Sleep(25 * time.Hour)
					core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
					if n, err := core.Journals.Sweep(t.Context()); n != 1 || err != nil {
						t.Errorf("swept %d journals, %v", n, err)
					}
					return
				}
				again := meshtest.Decode[api.Accepted](t, m.Do("POST", "/tasks/"+id+"/retry", `{"from":"charge"}`, "Idempotency-Key", "one").Body).TaskID
				if v := m.End(again); v.Status != "completed" || fmt.Sprint(ran) != "map[charge:2 one:1 three:2 two:1]" {
					t.Errorf("cut %d %t: %s, ran %v", cut, after, v.Status, ran)
				}
			})
		}
	}
}
