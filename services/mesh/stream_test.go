package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// sse is one event as it comes over the wire.
type sse struct {
	id, event string
	data      client.Task
	raw       string
}

// listen reads a task's stream from after an event; the channel closes with it.
func listen(t *testing.T, base, id, after string) (<-chan sse, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/tasks/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("content type %q", resp.Header.Get("Content-Type"))
	}
	events := make(chan sse, 1000)
	go func() {
		defer close(events)
		defer func() { _ = resp.Body.Close() }()
		scanEvents(resp.Body, func(id, event, data string) {
			e := sse{id: id, event: event, raw: data}
			_ = json.Unmarshal([]byte(data), &e.data)
			events <- e
		})
	}()
	return events, cancel
}

// scanEvents reads server-sent events to the end of r.
func scanEvents(r io.Reader, f func(id, event, data string)) {
	var id, event, data string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if event != "" {
				f(id, event, data)
			}
			id, event, data = "", "", ""
		}
	}
}

// steps is an agent that goes on when the test says so.
func steps(next <-chan string) agent.Agent {
	a := named("steps", func(ctx context.Context, job *agent.Job) (any, error) {
		for {
			var step string
			select {
			case step = <-next:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			switch {
			case strings.HasPrefix(step, "m"):
				if err := job.Milestone(ctx, step, "reached", nil); err != nil {
					return nil, err
				}
			case strings.HasPrefix(step, "p"):
				n, _ := strconv.Atoi(step[1:])
				job.Progress(n, step)
			case strings.HasPrefix(step, "o"):
				job.Output(step + "\n")
			case step == "fail":
				return nil, &agent.Error{Message: "as told"}
			case step == "end":
				return "done", nil
			}
		}
	})
	a.Retry = agent.Retry{MaxAttempts: 3, Backoff: 1, MaxBackoff: 1}
	return a
}

// Every status change comes in order and once, whatever the reader's
// connection does (I10), and a reader that was away for more revisions than the
// bucket keeps misses none.
func TestStreamResumes(t *testing.T) {
	m := newMesh(t)
	next := make(chan string)
	m.work(steps(next))
	srv, _ := m.serve()
	id := m.create(`{"agent":"steps","instruction":"x"}`)
	events, cut := listen(t, srv.URL, id, "")
	var got []string
	last := ""
	read := func(until string) {
		t.Helper()
		timeout := time.After(10 * time.Second)
		for {
			select {
			case e, open := <-events:
				if !open {
					t.Fatalf("stream ended before %s; got %v", until, got)
				}
				name := e.event
				switch e.event {
				case "status":
					name = e.data.Status
				case "milestone":
					name = strings.Split(e.raw, `"`)[9]
				}
				if e.event != "progress" && e.event != "output" {
					got = append(got, name)
				}
				if e.id != "" {
					if last != "" && number(t, e.id) <= number(t, last) {
						t.Errorf("event id %s after %s", e.id, last)
					}
					last = e.id
				}
				if name == until {
					return
				}
			case <-timeout:
				t.Fatalf("no %s; got %v", until, got)
			}
		}
	}
	read("processing")
	next <- "m1"
	read("m1")
	cut()
	// Away for two attempts and far more revisions than the history keeps.
	next <- "m2"
	for i := range 40 {
		next <- fmt.Sprintf("m3-%d", i)
	}
	next <- "fail"
	next <- "m4"
	next <- "p50"
	events, cut = listen(t, srv.URL, id, last)
	read("m4")
	cut()
	events, cut = listen(t, srv.URL, id, last)
	next <- "m5"
	read("m5")
	next <- "end"
	read("completed")
	if _, open := <-events; open {
		t.Error("the stream goes on after the terminal event")
	}
	cut()
	want := []string{"pending", "processing", "m1", "m2"}
	for i := range 40 {
		want = append(want, fmt.Sprintf("m3-%d", i))
	}
	want = append(want, "pending", "processing", "m4", "m5", "completed")
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// A reader that has seen everything is told to stop; the history is a list.
	w := m.do("GET", "/tasks/"+id+"/events", "", "Last-Event-ID", last, "Accept", "text/event-stream")
	if w.Code != http.StatusNoContent {
		t.Errorf("resume after the end = %d %s", w.Code, w.Body)
	}
	history := decode[struct{ Events []struct{ Type string } }](t, m.do("GET", "/tasks/"+id+"/events", "", "Accept", "application/json").Body)
	if len(history.Events) != len(want) {
		t.Errorf("%d events in the history, want %d", len(history.Events), len(want))
	}
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A Last-Event-ID from the future is clamped: the next events are heard.
func TestStreamClampsTheFuture(t *testing.T) {
	m := newMesh(t)
	next := make(chan string)
	m.work(steps(next))
	srv, _ := m.serve()
	id := m.create(`{"agent":"steps","instruction":"x"}`)
	eventually(t, 5*time.Second, "it runs", func() bool { return m.get(id).Status == "processing" })
	for _, future := range []string{"18446744073709551615", "999999"} {
		events, cut := listen(t, srv.URL, id, future)
		next <- "m" + future
		e := <-events
		if e.event != "milestone" || !strings.Contains(e.raw, future) {
			t.Errorf("after %s: %+v", future, e)
		}
		cut()
	}
	next <- "end"
	m.end(id)
	events, cut := listen(t, srv.URL, id, "18446744073709551615")
	defer cut()
	if e := <-events; e.event != "status" || e.data.Status != "completed" {
		t.Errorf("of a finished task: %+v", e)
	}
}

// Live output reaches a reader in order and once, also one that comes late.
func TestStreamOutput(t *testing.T) {
	m := newMesh(t)
	next := make(chan string)
	m.work(steps(next))
	_, c := m.serve()
	id := m.create(`{"agent":"steps","instruction":"x"}`)
	var want strings.Builder
	say := func(from, to int) {
		for i := from; i < to; i++ {
			next <- fmt.Sprintf("o%d", i)
			fmt.Fprintf(&want, "o%d\n", i)
		}
	}
	say(0, 10)
	next <- "m1" // the record has it now
	read := func() string {
		var text strings.Builder
		for e, err := range c.Events(t.Context(), id) {
			if err != nil {
				t.Error(err)
			}
			text.WriteString(e.Output)
		}
		return text.String()
	}
	got := make(chan string)
	for range 2 {
		go func() { got <- read() }()
	}
	say(10, 100)
	next <- "end"
	for range 2 {
		if text := <-got; text != want.String() {
			t.Errorf("output %q\nwant %q", text, want.String())
		}
	}
}

// A reader that does not read is cut, and the others do not notice.
func TestG11_SlowReaderIsCut(t *testing.T) {
	m := newMesh(t)
	next := make(chan string)
	m.work(steps(next))
	srv, c := m.serve()
	id := m.create(`{"agent":"steps","instruction":"x"}`)
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
		for e, err := range c.Events(ctx, id) {
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
	m.end(id)
}

// Values of 5 MB go through the object store and come back byte for byte; a
// byte over the limit is refused clearly.
func TestW5_LargeValues(t *testing.T) {
	m := newMesh(t)
	a := echo.Agent()
	run := a.Handler
	a.Handler = func(ctx context.Context, job *agent.Job) (any, error) {
		if job.Instruction == "too much" {
			return strings.Repeat("y", 32<<20), nil
		}
		return run(ctx, job)
	}
	m.work(a)
	srv, c := m.serve()
	text := bytes.Repeat([]byte(`0123456789"<&>\n`), 5_000_000/15)
	input, err := json.Marshal(string(text))
	if err != nil {
		t.Fatal(err)
	}
	input = bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(input, []byte(`\u003c`), []byte(`<`)), []byte(`\u003e`), []byte(`>`)), []byte(`\u0026`), []byte(`&`))
	task, err := c.Create(t.Context(), client.Request{Agent: "echo", Input: input}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.Wait(t.Context(), task.TaskID)
	if err != nil || done.Status != "completed" || done.ResultURL != "/tasks/"+task.TaskID+"/result" || done.Result != nil {
		t.Fatalf("%v: %+v", err, done)
	}
	body, err := c.Result(t.Context(), task.TaskID)
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(body)
	_ = body.Close()
	var same string
	if err != nil || json.Unmarshal(back, &same) != nil || same != string(text) {
		t.Errorf("%d bytes came back of %d, %v", len(back), len(input), err)
	}
	if rec := m.record(task.TaskID); len(rec.Input.Inline) > 0 || rec.Input.Object == "" || rec.Result.Object == "" {
		t.Error("the record carries a large value itself")
	}

	resp, err := http.Post(srv.URL+"/tasks", "application/json", strings.NewReader(`{"agent":"echo","input":"`+strings.Repeat("z", 32<<20+1)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	p := decode[client.Problem](t, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || p.Code != "body_too_large" {
		t.Errorf("33554433 bytes = %d %+v", resp.StatusCode, p)
	}
	over := m.end(m.create(`{"agent":"echo","instruction":"too much"}`))
	if over.Status != "failed" || over.Error.Code != "result_too_large" || over.Attempt != 1 {
		t.Errorf("a result over the limit: %+v %+v", over, over.Error)
	}
}

// 5,000 long polls on one gateway: no consumer for any of them, all answered,
// and afterwards the goroutines are back (I13).
func TestWaitersCostLittle(t *testing.T) {
	m := newMesh(t)
	next := make(chan string)
	m.work(steps(next))
	id := m.create(`{"agent":"steps","instruction":"x"}`)
	eventually(t, 5*time.Second, "it runs", func() bool { return m.get(id).Status == "processing" })
	consumers, before := m.srv.NumConsumers(t), runtime.NumGoroutine()
	const waiters = 5000
	var wg sync.WaitGroup
	codes := make([]string, waiters)
	for i := range waiters {
		wg.Go(func() {
			w := m.do("GET", "/tasks/"+id, "", "Prefer", "wait=60")
			codes[i] = strconv.Itoa(w.Code) + decode[client.Task](t, w.Body).Status
		})
	}
	subs := func() int { return int(m.srv.NumSubscriptions()) }
	eventually(t, 50*time.Second, "all wait", func() bool { return subs() >= waiters })
	if n := m.srv.NumConsumers(t); n != consumers {
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
	eventually(t, 10*time.Second, "subscriptions are gone", func() bool { return subs() < 200 })
	eventually(t, 10*time.Second, "goroutines are back", func() bool { return runtime.NumGoroutine() < before+20 })
}

// After a load goroutines and descriptors are where they were, and the data
// opens again at once (I13).
func TestNothingLeaks(t *testing.T) {
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system does not list descriptors")
		}
		return len(all)
	}
	dir := t.TempDir()
	runtime.GC()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	t.Run("load", func(t *testing.T) {
		m := newMeshIn(t, dir)
		m.work(echo.Agent())
		srv, c := m.serve()
		defer srv.Close()
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := range 20 {
					task, err := c.Create(t.Context(), client.Request{Agent: "echo", Input: json.RawMessage(`1`)}, client.CreateOptions{})
					if err != nil {
						t.Error(err)
						return
					}
					if i%4 == 0 {
						for _, err := range c.Events(t.Context(), task.TaskID) {
							if err != nil {
								t.Error(err)
							}
						}
					}
					if i%5 == 0 {
						_, _ = c.Cancel(t.Context(), task.TaskID) // either outcome is right
					}
					if _, err := c.Wait(t.Context(), task.TaskID); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
	http.DefaultClient.CloseIdleConnections()
	m := newMeshIn(t, dir) // opens again at once
	m.nc.Close()
	m.srv.Stop()
	m.g.Close()
	eventually(t, 15*time.Second, "goroutines are back", func() bool {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		return runtime.NumGoroutine() <= goroutines+3
	})
	eventually(t, 15*time.Second, "descriptors are back", func() bool { return descriptors() <= files+3 })
}
