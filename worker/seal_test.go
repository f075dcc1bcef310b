package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/secret"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// sealing is a worker's configuration with a key.
func sealing(t *testing.T, keys string) worker.Config {
	t.Helper()
	k, err := secret.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	cfg := worker.Default()
	cfg.Keeper = k
	return cfg
}

// hush keeps steps, small and large, a checkpoint and an answer, and fails until it is
// told not to.
func hush(runs *int, fails *bool) agent.Agent {
	a := meshtest.Named("hush", func(ctx context.Context, job *agent.Job) (any, error) {
		said := func(name, text string) (string, error) {
			return agent.Step(ctx, job, name, func(context.Context, agent.StepInfo) (string, error) { *runs++; return text, nil })
		}
		small, err := said("small", "pssst-small")
		if err != nil {
			return nil, err
		}
		large, err := said("large", strings.Repeat("pssst-large ", 30_000))
		if err != nil {
			return nil, err
		}
		var at string
		if found, err := job.LastCheckpoint(&at); err != nil || found && at != "pssst-here" {
			return nil, fmt.Errorf("the checkpoint is %q, %w", at, err)
		}
		if err := job.Checkpoint(ctx, "pssst-here"); err != nil {
			return nil, err
		}
		answer, err := agent.Ask[string](ctx, job, "word", agent.Question{Prompt: "The word?"})
		if err != nil {
			return nil, err
		}
		if *fails {
			return nil, agent.Permanent(errors.New("not now"))
		}
		return map[string]any{"small": small, "large": len(large), "answer": answer}, nil
	})
	a.Seal = true
	a.Retry.MaxAttempts = 20
	return a
}

// What a sealing agent has finished is nowhere in the store, goes on after a question,
// and is taken over by a retry from a step. A worker with a later key reads it, one with
// another does not, and does nothing again.
func TestSealedStepsAreReadByWorkersWithTheKeyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		runs, fails, old, next := 0, true, secret.NewKey(), secret.NewKey()
		a := hush(&runs, &fails)
		stop := m.WorkWith(sealing(t, old), m.Store, a)
		id := m.Create(`{"agent":"hush","instruction":"x"}`)
		time.Sleep(time.Minute)
		read := func() string {
			entries, err := m.Store.Steps.Read(t.Context(), "default", task.ID(id), 0)
			raw, fault := json.Marshal(entries)
			if err != nil || fault != nil || len(entries) < 3 {
				t.Fatalf("%d entries, %v, %v", len(entries), err, fault)
			}
			for _, e := range entries {
				if e.Object != "" {
					text, err := m.Store.Artifacts.Read(t.Context(), task.Value{Object: e.Object, Size: e.Size})
					if err != nil {
						t.Fatal(err)
					}
					raw = append(raw, text...)
				}
			}
			return string(raw)
		}
		if raw := read(); strings.Contains(raw, "pssst") || strings.Count(raw, `"sealed":true`) < 3 {
			t.Error("the journal shows what is sealed")
		}
		steps := m.Do("GET", "/tasks/"+id+"/steps?include=values", "").Body.String()
		if strings.Contains(steps, "pssst") || strings.Contains(steps, `"value`) || !strings.Contains(steps, `"sealed":true`) {
			t.Error(steps)
		}
		if w := m.Do("GET", "/tasks/"+id+"/steps/value?name=large", ""); w.Code != 403 || !strings.Contains(w.Body.String(), "step_sealed") {
			t.Errorf("%d %s", w.Code, w.Body)
		}

		stop()
		stop = m.WorkWith(sealing(t, secret.NewKey()), m.Store, a) // another key
		m.Do("POST", "/tasks/"+id+"/input", `{"value":"pssst-answer"}`)
		time.Sleep(time.Second)
		if rec := m.Record(id); rec.Status.Terminal() || runs != 2 {
			t.Fatalf("%s %+v, %d steps run", rec.Status, rec.Error, runs)
		}
		stop()
		stop = m.WorkWith(sealing(t, next+","+old), m.Store, a)
		if v := m.End(id); v.Status != "failed" || v.Error.Message != "not now" || runs != 2 {
			t.Fatalf("%s %+v, %d steps run", v.Status, v.Error, runs)
		}
		fails = false
		again := meshtest.Decode[struct {
			TaskID string `json:"task_id"`
		}](t, m.Do("POST", "/tasks/"+id+"/retry", `{"from":"word"}`).Body)
		time.Sleep(time.Minute)
		m.Do("POST", "/tasks/"+again.TaskID+"/input", `{"value":"pssst-answer"}`)
		if v := m.End(again.TaskID); string(v.Result) != `{"answer":"pssst-answer","large":360000,"small":"pssst-small"}` || runs != 2 {
			t.Errorf("%s %s %+v, %d steps run", v.Status, v.Result, v.Error, runs)
		}
		stop()
		if w, err := worker.New(t.Context(), worker.Default(), m.Store, []agent.Agent{a}, meshtest.Quiet()); err == nil || !strings.Contains(err.Error(), "MESH_SECRET_KEY") {
			t.Errorf("%v %v", w, err)
		}
	})
}

// A turn that asks keeps what it has finished sealed, too, and so does the answer.
func TestASealedTurnGoesOnWithItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		runs, fails := 0, false
		m.WorkWith(sealing(t, secret.NewKey()), m.Store, hush(&runs, &fails))
		id := m.Session("hush")
		m.Say(200, id, "hello")
		s, err := m.Store.Sessions.Get(t.Context(), "default", session.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := m.Store.Artifacts.Read(t.Context(), s.Asked.Journal); err != nil || len(kept) == 0 || strings.Contains(string(kept), "pssst") {
			t.Errorf("%v, kept is %s", err, meshtest.Clipped(kept))
		}
		if v := m.Say(200, id, "open sesame"); !strings.Contains(v.Message, "open sesame") || runs != 2 {
			t.Errorf("%+v, %d steps run", v, runs)
		}
	})
}
