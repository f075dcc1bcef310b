package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// Who follows a task, or waits for it, while it is deleted learns so, also where its end was
// missed: the connection to the store was cut. A stream ends, and a reader that comes again
// finds no task.
func TestWhoFollowsATaskThatIsDeletedLearnsSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		end := make(chan struct{})
		m.Work(meshtest.Named("a", func(context.Context, *agent.Job) (any, error) {
			<-end
			return "done", nil
		}))
		line := &meshtest.Gate{Server: m.Server.Server}
		far := m.NewGateway(m.StoreThrough(line)).Handler()
		id := m.Create(`{"agent":"a","instruction":"x"}`)
		time.Sleep(time.Second)
		var answers []*httptest.ResponseRecorder
		done := make(chan time.Time, 2)
		for _, path := range []string{"/events", ""} {
			w := httptest.NewRecorder()
			answers = append(answers, w)
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/tasks/"+id+path, nil)
			r.Header.Set("Prefer", "wait=60")
			go func() {
				far.ServeHTTP(w, r)
				done <- time.Now()
			}()
		}
		time.Sleep(time.Second)
		line.Refuse()
		close(end)
		time.Sleep(time.Second)
		if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != http.StatusNoContent {
			t.Fatalf("delete = %d %s", w.Code, w.Body)
		}
		line.Admit()
		began := time.Now()
		for range answers {
			select {
			case <-done:
			case <-time.After(10 * time.Minute):
				t.Fatal("somebody follows for ever")
			}
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took them %v", took)
		}
		if w := answers[0]; w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"completed"`) {
			t.Errorf("the stream = %d %s", w.Code, w.Body)
		}
		if w := answers[1]; w.Code != http.StatusNotFound || meshtest.Problem(t, w).Code != "task_not_found" {
			t.Errorf("the wait = %d %s", w.Code, w.Body)
		}
	})
}

// Who reads a large result while its task is deleted does not take a part for the whole: the
// answer ends before its Content-Length is reached. A repeat says why.
func TestAResultThatIsDeletedWhileItIsReadEndsShort(t *testing.T) {
	natstest.LongUnderRace(t)
	m := meshtest.New(t)
	m.Work(meshtest.Named("a", meshtest.Says(strings.Repeat("x", 24<<20)))) // more than is on its way at once
	srv, _ := m.Serve()
	id := m.Create(`{"agent":"a","instruction":"x"}`)
	m.End(id)
	ask := func() *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/tasks/"+id+"/result", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	resp := ask()
	if w := m.Do("DELETE", "/tasks/"+id, ""); w.Code != http.StatusNoContent {
		t.Fatalf("delete = %d %s", w.Code, w.Body)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) || n >= resp.ContentLength {
		t.Errorf("%d with %d of %d bytes, %v", resp.StatusCode, n, resp.ContentLength, err)
	}
	if again := ask(); again.StatusCode != http.StatusNotFound {
		t.Errorf("again = %d", again.StatusCode)
	}
}
