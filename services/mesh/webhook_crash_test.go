package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// TestCrashLosesNoCallback kills a real `mesh up` while callbacks and push
// notifications of A2A go out, some of them refused at first: the outcome of every
// accepted action and message arrives (I4), each time with the same id and the same
// bytes.
func TestCrashLosesNoCallback(t *testing.T) {
	natstest.LongUnderRace(t)
	t.Parallel() // it waits for leases and retries most of the time
	kills := 4
	if *meshtest.Chaos {
		kills = 60
	}
	var mu sync.Mutex
	bodies := map[string][]byte{} // by webhook-id
	outcomes := map[string]int{}  // by action
	r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // killed in the middle
		}
		id := r.Header.Get("Webhook-Id")
		mu.Lock()
		defer mu.Unlock()
		if first, ok := bodies[id]; !ok {
			bodies[id] = body
			if rand.IntN(4) == 0 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		} else if !bytes.Equal(first, body) {
			t.Errorf("%s came with other bytes:\n%s\n%s", id, first, body)
		}
		if of := toldOf(body); of != "" {
			outcomes[of]++
		}
	}))
	defer r.Close()
	dir := filepath.Join(t.TempDir(), "data")
	accepted := map[string]bool{}
	for n := range kills {
		p := startUp(t, dir)
		c, err := client.New(p.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for k := range 3 {
			load.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					a, err := c.Actions.Create(ctx, client.Request{Agent: "echo", Instruction: fmt.Sprintf("%d-%d-%d", n, k, i), MaxAttempts: new(100), CallbackURL: r.URL}, client.CreateOptions{})
					if err != nil {
						return
					}
					mu.Lock()
					accepted[a.ActionID] = true
					mu.Unlock()
					<-time.After(5 * time.Millisecond)
				}
			})
		}
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := pushed(p.Gateway, r.URL, fmt.Sprintf("push-%d-%d", n, i))
				if id == "" {
					return
				}
				mu.Lock()
				accepted[id] = true
				mu.Unlock()
				<-time.After(20 * time.Millisecond)
			}
		})
		<-time.After(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		p.Kill()
		cancel()
		load.Wait()
	}
	startUp(t, dir)
	missing := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for id := range accepted {
			if outcomes[id] == 0 {
				n++
			}
		}
		return n
	}
	natstest.Until(t, "all outcomes arrive", func() bool { return missing() == 0 })
	mu.Lock()
	defer mu.Unlock()
	again := 0
	for id, n := range outcomes {
		if n > 1 {
			again++
		}
		if !accepted[id] {
			accepted[id] = true // its answer was lost by a kill
		}
	}
	t.Logf("%d kills, %d actions, %d told more than once", kills, len(accepted), again)
}

// toldOf is the action or the task whose outcome a receiver is told; empty: something
// else is.
func toldOf(body []byte) string {
	var told struct {
		ActionID     string `json:"action_id"`
		StatusUpdate struct {
			TaskID string
			Status struct{ State string }
		}
	}
	_ = json.Unmarshal(body, &told)
	if told.StatusUpdate.Status.State == "TASK_STATE_COMPLETED" {
		return told.StatusUpdate.TaskID
	}
	return told.ActionID
}

// pushed sends a message of A2A whose outcome a receiver is told, and returns the id of
// its task; empty: no answer came.
func pushed(gateway, receiver, key string) string {
	resp := overA2A(gateway, "echo", "SendMessage", fmt.Sprintf(
		`{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},"configuration":{"returnImmediately":true,"taskPushNotificationConfig":{"url":%q}}}`, receiver), key)
	if resp == nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	var a struct {
		Result struct{ Task struct{ ID string } }
	}
	_ = json.NewDecoder(resp.Body).Decode(&a)
	return a.Result.Task.ID
}
