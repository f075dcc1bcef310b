package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

// BenchmarkTurn is one message until its reply, of an agent that does nothing, in
// 1 and in 32 sessions at once, with transcripts of 2 and of 200 messages of 100
// bytes. A session is left for another after 10 turns, so that its length stays.
func BenchmarkTurn(b *testing.B) {
	a := agent.Agent{Definition: agent.Definition{Name: "noop", Concurrency: benchSlots}, Handler: func(context.Context, *agent.Job) (any, error) {
		return agent.Reply{Message: benchText, State: map[string]int{"n": 1}}, nil
	}}
	for _, sync := range []string{"always", "2m"} {
		for _, sessions := range []int{1, 32} {
			for _, messages := range []int{2, 200} {
				b.Run(fmt.Sprintf("sync=%s/sessions=%d/messages=%d", sync, sessions, messages), func(b *testing.B) {
					front, st := benchParts(b, sync == "always", a)
					benchTurns(b, front.URL, st, sessions, messages)
				})
			}
		}
	}
}

var benchText = strings.Repeat("0123456789", 10)

func benchTurns(b *testing.B, url string, st *store.Store, sessions, messages int) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer c.CloseIdleConnections()
	one := func(id string) {
		resp, err := c.Post(url+"/sessions/"+id+"/messages", "application/json", strings.NewReader(`{"text":"`+benchText+`"}`))
		if err != nil {
			b.Error(err)
			return
		}
		raw, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Errorf("status %d %s", resp.StatusCode, raw)
		}
	}
	talk := func(next func() bool) {
		id := ""
		for n := 0; next(); n++ {
			if n%10 == 0 {
				id = benchSession(b, st, messages)
			}
			one(id)
		}
	}
	for range 8 { // connections
		one(benchSession(b, st, 2))
	}
	b.ResetTimer()
	if sessions == 1 {
		talk(b.Loop)
	} else {
		b.SetParallelism(sessions / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) { talk(pb.Next) })
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "turns/s")
}

// benchSession stores a session of some length.
func benchSession(b *testing.B, st *store.Store, messages int) string {
	s := session.New(session.NewID(uuid.Must(uuid.NewV7())), "default", "noop", "", time.Now())
	turn := &task.Task{ID: task.NewID(task.KindTurn, uuid.Must(uuid.NewV7())), Instruction: benchText, CreatedAt: task.Stamp(time.Now())}
	for range messages / 2 {
		s.Commit(turn, benchText, nil, time.Now())
	}
	if err := st.Sessions.Save(context.Background(), s); err != nil {
		b.Fatal(err)
	}
	return string(s.ID)
}
