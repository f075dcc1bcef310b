package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
	"agentmesh/shared/hook"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// The query of a callback is the secret of whoever is called: schedules and hooks store it
// sealed, show it masked, keep it through a change of something else, and send to it whole.
func TestTheCallbackOfASchedulesAndAHooksWorkIsSealed(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("echo", meshtest.Says("done")))
	m.Notify()
	called := make(chan string, 10)
	r := m.Receive(func(_ http.ResponseWriter, r *http.Request) { called <- r.URL.RawQuery })
	url := r.URL + "?token=hush-hush"
	stored := func(v any, err error) {
		t.Helper()
		raw, failed := json.Marshal(v)
		if err != nil || failed != nil || strings.Contains(string(raw), "hush-hush") || !strings.Contains(string(raw), "callback_sealed_url") {
			t.Errorf("stored: %s, %v", raw, err)
		}
	}
	do := func(status int, method, path, body string) *strings.Reader {
		t.Helper()
		w := m.Do(method, path, body, "Content-Type", "application/json")
		if w.Code != status || strings.Contains(w.Body.String(), "hush-hush") {
			t.Fatalf("%s %s = %d %s", method, path, w.Code, w.Body)
		}
		return strings.NewReader(w.Body.String())
	}
	came := func() {
		t.Helper()
		select {
		case got := <-called:
			if got != "token=hush-hush" {
				t.Errorf("called with %q", got)
			}
		case <-time.After(time.Minute):
			t.Error("nobody was called")
		}
	}
	do(201, "PUT", "/schedules/often", `{"every":"1h","task":{"agent":"echo","instruction":"x","callback_url":"`+url+`"}}`)
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	stored(core.Schedules.Get(t.Context(), auth.Local(), "often"))
	shown := meshtest.Decode[api.Schedule](t, do(200, "PATCH", "/schedules/often", `{"overlap":"allow"}`))
	if !strings.HasSuffix(shown.Task.CallbackURL, "?token=***") {
		t.Errorf("shown as %s", shown.Task.CallbackURL)
	}
	do(422, "PATCH", "/schedules/often", `{"callback_url":"`+shown.Task.CallbackURL+`"}`)
	do(202, "POST", "/schedules/often/trigger", "")
	came()
	k := newHook(m, hook.GitHub, `"task":{"agent":"echo","callback_url":"`+url+`"}`)
	stored(core.Hooks.Get(t.Context(), auth.Local(), hook.ID(k.HookID)))
	do(200, "PATCH", "/hooks/"+k.HookID, `{"name":"other"}`)
	if w := k.deliver("1", `{}`); w.Code != http.StatusAccepted {
		t.Errorf("delivery = %d %s", w.Code, w.Body)
	}
	came()
	do(200, "PATCH", "/schedules/often", `{"callback_url":""}`)
	if s, err := core.Schedules.Get(t.Context(), auth.Local(), "often"); err != nil || s.Task.CallbackSealed != nil || s.Task.CallbackURL != "" {
		t.Errorf("without a callback: %+v, %v", s, err)
	}
}

// A large input, and the large value of a step, stay for as long as their task waits,
// and no longer than others when it has ended. A retry from a step has its own.
func TestLargeValuesLiveAsLongAsTheirTaskWaits(t *testing.T) {
	m := meshtest.New(t)
	large := strings.Repeat("x", 300<<10)
	fail := true
	m.Work(meshtest.Named("waits", func(ctx context.Context, job *agent.Job) (any, error) {
		scan, err := agent.Step(ctx, job, "scan", func(context.Context, agent.StepInfo) (string, error) { return large, nil })
		if err == nil {
			_, err = agent.WaitEvent[any](ctx, job, "go", time.Hour)
		}
		if err == nil && fail {
			err = agent.Permanent(fmt.Errorf("the end"))
		}
		return len(scan) + len(job.Input), err
	}))
	id := m.Create(`{"agent":"waits","input":"` + large + `"}`)
	later := m.Create(`{"agent":"waits","input":"` + large + `","delay":"6000h"}`)
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	aged := func(before time.Time) (names []string) {
		t.Helper()
		all, err := m.Store.Artifacts.Aged(t.Context(), before)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			names = append(names, a.Object)
		}
		return names
	}
	natstest.Until(t, "three values are stored", func() bool { return len(aged(time.Now())) == 3 })
	stored := time.Now()
	if n, err := core.Journals.Renew(t.Context(), stored); n != 3 || err != nil {
		t.Errorf("%d were stored anew, %v", n, err)
	}
	if got := aged(stored); len(got) != 0 {
		t.Errorf("not stored anew: %v", got)
	}
	if w := m.Do("GET", "/tasks/"+later+"/input", ""); w.Code != 200 || w.Body.Len() != 300<<10+2 {
		t.Errorf("the input that is awaited = %d, %d bytes", w.Code, w.Body.Len())
	}
	tell := func(id string) client.Task {
		t.Helper()
		if w := m.Do("POST", "/tasks/"+id+"/input", `{"name":"go","value":1}`); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return m.End(id)
	}
	if v := tell(id); v.Status != "failed" {
		t.Fatalf("%+v", v)
	}
	fail = false
	again := meshtest.Decode[api.Accepted](t, m.Do("POST", "/tasks/"+id+"/retry", `{"from":"go"}`).Body).TaskID
	entries, err := m.Store.Steps.Read(t.Context(), "default", task.ID(again), 0)
	if err != nil || len(entries) == 0 || !strings.Contains(entries[0].Object, "/"+again+"/") {
		t.Errorf("the copy has %+v, %v", entries, err)
	}
	ended := time.Now()
	if n, err := core.Journals.Renew(t.Context(), ended); n < 2 || err != nil {
		t.Errorf("%d were stored anew, %v", n, err)
	}
	if got := aged(ended); len(got) < 2 || slices.ContainsFunc(got, func(name string) bool { return !strings.Contains(name, "/"+id+"/") }) {
		t.Errorf("left as they are, of the task that has ended alone: %v", got)
	}
	if v := tell(again); v.Status != "completed" || string(v.Result) != "614402" {
		t.Errorf("%+v %s", v, v.Result)
	}
}

// Who waits for a person is counted for itself: it is not only scheduled.
func TestStatsCountQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			return agent.Ask[any](ctx, job, "q", agent.Question{Prompt: "?"})
		}))
		id := m.Create(`{"agent":"asks","instruction":"x"}`)
		m.Create(`{"agent":"asks","instruction":"x","delay":"1h"}`)
		time.Sleep(time.Minute)
		check := func(scheduled, asking int) {
			t.Helper()
			s := meshtest.Decode[api.Stats](t, m.Do("GET", "/stats", "").Body)
			if s.Scheduled != scheduled || s.InputRequired != asking {
				t.Errorf("%d scheduled, %d for a person; want %d and %d", s.Scheduled, s.InputRequired, scheduled, asking)
			}
		}
		check(2, 1)
		if w := m.Do("POST", "/tasks/"+id+"/input", `{"value":1}`); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		check(1, 0)
	})
}
