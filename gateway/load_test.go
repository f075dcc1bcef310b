package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agents/echo"
)

// A reader that does not read is cut, and the others do not notice.
func TestAReaderThatDoesNotReadIsCut(t *testing.T) {
	m := meshtest.New(t)
	next := make(chan string)
	m.Work(meshtest.Steps(next))
	srv, c := m.Serve()
	id := m.Create(`{"agent":"steps","instruction":"x"}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/tasks/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(slow) // its body is never read
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	done := make(chan int)
	go func() {
		n := 0
		for e, err := range c.Tasks.Events(ctx, id) {
			if err == nil && e.Output != "" {
				n += len(e.Output)
			}
		}
		done <- n
	}()
	line := strings.Repeat("x", 60<<10)
	for range 150 { // more than the sockets hold
		next <- "o" + line
	}
	next <- "end"
	select {
	case n := <-done:
		if n == 0 {
			t.Error("the other reader got nothing")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the other reader waits for the slow one")
	}
	m.End(id)
}

// 1,000 long polls on one gateway: no consumer for any of them, all answered,
// and afterwards the goroutines are back (I13).
func TestAThousandWaitersCostNoConsumer(t *testing.T) {
	m := meshtest.New(t)
	next := make(chan string)
	m.Work(meshtest.Steps(next))
	id := m.Create(`{"agent":"steps","instruction":"x"}`)
	natstest.Until(t, "it runs", func() bool { return m.Get(id).Status == "processing" })
	consumers, before, gone := m.Server.NumConsumers(t), runtime.NumGoroutine(), natstest.Goroutines(t)
	const waiters = 1000
	var wg sync.WaitGroup
	codes := make([]string, waiters)
	for i := range waiters {
		wg.Go(func() {
			w := m.Do("GET", "/tasks/"+id, "", "Prefer", "wait=60")
			for w.Code == http.StatusServiceUnavailable { // all begin at once: a busy machine asks some to come again
				w = m.Do("GET", "/tasks/"+id, "", "Prefer", "wait=60")
			}
			codes[i] = strconv.Itoa(w.Code) + meshtest.Decode[client.Task](t, w.Body).Status
		})
	}
	subs := func() int { return int(m.Server.NumSubscriptions()) }
	natstest.Until(t, "all wait", func() bool { return subs() >= waiters })
	if n := m.Server.NumConsumers(t); n != consumers {
		t.Errorf("%d consumers with %d waiters, %d without", n, waiters, consumers)
	}
	if n := runtime.NumGoroutine() - before; n > waiters+100 {
		t.Errorf("%d goroutines for %d waiters, the callers' own included", n, waiters)
	}
	next <- "end"
	wg.Wait()
	for i, got := range codes {
		if got != "200completed" {
			t.Fatalf("waiter %d got %s", i, got)
		}
	}
	natstest.Until(t, "subscriptions are gone", func() bool { return subs() < waiters/5 })
	gone()
}

// After a load goroutines and descriptors are where they were, and the data
// opens again at once (I13).
func TestALoadLeavesNothingBehind(t *testing.T) {
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system does not list descriptors")
		}
		return len(all)
	}
	dir := t.TempDir()
	gone, files := natstest.Goroutines(t), descriptors()
	t.Run("load", func(t *testing.T) {
		m := meshtest.NewIn(t, dir)
		m.Work(echo.Agent())
		srv, c := m.Serve()
		defer srv.Close()
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := range 20 {
					task, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Input: json.RawMessage(`1`)}, client.CreateOptions{})
					if err != nil {
						t.Error(err)
						return
					}
					if i%4 == 0 {
						for _, err := range c.Tasks.Events(t.Context(), task.TaskID) {
							if err != nil {
								t.Error(err)
							}
						}
					}
					if i%5 == 0 {
						_, _ = c.Tasks.Cancel(t.Context(), task.TaskID) // either outcome is right
					}
					if _, err := c.Tasks.Wait(t.Context(), task.TaskID); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	m := meshtest.NewIn(t, dir) // opens again at once
	m.NC.Close()
	m.Server.Stop()
	m.Gateway.Close()
	gone()
	natstest.Until(t, "descriptors are back", func() bool { return descriptors() <= files+3 })
}
