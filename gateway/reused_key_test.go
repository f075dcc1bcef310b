package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// A key that comes again with another request is refused, also where both requests are
// about one task: an answer to another question, another value, another child.
func TestAKeyOfAnotherRequestAboutTheSameTaskIsRefused(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
		first, err := agent.Ask[string](ctx, job, "first", agent.Question{Prompt: "?"})
		if err != nil {
			return nil, err
		}
		second, err := agent.Ask[string](ctx, job, "second", agent.Question{Prompt: "?"})
		return first + second, err
	}))
	id := m.Create(`{"agent":"asks","instruction":"x"}`)
	send := func(path, body string) *httptest.ResponseRecorder {
		return m.Do("POST", path, body, "Content-Type", "application/json", "Idempotency-Key", "k", "Mesh-Parent-Task", id)
	}
	asked := func(name string) {
		t.Helper()
		natstest.Until(t, name+" is asked", func() bool {
			q := m.Get(id).Question
			return q != nil && q.Name == name
		})
	}
	asked("first")
	input := "/tasks/" + id + "/input"
	for range 2 {
		if w := send(input, `{"name":"first","value":"a"}`); w.Code != http.StatusAccepted {
			t.Fatalf("an answer, and again: %d %s", w.Code, w.Body)
		}
	}
	asked("second")
	for _, other := range []string{`{"name":"first","value":"b"}`, `{"name":"second","value":"b"}`} {
		if w := send(input, other); meshtest.Problem(t, w).Code != "idempotency_key_reused" {
			t.Errorf("%s with the key of another answer: %d %s", other, w.Code, w.Body)
		}
	}
	for range 2 {
		if w := send("/tasks", `{"agent":"asks","instruction":"child"}`); w.Code != http.StatusAccepted {
			t.Fatalf("a child, and again: %d %s", w.Code, w.Body)
		}
	}
	if w := send("/tasks", `{"agent":"asks","instruction":"another"}`); meshtest.Problem(t, w).Code != "idempotency_key_reused" {
		t.Errorf("another child with the key of one: %d %s", w.Code, w.Body)
	}
}

// Of deliveries with one id that come at once one answers the task, whatever they say.
func TestOneOfManyDeliveriesAtOnceAnswersATask(t *testing.T) {
	m := meshtest.New(t)
	m.Work(meshtest.Named("shop", func(ctx context.Context, job *agent.Job) (any, error) {
		return agent.WaitEvent[map[string]any](ctx, job, "payment", time.Hour)
	}))
	k := newHook(m, hook.Stripe, `"signal":{"task":"/task","name":"payment"}`)
	for round := range 5 {
		id := m.Create(`{"agent":"shop","instruction":"sell"}`)
		var mu sync.Mutex
		var calls sync.WaitGroup
		answers := map[int]int{}
		for i := range 10 {
			calls.Go(func() {
				w := k.deliver("", fmt.Sprintf(`{"id":"evt_%d","task":%q,"x":%d}`, round, id, i/5))
				mu.Lock()
				defer mu.Unlock()
				answers[w.Code]++
			})
		}
		calls.Wait()
		if fmt.Sprint(answers) != "map[200:9 202:1]" {
			t.Errorf("round %d: answered %v", round, answers)
		}
	}
}

// Of equal answers without a key that come in the same moment one is taken.
func TestOneOfEqualAnswersInTheSameMomentIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			return agent.Ask[string](ctx, job, "q", agent.Question{Prompt: "?"})
		}))
		for range 5 {
			id := m.Create(`{"agent":"asks","instruction":"x"}`)
			natstest.Until(t, "it is asked", func() bool { return m.Get(id).Question != nil })
			var mu sync.Mutex
			var calls sync.WaitGroup
			answers := map[int]int{}
			for range 10 {
				calls.Go(func() {
					w := m.Do("POST", "/tasks/"+id+"/input", `{"name":"q","value":"yes"}`)
					mu.Lock()
					defer mu.Unlock()
					answers[w.Code]++
				})
			}
			calls.Wait()
			if answers[http.StatusAccepted] != 1 || answers[http.StatusConflict] != 9 {
				t.Errorf("answered %v", answers)
			}
		}
	})
}
