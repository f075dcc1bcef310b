package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	core "agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// lostWork is what a reconciler says of work that it puts back.
const lostWork = "would have been lost"

// restarts are the two ways in which a mesh ends and begins again.
var restarts = map[string]func(*meshtest.Process){
	"after SIGTERM": func(p *meshtest.Process) { p.Signal(syscall.SIGTERM); <-p.Done },
	"after kill -9": func(p *meshtest.Process) { p.Kill() },
}

// Three tasks run while eighty others are canceled, some of them between their
// delivery and their claim. A restart must find the three.
func TestCancelsLoseNoOtherTask(t *testing.T) {
	for name, end := range restarts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			p := startUp(t, dir, "--drain", "0s")
			var ids []string
			for i := range 3 {
				ids = append(ids, mustPost(t, p.Gateway, fmt.Sprint("long-", i), `{"echo_delay":"8s"}`))
			}
			for i := range 80 {
				cancelTask(t, p.Gateway, mustPost(t, p.Gateway, fmt.Sprint("short-", i), `{"echo_delay":"30s"}`))
			}
			end(p)
			p = startUp(t, dir)
			allEnd(t, p.Gateway, ids, "completed")
			if log := p.Output.String(); strings.Contains(log, lostWork) {
				t.Errorf("the reconciler had to put work back:\n%s", log)
			}
		})
	}
}

// Tasks are canceled at random while others run, over restarts: every accepted
// task ends, scheduled ones and turns, too, and nothing had to be put back.
func TestRandomCancelsLoseNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "data")
	rounds := 3
	if *meshtest.Chaos {
		rounds = 40
	}
	var ids []string
	for range rounds {
		p := startUp(t, dir, "--drain", "0s")
		c, err := client.New(p.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		var fresh []string
		for range 60 {
			id, err := randomTask(t.Context(), c, rnd)
			if err != nil {
				t.Fatal(err)
			}
			fresh = append(fresh, id)
			if k := rnd.IntN(len(fresh)); rnd.IntN(2) == 0 {
				cancelTask(t, p.Gateway, fresh[k])
			}
		}
		ids = append(ids, fresh...)
		if rnd.IntN(2) == 0 {
			p.Kill()
		} else {
			p.Signal(syscall.SIGTERM)
			<-p.Done
		}
		if log := p.Output.String(); strings.Contains(log, lostWork) {
			t.Errorf("the reconciler had to put work back:\n%s", log)
		}
	}
	p := startUp(t, dir)
	allEnd(t, p.Gateway, ids, "completed", "canceled")
	if log := p.Output.String(); strings.Contains(log, lostWork) {
		t.Errorf("the reconciler had to put work back:\n%s", log)
	}
}

// randomTask accepts a task that runs at once, later or in a session.
func randomTask(ctx context.Context, c *client.Client, rnd *rand.Rand) (id string, err error) {
	delay := time.Duration(rnd.IntN(400)) * time.Millisecond
	r := client.Request{Agent: "echo", MaxAttempts: new(50), Input: json.RawMessage(`{}`)}
	switch rnd.IntN(4) {
	case 0:
		s, err := c.Sessions.Create(ctx, "travel", client.CreateOptions{})
		if err != nil {
			return "", err
		}
		turn, err := c.Sessions.Say(ctx, s.SessionID, "Find flights to Tokyo.", client.SayOptions{Async: true})
		if err != nil {
			return "", err
		}
		return turn.TurnID, nil
	case 1:
		r.Delay = delay.String()
	default:
		r.Input = json.RawMessage(fmt.Sprintf(`{"echo_delay":%q}`, delay))
	}
	t, err := c.Tasks.Create(ctx, r, client.CreateOptions{})
	if err != nil {
		return "", err
	}
	return t.TaskID, nil
}

// The same on three nodes, whose leaders change all the time.
func TestCancelsLoseNothingWhileLeadersChange(t *testing.T) {
	t.Parallel() // it waits for leaders
	natstest.Long(t)
	nodes := natstest.StartCluster(t)
	connect := func(i int) (*store.Store, *nats.Conn) {
		nc := nodes.Nodes[i].Connect(t)
		st, err := store.Open(t.Context(), nc, store.DefaultOptions(3))
		if err != nil {
			t.Fatal(err)
		}
		return st, nc
	}
	st, nc := connect(0)
	cfg := gateway.Default()
	cfg.HTTP = "127.0.0.1:0"
	g, err := gateway.New(cfg, st, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	m := &meshtest.Mesh{T: t, Store: st, NC: nc, Gateway: g}
	wcfg := worker.Default()
	wcfg.Lease = time.Second
	for i := 1; i < 3; i++ {
		st, _ := connect(i)
		m.WorkWith(wcfg, st, meshtest.Named("echo", func(ctx context.Context, job *agent.Job) (any, error) {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			return "done", context.Cause(ctx)
		}))
	}
	said := &meshtest.Transcript{}
	reconciler := core.NewReconciler(st, "test", slog.New(slog.NewTextHandler(said, nil)))
	var load sync.WaitGroup
	var ids []string
	load.Go(func() {
		for i := range 150 {
			w := m.Do("POST", "/tasks", `{"agent":"echo","max_attempts":50,"input":{}}`, "Idempotency-Key", fmt.Sprintf(`"k%d"`, i))
			if w.Code != http.StatusAccepted {
				continue
			}
			id := meshtest.Decode[client.Task](t, w.Body).TaskID
			ids = append(ids, id)
			if i%2 == 0 {
				m.Do("POST", "/tasks/"+id+"/cancel", "")
			}
		}
	})
	for range 5 {
		natstest.StepDown(t, nc, topology.Tasks)
		natstest.StepDown(t, nc, topology.BucketStream(topology.TasksBucket))
	}
	load.Wait()
	if len(ids) < 75 {
		t.Errorf("only %d tasks were accepted", len(ids))
	}
	for _, id := range ids {
		natstest.Until(t, id+" ends", func() bool {
			w := m.Do("GET", "/tasks/"+id, "", "Prefer", "wait=5") // 503 while a leader is elected
			return w.Code == http.StatusOK && meshtest.Decode[client.Task](t, w.Body).Done
		})
	}
	if err := reconciler.Look(t.Context()); err != nil || strings.Contains(said.String(), lostWork) {
		t.Errorf("%v %s", err, said)
	}
}

func mustPost(t *testing.T, gateway, key, input string) string {
	t.Helper()
	id, err := post(t.Context(), gateway, key, input)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// cancelTask cancels a task, which may have ended.
func cancelTask(t *testing.T, gateway, id string) {
	t.Helper()
	resp, err := http.Post(gateway+"/tasks/"+id+"/cancel", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusConflict {
		t.Fatalf("cancel of %s: %s", id, resp.Status)
	}
}

// allEnd waits until every task has ended in one of the states.
func allEnd(t *testing.T, gateway string, ids []string, states ...string) {
	t.Helper()
	c, err := client.New(gateway)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, id := range ids {
		got, err := c.Tasks.Wait(ctx, id)
		if err != nil {
			t.Fatalf("task %s does not end: %v", id, err)
		}
		if !strings.Contains(strings.Join(states, " "), string(got.Status)) {
			t.Errorf("task %s is %s (%+v), want one of %v", id, got.Status, got.Error, states)
		}
	}
}
