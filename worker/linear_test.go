package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/meshtest/history"
	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// Tasks are linearizable from outside: several gateways whose answers get lost, workers
// that are cut off while they work and come back after their lease, cancels, retries
// and repeats at once, and questions that two people answer at a time; one record,
// changed by one step at a time, explains what every client was told (W2, W3, W6, W9,
// G5, G7).
func TestTasksAreLinearizable(t *testing.T) {
	m := meshtest.New(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	gates := []*meshtest.Gate{{Server: m.Server}, {Server: m.Server}, {Server: m.Server}}
	gateways := []http.Handler{m.Gateway.Handler(), m.BareGateway(m.StoreThrough(gates[0])).Handler()}
	moody := meshtest.Named("moody", func(ctx context.Context, job *agent.Job) (any, error) {
		r := rand.New(rand.NewPCG(seed, uint64(job.Attempt)*7919+uint64(len(job.Input))))
		mood := r.IntN(6)
		// A step, so that a run that goes on behind its question tells no progress again.
		if _, err := agent.Step(ctx, job, "work", func(ctx context.Context, _ agent.StepInfo) (bool, error) {
			for percent := 10; percent <= 90; percent += 40 {
				job.Progress(percent, "")
				select {
				case <-time.After(time.Duration(r.IntN(80)) * time.Millisecond):
				case <-ctx.Done():
					return false, context.Cause(ctx)
				}
			}
			return true, nil
		}); err != nil {
			return nil, err
		}
		switch mood {
		case 0:
			return nil, errors.New("not yet")
		case 1:
			return nil, agent.Permanent(errors.New("never"))
		}
		said, err := agent.Ask[string](ctx, job, "go on", agent.Question{Prompt: "Go on?", Timeout: 300 * time.Millisecond})
		if err != nil && !errors.Is(err, agent.ErrInputTimeout) {
			return nil, err
		}
		return map[string]any{"attempt": job.Attempt, "input": job.Input, "said": said}, nil
	})
	moody.Retry.Backoff, moody.Retry.MaxBackoff = task.Duration(100*time.Millisecond), task.Duration(time.Second)
	cfg := worker.Default()
	cfg.Lease = time.Second
	m.WorkWith(cfg, m.Store, moody)
	m.WorkWith(cfg, m.StoreThrough(gates[1]), moody)
	m.WorkWith(cfg, m.StoreThrough(gates[2]), moody)

	h := history.New()
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 6 {
		c := &guest{h: h, gateways: gateways, rnd: rand.New(rand.NewPCG(seed, uint64(i))), name: fmt.Sprint("c", i)}
		all.Go(func() { c.live(ctx) })
	}
	for i, gate := range gates {
		all.Go(func() { // lost acknowledgements; abandoned workers
			rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for ctx.Err() == nil {
				<-time.After(time.Duration(100+rnd.IntN(300)) * time.Millisecond)
				gate.Freeze()
				<-time.After(time.Duration(rnd.IntN(1400)) * time.Millisecond)
				gate.Thaw()
			}
		})
	}
	all.Wait()
	last := &guest{h: h, gateways: gateways[:1], rnd: rand.New(rand.NewPCG(seed, 99))}
	for _, task := range h.Made() {
		natstest.Until(t, "the task has an end", func() bool { return last.read(task[0], task[1]).Ended() })
	}
	h.Check(t)
	if h.Len() < 50 {
		t.Errorf("only %d operations", h.Len())
	}
}

// guest is a client of any of the gateways.
type guest struct {
	h        *history.History
	gateways []http.Handler
	rnd      *rand.Rand
	name     string
}

func (c *guest) do(op history.Op, method, path, body, key string) history.Told {
	end := c.h.Begin(op)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", `"`+key+`"`)
	}
	w := httptest.NewRecorder()
	c.gateways[c.rnd.IntN(len(c.gateways))].ServeHTTP(w, r)
	told := history.OfHTTP(op.Kind, w.Code, w.Body.Bytes(), ctx.Err())
	end(told)
	return told
}

func (c *guest) read(key, id string) history.Told {
	return c.do(history.Op{Task: key, Kind: history.Read}, "GET", "/tasks/"+id, "", "")
}

func (c *guest) live(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%s-%d", c.name, i)
		body, _ := json.Marshal(map[string]any{"agent": "moody", "input": key, "max_attempts": 50})
		create := func() history.Told {
			return c.do(history.Op{Task: key, Kind: history.Create}, "POST", "/tasks", string(body), key)
		}
		told := create()
		for told.Verdict != history.Done && ctx.Err() == nil {
			told = create()
		}
		if told.ID == "" {
			return
		}
		for range 6 {
			switch c.rnd.IntN(10) {
			case 0:
				c.do(history.Op{Task: key, Kind: history.Cancel}, "POST", "/tasks/"+told.ID+"/cancel", "", "")
			case 1:
				c.do(history.Op{Task: key, Kind: history.Retry}, "POST", "/tasks/"+told.ID+"/retry", "", "")
			case 2:
				create()
			case 3, 4:
				c.answer(key, told.ID)
			default:
				c.read(key, told.ID)
			}
			<-time.After(time.Duration(c.rnd.IntN(60)) * time.Millisecond)
		}
	}
}

// answer has two people answer the question of a task at once, each something else.
func (c *guest) answer(key, id string) {
	var both sync.WaitGroup
	for range 2 {
		one := &guest{h: c.h, gateways: c.gateways, rnd: rand.New(rand.NewPCG(c.rnd.Uint64(), 0))}
		both.Go(func() {
			says := fmt.Sprint(one.rnd.Uint32())
			one.do(history.Op{Task: key, Kind: history.Answer, Says: says}, "POST", "/tasks/"+id+"/input", fmt.Sprintf(`{"name":"go on","value":%q}`, says), "")
		})
	}
	both.Wait()
}
