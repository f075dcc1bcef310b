package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// program is an agent that is started again from its top in each run, as exec and
// http run theirs: say gives its lines for the object that it gets.
func program(name string, objects *[]string, say func(object string) string) agent.Agent {
	return meshtest.Named(name, func(ctx context.Context, job *agent.Job) (any, error) {
		book, err := protocol.OpenBook(ctx, job, nil)
		for err == nil {
			raw, err := book.Encode("", "")
			if err != nil {
				return nil, err
			}
			*objects = append(*objects, string(raw[strings.Index(string(raw), `"run"`):len(raw)-1]))
			o, err := protocol.ReadDurable(ctx, strings.NewReader(say(string(raw))), job, book, nil)
			if err != nil {
				return nil, err
			}
			value, again, err := book.Ended(o)
			if !again {
				return value, err
			}
			if book, err = book.Await(ctx); err != nil {
				return nil, err
			}
		}
		return nil, err
	})
}

// A program that asks lets go of its slot and its message, and is started again with
// what it has finished and the answer.
func TestAProgramThatAsksIsToldItsStepsAndTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var objects []string
		m.Work(program("asks", &objects, func(object string) string {
			if strings.Contains(object, `"kind":"answer"`) {
				return `{"type":"result","result":"refunded"}`
			}
			return `{"type":"step","name":"charge","value":{"n":1}}` + "\n" + `{"type":"started","name":"mail"}` + "\n" + `{"type":"checkpoint","value":7,"ack":true}` + "\n" +
				`{"type":"step","name":"gone","error":{"code":"declined","message":"no"}}` + "\n" + `{"type":"ask","name":"approve","prompt":"Refund?","schema":{"type":"boolean"}}`
		}))
		id := m.Create(`{"agent":"asks","input":1}`)
		rec := record(t, m, id, func(r *task.Task) bool { return r.Status == task.InputRequired })
		if q := rec.Questions(); len(q) != 1 || q[0].Prompt != "Refund?" || string(q[0].Schema) != `{"type":"boolean"}` || !rec.Suspended {
			t.Errorf("%+v", rec)
		}
		if err := answer(t, m, id, "approve", `"yes"`); err == nil {
			t.Error("an answer against the schema was taken")
		}
		if err := answer(t, m, id, "approve", "true"); err != nil {
			t.Fatal(err)
		}
		v := m.End(id)
		want := `"run":2,"steps":[{"name":"charge","n":0,"value":{"n":1}},{"name":"mail","n":0,"kind":"started"},{"name":"gone","n":0,"error":{"code":"declined","message":"no"}},{"name":"approve","n":0,"kind":"answer","value":true}],"checkpoint":7`
		if v.Status != "completed" || string(v.Result) != `"refunded"` || v.Attempt != 1 || len(objects) != 2 || objects[0] != `"run":1` || objects[1] != want {
			t.Errorf("%+v %+v\n%s\nwant %s", v, v.Error, strings.Join(objects, "\n"), want)
		}
	})
}

// What is over soon is waited for in place, and what a program waits for beside it
// keeps its time.
func TestAProgramThatWaitsForTwoThingsGoesOnWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var objects []string
		began := time.Now()
		m.Work(program("naps", &objects, func(object string) string {
			short, long := strings.Contains(object, `"name":"short"`), strings.Contains(object, `"name":"long"`)
			var lines []string
			if !short {
				lines = append(lines, `{"type":"sleep","name":"short","for":"10s"}`)
			}
			if !long {
				lines = append(lines, `{"type":"sleep","name":"long","for":"25s"}`)
			}
			if lines == nil {
				return `{"type":"result","result":1}`
			}
			return strings.Join(lines, "\n")
		}))
		v := m.End(m.Create(`{"agent":"naps","input":1}`))
		took := time.Since(began)
		if v.Status != "completed" || took < 25*time.Second || took > 27*time.Second || len(objects) != 3 || objects[1] != `"run":2,"steps":[{"name":"short","n":0,"kind":"sleep"}]` {
			t.Errorf("%+v %+v in %v\n%s", v, v.Error, took, strings.Join(objects, "\n"))
		}
	})
}

// An answer goes on with a program that sleeps as well, which sleeps on to its time.
func TestAProgramThatSleepsAndAsksGoesOnWithTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var objects []string
		var at []time.Duration
		began := time.Now()
		m.Work(program("both", &objects, func(object string) string {
			at = append(at, time.Since(began).Round(time.Second))
			nap, told := `{"type":"sleep","name":"nap","for":"1h"}`, `{"type":"ask","name":"approve"}`
			switch {
			case strings.Contains(object, `"kind":"sleep"`):
				return `{"type":"result","result":1}`
			case strings.Contains(object, `"kind":"answer"`):
				return nap
			}
			return nap + "\n" + told
		}))
		id := m.Create(`{"agent":"both","input":1}`)
		record(t, m, id, func(r *task.Task) bool { return r.Suspended })
		time.Sleep(10 * time.Minute)
		if err := answer(t, m, id, "approve", "true"); err != nil {
			t.Fatal(err)
		}
		if v := m.End(id); v.Status != "completed" || fmt.Sprint(at) != "[0s 10m0s 1h0m0s]" {
			t.Errorf("%+v %+v at %v\n%s", v, v.Error, at, strings.Join(objects, "\n"))
		}
	})
}

// A question that nobody answers in time comes back as a failure, once.
func TestAProgramIsToldThatNoAnswerCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var objects []string
		m.Work(program("late", &objects, func(object string) string {
			if strings.Contains(object, `"code":"input_timeout"`) {
				return `{"type":"result","result":"gave up"}`
			}
			return `{"type":"ask","name":"approve","timeout":"2h"}`
		}))
		began := time.Now()
		id := m.Create(`{"agent":"late","input":1}`)
		time.Sleep(2*time.Hour - time.Minute)
		v := m.End(id)
		if took := time.Since(began); v.Status != "completed" || string(v.Result) != `"gave up"` || took < 2*time.Hour || len(objects) != 2 {
			t.Errorf("%+v %+v in %v\n%s", v, v.Error, took, strings.Join(objects, "\n"))
		}
	})
}

// Large values of steps come back whole, and a further attempt has them, too.
func TestAnotherAttemptOfAProgramHasItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var objects []string
		big := strings.Repeat("x", 300<<10)
		m.Work(meshtest.WithRetry(program("fails", &objects, func(object string) string {
			if strings.Contains(object, big) {
				return `{"type":"result","result":"has it"}`
			}
			return fmt.Sprintf(`{"type":"step","name":"big","value":%q}`, big) + "\n" + `{"type":"error","code":"away","message":"for a moment"}`
		})))
		v := m.End(m.Create(`{"agent":"fails","input":1}`))
		var result string
		if err := json.Unmarshal(v.Result, &result); err != nil || result != "has it" || v.Attempt != 2 || len(objects) != 2 || !strings.HasPrefix(objects[1], `"run":2,`) {
			t.Errorf("%+v %+v %d", v, v.Error, len(objects))
		}
		noJournals(t, m)
	})
}

// A program of the protocol steps asks in a session: the prompt is its reply, and the next
// message begins it again with the answer and with what it had finished.
func TestAProgramAsksInASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		var objects []string
		m.Work(program("asks", &objects, func(object string) string {
			if strings.Contains(object, `"kind":"answer"`) {
				return `{"type":"reply","message":"refunded","state":{"done":true}}`
			}
			return `{"type":"step","name":"charge","value":"` + strings.Repeat("x", 300<<10) + `"}` + "\n" + `{"type":"ask","name":"approve","prompt":"Refund?","schema":{"type":"boolean"}}`
		}))
		id := m.Session("asks")
		if v := m.Say(200, id, "pay back"); v.Message != "Refund?" {
			t.Fatalf("%+v", v)
		}
		if v := m.Say(200, id, "yes"); v.Message != "refunded" || len(objects) != 2 {
			t.Fatalf("%+v, %d runs", v, len(objects))
		}
		if !strings.HasPrefix(objects[1], `"run":1,"steps":[{"name":"charge","n":0,"value":"xxx`) || !strings.HasSuffix(objects[1], `{"name":"approve","n":0,"kind":"answer","value":true}]`) {
			t.Errorf("%.80s ... %s", objects[1], objects[1][max(0, len(objects[1])-200):])
		}
	})
}
