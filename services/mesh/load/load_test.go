package load_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"agentmesh/services/mesh/load"
)

// standIn answers as a mesh does.
type standIn struct {
	accepted, canceled atomic.Int64
	refuse             func(n int64) int // status of the nth accept, 0: 202
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const done = `{"task_id":"tsk_1","status":"completed","done":true,"created_at":"2026-05-19T10:00:00Z","finished_at":"2026-05-19T10:00:02Z"}`
	switch {
	case strings.HasSuffix(r.URL.Path, "/cancel"):
		s.canceled.Add(1)
		fmt.Fprint(w, done)
	case r.Method == "GET" || r.Header.Get("Prefer") != "":
		fmt.Fprint(w, done)
	default:
		n := s.accepted.Add(1)
		if s.refuse != nil {
			if status := s.refuse(n); status != 0 {
				w.WriteHeader(status)
				fmt.Fprint(w, `{"code":"rate_limited","detail":"slow down"}`)
				return
			}
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"task_id":"tsk_%d"}`, n)
	}
}

func measure(t *testing.T, ctx context.Context, s *standIn, tasks, clients int) (load.Result, error) {
	t.Helper()
	srv := httptest.NewServer(s)
	defer srv.Close()
	return load.Run(ctx, load.Config{URLs: []string{srv.URL}, Agent: "echo", Tasks: tasks, Clients: clients})
}

// Every task is sent once in each part, and the backlog is timed by the records.
func TestEveryTaskIsMeasured(t *testing.T) {
	s := &standIn{}
	r, err := measure(t, t.Context(), s, 50, 4)
	if err != nil || s.accepted.Load() != 50 || r.Accept.Tasks != 50 || r.WholePath.Tasks != 50 || r.Backlog.Completed != 50 {
		t.Fatalf("%+v %v", r, err)
	}
	if r.Backlog.Seconds != 2 || r.Backlog.PerSecond != 25 {
		t.Errorf("the backlog took %+v, want 2 s by the records", *r.Backlog)
	}
	if a := r.Accept; a.P50 <= 0 || a.P50 > a.P90 || a.P90 > a.P99 || a.P99 > a.P999 || a.P999 > a.Max {
		t.Errorf("percentiles %+v", *a)
	}
}

// An interrupted run has the figures so far, and cancels what it has started.
func TestAnInterruptedRunHasItsFiguresAndCancels(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s := &standIn{refuse: func(n int64) int {
		if n == 20 {
			stop()
		}
		return 0
	}}
	r, err := measure(t, ctx, s, 1000, 2)
	if err != nil || !r.Interrupted || r.Accept.Tasks < 19 || r.Accept.Tasks > 30 || r.WholePath != nil {
		t.Fatalf("%+v %v", r, err)
	}
	if n := s.canceled.Load(); int(n) != r.Accept.Tasks || r.Canceled != int(n) {
		t.Errorf("%d canceled of %d, it says %d", n, r.Accept.Tasks, r.Canceled)
	}
}

// A refusal ends the run: what was measured until then is no rate of the mesh.
func TestARefusalEndsTheRun(t *testing.T) {
	s := &standIn{refuse: func(n int64) int {
		if n > 10 {
			return http.StatusTooManyRequests
		}
		return 0
	}}
	_, err := measure(t, t.Context(), s, 1000, 2)
	var refused *load.Refused
	if !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests || refused.Code != "rate_limited" {
		t.Errorf("%v", err)
	}
	if s.accepted.Load() > 20 || s.canceled.Load() != 10 {
		t.Errorf("%d sent, %d canceled", s.accepted.Load(), s.canceled.Load())
	}
}
