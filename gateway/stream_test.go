package gateway_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// Every status change comes in order and once, whatever the reader's
// connection does (I10), and a reader that was away for more revisions than the
// bucket keeps misses none.
func TestAStreamThatResumesMissesNothing(t *testing.T) {
	m := meshtest.New(t)
	next := make(chan string)
	m.Work(meshtest.Steps(next))
	srv, _ := m.Serve()
	id := m.Create(`{"agent":"steps","instruction":"x"}`)
	events, cut := meshtest.FollowTask(t, srv.URL, id, "")
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
				name := e.Event
				switch e.Event {
				case "status":
					name = e.Data.Status
				case "milestone":
					name = strings.Split(e.Raw, `"`)[9]
				}
				if e.Event != "progress" && e.Event != "output" {
					got = append(got, name)
				}
				if e.ID != "" {
					if last != "" && number(t, e.ID) <= number(t, last) {
						t.Errorf("event id %s after %s", e.ID, last)
					}
					last = e.ID
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
	events, cut = meshtest.FollowTask(t, srv.URL, id, last)
	read("m4")
	cut()
	events, cut = meshtest.FollowTask(t, srv.URL, id, last)
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
	w := m.Do("GET", "/tasks/"+id+"/events", "", "Last-Event-ID", last, "Accept", "text/event-stream")
	if w.Code != http.StatusNoContent {
		t.Errorf("resume after the end = %d %s", w.Code, w.Body)
	}
	history := meshtest.Decode[struct{ Events []struct{ Type string } }](t, m.Do("GET", "/tasks/"+id+"/events", "", "Accept", "application/json").Body)
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
func TestAnEventIDFromTheFutureIsClamped(t *testing.T) {
	m := meshtest.New(t)
	next := make(chan string)
	m.Work(meshtest.Steps(next))
	srv, _ := m.Serve()
	id := m.Create(`{"agent":"steps","instruction":"x"}`)
	natstest.Until(t, "it runs", func() bool { return m.Get(id).Status == "processing" })
	for _, future := range []string{"18446744073709551615", "999999"} {
		events, cut := meshtest.FollowTask(t, srv.URL, id, future)
		next <- "m" + future
		e := <-events
		if e.Event != "milestone" || !strings.Contains(e.Raw, future) {
			t.Errorf("after %s: %+v", future, e)
		}
		cut()
	}
	next <- "end"
	m.End(id)
	events, cut := meshtest.FollowTask(t, srv.URL, id, "18446744073709551615")
	defer cut()
	if e := <-events; e.Event != "status" || e.Data.Status != "completed" {
		t.Errorf("of a finished task: %+v", e)
	}
}

// Live output reaches a reader in order and once, also one that comes late.
func TestOutputReachesAReaderInOrderAndOnce(t *testing.T) {
	m := meshtest.New(t)
	next := make(chan string)
	m.Work(meshtest.Steps(next))
	_, c := m.Serve()
	id := m.Create(`{"agent":"steps","instruction":"x"}`)
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
		for e, err := range c.Tasks.Events(t.Context(), id) {
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
