package synadia_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/gateway/synadia"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	protocol "agentmesh/shared/synadia"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

func TestAPromptIsATaskAndItsAnswerEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.NewOn(t, natstest.StartWith(t, server.Options{JetStream: true, StoreDir: t.TempDir(), MaxPayload: 4 << 20}))
		object := meshtest.Named("object", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil })
		object.InputSchema = json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)
		again := meshtest.WithRetry(meshtest.Named("again", func(_ context.Context, job *agent.Job) (any, error) {
			job.Output(fmt.Sprintf("try %d", job.Attempt))
			time.Sleep(time.Second)
			if job.Attempt == 1 {
				return nil, errors.New("no")
			}
			return nil, nil
		}))
		m.Work(object, again,
			meshtest.Named("echo", func(_ context.Context, job *agent.Job) (any, error) { return job.Instruction, nil }),
			meshtest.Named("says", func(ctx context.Context, job *agent.Job) (any, error) {
				job.Progress(70, "reading")
				time.Sleep(time.Second)
				_ = job.Milestone(ctx, "read", "", nil)
				job.Output("one ")
				time.Sleep(time.Second)
				job.Output("two")
				return map[string]string{"text": "one two three"}, nil
			}),
			meshtest.Named("fails", func(context.Context, *agent.Job) (any, error) {
				return nil, &agent.Error{Code: "no_luck", Message: "none today", Permanent: true}
			}),
			meshtest.Named("rejects", func(context.Context, *agent.Job) (any, error) {
				return nil, &agent.Error{Code: "rejected", Message: "no", Permanent: true}
			}),
			meshtest.Named("files", func(_ context.Context, job *agent.Job) (any, error) { return job.Input, nil }),
		)
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		nc := m.Server.Connect(t)
		ack, handle := `status "ack"`, `status "task:tsk_…"`
		for _, tt := range []struct {
			agent, body string
			want        []string
		}{
			{"echo", "hello", []string{ack, handle, `response "hello"`, "end"}},
			{"echo", `{"prompt":"hi","more":1}`, []string{ack, handle, `response "hi"`, "end"}},
			{"object", `{"prompt":"{\"n\":7}"}`, []string{ack, handle, `response "{\"n\":7}"`, "end"}},
			{"object", `{"prompt":"{\"n\":\"x\"}"}`, []string{"error 400", "end"}},
			{"object", "seven", []string{"error 400", "end"}},
			{"echo", "{broken", []string{"error 400", "end"}},
			{"echo", "", []string{"error 400", "end"}},
			{"echo", strings.Repeat("x", 1<<20-10) + strings.Repeat("y", 11), []string{"error 400", "end"}},
			{"says", "x", []string{ack, handle, `status "progress:70 reading"`, `status "milestone:read"`, `response "one "`, `response "two"`, `response " three"`, "end"}},
			{"again", "x", []string{ack, handle, `response "try 1"`, `status "restart"`, `response "try 2"`, "end"}},
			{"fails", "x", []string{ack, handle, "error 500", "end"}},
			{"rejects", "x", []string{ack, handle, "error 403", "end"}},
			{"files", `{"prompt":"x","attachments":[{"filename":"a/b.txt","content":"aGk="}]}`, []string{ack, handle, `response "x"`, `response {"attachments":[{"filename":"b.txt","content":"aGk="}],"text":""}`, "end"}},
			{"echo", "/task tsk_01a21a54c5197ef7b5531d46b5a7f6cf", []string{"error 404", "end"}},
			{"echo", "/cancel tsk_01a21a54c5197ef7b5531d46b5a7f6cf", []string{"error 404", "end"}},
		} {
			check(t, send(t, nc, tt.agent, tt.body).all(), tt.want...)
		}
	})
}

func TestACallerGoesOnByTheTaskAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		slow := meshtest.Named("slow", func(ctx context.Context, job *agent.Job) (any, error) {
			job.Output("begun ")
			select {
			case <-time.After(12 * time.Minute):
				return map[string]string{"text": "begun ended"}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		slow.Timeout = task.Duration(time.Hour)
		m.Work(slow, meshtest.Named("other", meshtest.Says("x")))
		first := bridge(t, m, synadia.Entry{}, 9*time.Minute)
		nc := m.Server.Connect(t)
		a := send(t, nc, "slow", "x")
		id := a.task()
		acks := 0
		for s := a.next(); !strings.HasPrefix(s, "response \"Still"); s = a.next() {
			if s == `status "ack"` {
				acks++
			}
		}
		if acks < 20 || acks > 30 || a.next() != "end" {
			t.Errorf("%d acks in nine minutes", acks)
		}
		present(t, m)
		if got := send(t, nc, "other", "/task "+id).all(); got != "error 404\nend" {
			t.Errorf("at another agent: %s", got)
		}
		// One gateway drains while the caller waits there.
		b := send(t, nc, "slow", `{"prompt":"","task_id":"`+id+`"}`)
		b.task()
		first()
		if got := b.all(); !strings.Contains(got, "Still running. Prompt `/task "+id+"`") || !strings.HasSuffix(got, "\nend") {
			t.Errorf("a drain: %s", got)
		}
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		present(t, m)
		check(t, send(t, nc, "slow", "/task "+id).all(), `status "ack"`, `status "task:tsk_…"`, `response "begun "`, `response "ended"`, "end")
		c := send(t, nc, "slow", "y")
		id = c.task()
		check(t, send(t, nc, "slow", "/cancel "+id).all(), `status "ack"`, `response "The task `+id+` is canceled."`, "end")
		if got := c.all(); !strings.HasSuffix(got, "error 409\nend") {
			t.Errorf("canceled: %s", got)
		}
	})
}

func TestAQuestionIsAQueryAndARepeatIsKnownByItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
			yes, err := agent.Ask[bool](ctx, job, "sure", agent.Question{Prompt: "Sure?"})
			return map[bool]string{true: "done", false: "left"}[yes], err
		}))
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		nc := m.Server.Connect(t)
		a := send(t, nc, "asks", "x", "Idempotency-Key", "k1")
		id := a.task()
		answer := func(a *asking, text string) {
			for {
				raw, ok := strings.CutPrefix(a.next(), "query ")
				if !ok {
					continue
				}
				var q struct {
					ID      string
					Prompt  string
					ReplyTo string `json:"reply_subject"`
				}
				if err := json.Unmarshal([]byte(raw), &q); err != nil || q.ID != "sure" || !strings.HasPrefix(q.Prompt, "Sure?") && !strings.Contains(q.Prompt, "not taken") {
					t.Errorf("%s, %v", raw, err)
				}
				if err := nc.Publish(q.ReplyTo, []byte(text)); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		answer(a, "perhaps") // is asked again
		answer(a, "yes")
		if got := a.all(); !strings.HasSuffix(got, "response \"done\"\nend") {
			t.Error(got)
		}
		if again := send(t, nc, "asks", "x", "Idempotency-Key", "k1").task(); again != id {
			t.Errorf("%s and %s", id, again)
		}
		if got := send(t, nc, "asks", "y", "Idempotency-Key", "k1").all(); got != "error 400\nend" && got != "error 409\nend" {
			t.Errorf("another prompt with the key: %s", got)
		}
	})
}

func TestAgentsAreFoundWhileSomebodyServesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		one, two := meshtest.Named("one", meshtest.Says("1")), meshtest.Named("two", meshtest.Says("2"))
		one.Description = "Says one"
		stop := m.Work(one, two)
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		bridge(t, m, synadia.Entry{}, 9*time.Minute) // of another gateway
		c := protocol.New(m.Server.Connect(t), "")
		beats := map[string]int{}
		var mu sync.Mutex
		hear, err := c.Beats(func(b protocol.Beat) {
			mu.Lock()
			defer mu.Unlock()
			beats[b.InstanceID]++
			if b.Agent != "agentmesh" || b.Owner != "default" || b.Interval != 30 {
				t.Errorf("%+v", b)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer hear()
		found, err := c.Discover(t.Context(), time.Second)
		if err != nil || len(found) != 4 {
			t.Fatalf("%+v, %v", found, err)
		}
		if i := found[0]; i.Name != "one" || i.Description != "Says one" || i.Protocol != "0.3" || i.Version != "1.2.3" || !i.Attachments || len(i.Faults) != 0 || i.PromptSubject != "agents.prompt.agentmesh.default.one" {
			t.Errorf("%+v", i)
		}
		time.Sleep(time.Minute + time.Second)
		mu.Lock()
		if len(beats) != 4 || beats[found[0].ID] != 2 {
			t.Errorf("%v", beats)
		}
		mu.Unlock()
		nc := m.Server.Connect(t)
		for range 20 { // each prompt is answered once
			if got := send(t, nc, "one", "x").all(); !strings.HasSuffix(got, "response \"1\"\nend") || strings.Count(got, "response") != 1 {
				t.Error(got)
			}
		}
		stop()
		time.Sleep(2 * time.Minute)
		if found, err := c.Discover(t.Context(), time.Second); err != nil || len(found) != 0 {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

func TestATalkIsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Counter())
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		nc := m.Server.Connect(t)
		a := send(t, nc, "counter", "one")
		id := ""
		for id == "" {
			if rest, ok := strings.CutPrefix(a.next(), `status "session:`); ok {
				id = strings.TrimSuffix(rest, `"`)
			}
		}
		if got := a.all(); !strings.HasSuffix(got, "end") || !strings.Contains(got, "1") {
			t.Error(got)
		}
		if got := send(t, nc, "counter", "/session "+id+" two").all(); !strings.Contains(got, "response \"2") {
			t.Error(got)
		}
		if got := send(t, nc, "counter", `{"prompt":"x","session_id":"ses_01a21a54c5197ef7b5531d46b5a7f6cf"}`).all(); got != "error 404\nend" {
			t.Error(got)
		}
		signed := func(text string) string {
			who, err := protocol.Sign([]byte("SUAEJ6GDK6FSSB54LD45Q7W25AW7NUT7MVLBABIR5MIPFUTBW7ZNPK2KYE"), "AABYLMBR6Q2CDXTLGRQCFA2GP76BGCDF7NZF2OVHH4RQ7L3Y3TZWJDRL", "", "agents.prompt.agentmesh.default.counter", []byte(text), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return send(t, nc, "counter", text, "Agent-Sender", who).all()
		}
		if one, two := signed("a"), signed("b"); !strings.Contains(one, "response \"1") || !strings.Contains(two, "response \"2") {
			t.Errorf("a verified sender keeps its session:\n%s\n%s", one, two)
		}
	})
}

func TestPromptsOverTheLimitAreToldWhenToComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		end := make(chan struct{})
		slow := meshtest.Named("slow", func(context.Context, *agent.Job) (any, error) { <-end; return "x", nil })
		slow.Concurrency = 200
		m.Work(slow)
		bridge(t, m, synadia.Entry{}, 9*time.Minute)
		nc := m.Server.Connect(t)
		open := make([]*asking, 100)
		for i := range open {
			open[i] = send(t, nc, "slow", "x")
		}
		ids := make([]string, len(open))
		for i, a := range open {
			ids[i] = a.task()
		}
		over := send(t, nc, "slow", "x")
		msg, err := over.sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if code, body := msg.Header.Get("Nats-Service-Error-Code"), string(msg.Data); code != "429" || !strings.Contains(body, `"error":"too_many_prompts"`) || !strings.Contains(body, `"retry_after_s":1`) {
			t.Errorf("%s %s", code, body)
		}
		if s := over.next(); s != "end" {
			t.Errorf("then %s", s)
		}
		first := open[0]
		check(t, send(t, nc, "slow", "/cancel "+ids[0]).all(), `status "ack"`, `response "The task `+ids[0]+` is canceled."`, "end")
		if got := first.all(); !strings.HasSuffix(got, "error 409\nend") {
			t.Errorf("canceled at a full agent: %s", got)
		}
		close(end)
		for _, a := range open[1:] {
			if got := a.all(); !strings.HasSuffix(got, "response \"x\"\nend") {
				t.Error(got)
			}
		}
		if got := send(t, nc, "slow", "x").all(); !strings.HasSuffix(got, "response \"x\"\nend") {
			t.Error(got)
		}
	})
}

func TestOnlySignedPromptsWhereThatIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(meshtest.Named("echo", meshtest.Says("x")))
		bridge(t, m, synadia.Entry{MinTrust: "signed"}, time.Minute)
		nc := m.Server.Connect(t)
		if got := send(t, nc, "echo", "x").all(); got != "error 401\nend" {
			t.Error(got)
		}
		if got := send(t, nc, "echo", "x", "Agent-Sender", "{").all(); got != "error 400\nend" {
			t.Error(got)
		}
		// What was signed counts once, whichever gateway hears it.
		bridge(t, m, synadia.Entry{MinTrust: "signed"}, time.Minute)
		who, err := protocol.Sign([]byte("SUAEJ6GDK6FSSB54LD45Q7W25AW7NUT7MVLBABIR5MIPFUTBW7ZNPK2KYE"), "AABYLMBR6Q2CDXTLGRQCFA2GP76BGCDF7NZF2OVHH4RQ7L3Y3TZWJDRL", "", "agents.prompt.agentmesh.default.echo", []byte("x"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		heard := map[string]int{}
		for range 20 {
			heard[send(t, nc, "echo", "x", "Agent-Sender", who).all()]++
		}
		if heard["error 401\nend"] != 19 || len(heard) != 2 {
			t.Errorf("one signature, shown twenty times to two gateways: %v", heard)
		}
		// The answer goes to nobody's own subjects.
		msg := nats.NewMsg("agents.prompt.agentmesh.default.echo")
		msg.Reply, msg.Data = "mesh.control.cancel.x", []byte("x")
		sub, err := nc.SubscribeSync("mesh.control.>")
		if err == nil {
			err = nc.PublishMsg(msg)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sub.NextMsg(time.Second); err == nil {
			t.Errorf("published to %s", got.Subject)
		}
	})
}
