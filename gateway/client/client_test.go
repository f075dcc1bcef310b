package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/client"
)

// script answers each request with the next of its steps, without a socket.
type script struct {
	steps    []func(r *http.Request, body string) (*http.Response, error)
	requests []string
	queries  []string
	bodies   []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, _ := io.ReadAll(r.Body)
	s.queries = append(s.queries, r.URL.RawQuery)
	s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("Idempotency-Key")+r.Header.Get("Last-Event-ID"))
	s.bodies = append(s.bodies, string(raw))
	if len(s.steps) == 0 {
		return nil, errors.New("the script is over")
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	return step(r, string(raw))
}

func answer(status int, contentType, body string, headers ...string) func(*http.Request, string) (*http.Response, error) {
	return func(*http.Request, string) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return w.Result(), nil
	}
}

func cut(*http.Request, string) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func scripted(t *testing.T, steps ...func(*http.Request, string) (*http.Response, error)) (*client.Client, *script) {
	t.Helper()
	s := &script{steps: steps}
	c, err := client.New("http://mesh.test", client.WithHTTPClient(&http.Client{Transport: s}))
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

const (
	asJSON    = "application/json"
	asProblem = "application/problem+json"
	asStream  = "text/event-stream"
	away      = `{"code":"store_unavailable","status":503,"detail":"away"}`
)

func TestCreateRepeatsUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, answer(503, asProblem, away, "Retry-After", "2"), cut, answer(202, asJSON, `{"task_id":"tsk_1","status":"pending"}`))
		began := time.Now()
		task, err := c.Tasks.Create(t.Context(), client.Request{Instruction: "x"}, client.CreateOptions{})
		if err != nil || task.TaskID != "tsk_1" || len(s.requests) != 3 {
			t.Fatalf("%+v, %v after %v", task, err, s.requests)
		}
		if s.requests[0] != s.requests[1] || s.requests[1] != s.requests[2] || !strings.HasPrefix(s.requests[0], `POST /tasks "`) || s.bodies[0] != s.bodies[2] {
			t.Errorf("the repeats differ: %q %q", s.requests, s.bodies)
		}
		if waited := time.Since(began); waited < 2*time.Second {
			t.Errorf("waited %v, though Retry-After said 2", waited)
		}
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			answer(422, asProblem, `{"code":"validation_failed","detail":"2 fields","errors":[{"pointer":"/delay","detail":"bad"}]}`),
			answer(502, "text/html", `<h1>proxy</h1>`))
		_, err := c.Tasks.Create(t.Context(), client.Request{Instruction: "x"}, client.CreateOptions{IdempotencyKey: "k"})
		var p *client.Problem
		if !errors.As(err, &p) || p.Code != "validation_failed" || p.Status != 422 || len(s.requests) != 1 || !strings.Contains(err.Error(), "/delay: bad") {
			t.Errorf("%v after %v", err, s.requests)
		}
		if _, err := c.Tasks.Get(t.Context(), "tsk_1"); !errors.As(err, &p) || p.Code != "http_502" || p.Status != 502 {
			t.Errorf("%v", err)
		}
	})
}

func TestWaitSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			answer(200, asJSON, `{"task_id":"tsk_1","status":"processing"}`), cut, answer(503, asProblem, away),
			answer(200, asJSON, `{"task_id":"tsk_1","status":"completed","done":true}`, "ETag", `"9"`))
		task, err := c.Tasks.Wait(t.Context(), "tsk_1")
		if err != nil || !task.Done || task.ETag != `"9"` || len(s.requests) != 4 {
			t.Errorf("%+v, %v after %v", task, err, s.requests)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Tasks.Wait(ctx, "tsk_1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func event(name, id, data string) string {
	return fmt.Sprintf("event: %s\nid: %s\ndata: %s\n\n", name, id, data)
}

func TestEventsResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := func(offset int, text string) string {
			return fmt.Sprintf("event: output\ndata: {\"offset\":%d,\"text\":%q}\n\n", offset, text)
		}
		c, s := scripted(t,
			answer(200, asStream, "retry: 1000\n\n"+event("status", "0", `{"status":"pending"}`)+event("status", "4", `{"status":"processing"}`)+output(0, "hel")+": heartbeat\n\n"),
			cut,
			answer(200, asStream, output(0, "hello")+output(5, " mesh")+event("milestone", "6", `{"name":"half"}`)+event("progress", "7", `not JSON`)),
			answer(200, asStream, event("status", "9", `{"status":"completed","done":true}`)+event("status", "10", `{"status":"never"}`)))
		var got []string
		for e, err := range c.Tasks.Events(t.Context(), "tsk_1") {
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case e.Task != nil:
				got = append(got, e.ID+" "+e.Task.Status)
			case e.Milestone != nil:
				got = append(got, e.ID+" "+e.Milestone.Name)
			default:
				got = append(got, e.Output)
			}
		}
		if want := []string{"0 pending", "4 processing", "hel", "lo", " mesh", "6 half", "9 completed"}; !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
		if want := []string{"GET /tasks/tsk_1/events ", "GET /tasks/tsk_1/events 4", "GET /tasks/tsk_1/events 4", "GET /tasks/tsk_1/events 7"}; !slices.Equal(s.requests, want) {
			t.Errorf("requests %q, want %q", s.requests, want)
		}
	})
}

func TestEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, answer(404, asProblem, `{"code":"task_not_found"}`))
		for _, err := range c.Tasks.Events(t.Context(), "tsk_1") {
			var p *client.Problem
			if !errors.As(err, &p) || p.Code != "task_not_found" {
				t.Errorf("%v", err)
			}
		}
		c, s := scripted(t) // nothing but errors
		n := 0
		for _, err := range c.Tasks.Events(t.Context(), "tsk_1") {
			if n++; err == nil || len(s.requests) < 10 {
				t.Errorf("%v after %d tries", err, len(s.requests))
			}
		}
		if n != 1 {
			t.Errorf("%d errors", n)
		}
		c, _ = scripted(t, answer(204, "", ""))
		for e, err := range c.Tasks.Events(t.Context(), "tsk_1") {
			t.Errorf("%+v, %v of a task that has nothing more to tell", e, err)
		}
	})
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, answer(200, asJSON, `{"tasks":[{"task_id":"a"},{"task_id":"b"}],"next_cursor":"x"}`), answer(200, asJSON, `{"tasks":[{"task_id":"c"}],"next_cursor":""}`))
		var ids []string
		for task, err := range c.Tasks.All(t.Context(), client.Filter{Statuses: []string{"failed"}, Labels: map[string]string{"team": "a b"}}) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, task.TaskID)
		}
		if !slices.Equal(ids, []string{"a", "b", "c"}) {
			t.Errorf("%v", ids)
		}
		if want := []string{"label.team=a+b&order=created&status=failed", "cursor=x&label.team=a+b&order=created&status=failed"}; !slices.Equal(s.queries, want) {
			t.Errorf("asked for %q, want %q: by change a page may miss a task", s.queries, want)
		}
		if q := (client.Filter{Statuses: []string{"a", "b"}, Labels: map[string]string{"t": "a b"}, Limit: 5}).Query().Encode(); q != "label.t=a+b&limit=5&status=a%2Cb" {
			t.Errorf("query %s", q)
		}
	})
}

func TestTheClientLosesNothingThatTheGatewaySays(t *testing.T) {
	turn := `{"task_id":"trn_1","turn_id":"trn_1","session_id":"ses_1","status":"completed","done":true,"kind":"turn","attempt":1,"created_at":"2026-05-19T10:30:00Z","status_url":"/sessions/ses_1/turns/trn_1","input":{"a":1},"input_url":"/tasks/trn_1/input"`
	agents := `{"name":"a","greeting":"Hi","concurrency":2,"max_in_flight":9,"timeout":"5m0s","max_attempts":3,"live_workers":1,"workers":[{"worker_id":"w","slots":2,"busy":1,"started_at":"2026-05-19T10:30:00Z"}]}`
	for want, read := range map[string]func(*client.Client) (any, error){
		turn + `}`:                          func(c *client.Client) (any, error) { return c.Tasks.Get(t.Context(), "trn_1") },
		turn + `,"text":"x","message":"y"}`: func(c *client.Client) (any, error) { return c.Sessions.Turn(t.Context(), "ses_1", "trn_1") },
		`{"delivery_id":"dlv_1","event_id":"e","type":"action.completed","action_id":"act_1","status":"dead","created_at":"2026-05-19T10:30:00Z","updated_at":"2026-05-19T10:30:00Z","attempts":[{"at":"2026-05-19T10:30:00Z","url":"https://x","duration_ms":1.5,"class":"redirect","location":"https://y"}]}`: func(c *client.Client) (any, error) {
			return c.Deliveries.Get(t.Context(), "dlv_1")
		},
		`{"webhook_id":"whk_1","url":"https://x","events":[],"agents":[],"enabled":true,"unreadable":"u","client_certificate":"PEM","ca":"PEM","keys":[],"created_at":"2026-05-19T10:30:00Z","updated_at":"2026-05-19T10:30:00Z"}`: func(c *client.Client) (any, error) {
			return c.Webhooks.Get(t.Context(), "whk_1")
		},
		`{"agents":[` + agents + `]}`: func(c *client.Client) (any, error) {
			all, err := c.Agents.List(t.Context())
			return map[string]any{"agents": all}, err
		},
	} {
		c, _ := scripted(t, answer(200, asJSON, want))
		v, err := read(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("the client has\n%s, %v, of\n%s", got, err, want)
		}
	}
}

func TestSayRepeatsUnderOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, answer(503, asProblem, away), cut, answer(200, asJSON, `{"session_id":"ses_1","turn_id":"trn_1","status":"completed","message":"hi"}`))
		turn, err := c.Sessions.Say(t.Context(), "ses_1", "<hello>", client.SayOptions{OnBusy: "wait"})
		if err != nil || turn.Message != "hi" || !turn.Done || len(s.requests) != 3 {
			t.Fatalf("%+v, %v after %v", turn, err, s.requests)
		}
		if s.requests[0] != s.requests[2] || !strings.HasPrefix(s.requests[0], `POST /sessions/ses_1/messages "`) || s.bodies[2] != `{"text":"\u003chello\u003e","on_busy":"wait"}` {
			t.Errorf("the repeats differ: %q %q", s.requests, s.bodies)
		}
		c, s = scripted(t, answer(409, asProblem, `{"code":"session_busy"}`, "Retry-After", "1"))
		var p *client.Problem
		if _, err := c.Sessions.Say(t.Context(), "ses_1", "x", client.SayOptions{}); !errors.As(err, &p) || p.Code != "session_busy" || len(s.requests) != 1 {
			t.Errorf("busy: %v after %v", err, s.requests)
		}
	})
}

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			answer(201, asJSON, `{"session_id":"ses_1","message":"Hello!","agent":"a"}`),
			answer(200, asJSON, `{"sessions":[{"session_id":"ses_1","messages":3}],"next_cursor":"x"}`), answer(200, asJSON, `{"sessions":[{"session_id":"ses_2"}],"next_cursor":""}`),
			answer(200, asJSON, `{"messages":[{"role":"agent","text":"Hello!"}],"next_after":1}`), answer(200, asJSON, `{"messages":[{"role":"user","text":"hi"}]}`),
			answer(200, asJSON, `{"task_id":"trn_1","status":"processing","done":false}`), answer(200, asJSON, `{"task_id":"trn_1","status":"completed","done":true}`),
			answer(200, asJSON, `{"turn_id":"trn_1","status":"completed","message":"hi","text":"hello"}`),
			answer(204, "", ""))
		made, err := c.Sessions.Create(t.Context(), "a", client.CreateOptions{IdempotencyKey: "k"})
		if err != nil || made.Greeting != "Hello!" || made.Messages != 1 || s.bodies[0] != `{"agent":"a"}` {
			t.Errorf("%+v, %v", made, err)
		}
		var ids []string
		for v, err := range c.Sessions.All(t.Context(), "a") {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, v.SessionID)
		}
		said, err := c.Sessions.Messages(t.Context(), "ses_1")
		if err != nil || len(said) != 2 || said[1].Text != "hi" || !slices.Equal(ids, []string{"ses_1", "ses_2"}) {
			t.Errorf("%v %+v, %v", ids, said, err)
		}
		turn, err := c.Sessions.WaitTurn(t.Context(), "ses_1", "trn_1")
		if err != nil || turn.Message != "hi" || turn.TurnID != "trn_1" || turn.SessionID != "ses_1" {
			t.Errorf("%+v, %v", turn, err)
		}
		if err := c.Sessions.Delete(t.Context(), "ses_1"); err != nil {
			t.Error(err)
		}
		want := []string{
			`POST /sessions "k"`, "GET /sessions ", "GET /sessions ", "GET /sessions/ses_1/messages ", "GET /sessions/ses_1/messages ",
			"GET /tasks/trn_1 ", "GET /tasks/trn_1 ", "GET /sessions/ses_1/turns/trn_1 ", "DELETE /sessions/ses_1 ",
		}
		if !slices.Equal(s.requests, want) {
			t.Errorf("requests %q, want %q", s.requests, want)
		}
	})
}

func TestResultStreams(t *testing.T) {
	c, _ := scripted(t, answer(200, asJSON, `"large"`))
	r, err := c.Tasks.Result(t.Context(), "tsk_1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != `"large"` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestNewRefusesWhatIsNoURL(t *testing.T) {
	for _, bad := range []string{"", "localhost:8080", "ftp://x", "http://", "::"} {
		if _, err := client.New(bad); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:8080") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The sequence ends, whatever a server sends as a stream.
func FuzzStream(f *testing.F) {
	f.Add([]byte(event("status", "1", `{"status":"completed","done":true}`)))
	f.Add([]byte("event: output\ndata: {\"offset\":-9223372036854775808,\"text\":\"x\"}\n\n"))
	f.Add([]byte("event: output\ndata: {\"offset\":9223372036854775807,\"text\":\"x\"}\n\nevent: output\ndata: {\"offset\":0,\"text\":\"yy\"}\n\n"))
	f.Add([]byte("id: \x00\ndata\n\n\r\r\n:::\nevent:status\ndata:null\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c, _ := scripted(t, func(*http.Request, string) (*http.Response, error) {
			resp, err := answer(200, asStream, "")(nil, "")
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), endOf{cancel}))
			return resp, err
		})
		for _, err := range c.Tasks.Events(ctx, "tsk_1") {
			if err != nil {
				break
			}
		}
	})
}

// endOf is the end of a stream, where the reader has had enough.
type endOf struct{ cancel context.CancelFunc }

func (e endOf) Read([]byte) (int, error) {
	e.cancel()
	return 0, io.EOF
}
