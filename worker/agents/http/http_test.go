package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/http"
)

type reports []string

func (r *reports) Progress(percent int, message string) {
	*r = append(*r, fmt.Sprintf("%d%% %s", percent, message))
}
func (r *reports) Milestone(_ context.Context, name, _ string, _ json.RawMessage) error {
	*r = append(*r, name)
	return nil
}
func (r *reports) Output(text string) { *r = append(*r, text) }

func job(r *reports) *agent.Job {
	return agent.NewJob(&task.Task{ID: "tsk_1", Agent: "a", Attempt: 2, Instruction: "x"}, nil, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", r)
}

func TestAnswers(t *testing.T) {
	huge := strings.Repeat("x", 33<<20)
	var after func(nethttp.ResponseWriter, *nethttp.Request)
	srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) { after(w, r) }))
	defer srv.Close()
	send := func(status int, media, body string, headers ...string) func(nethttp.ResponseWriter, *nethttp.Request) {
		return func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("Content-Type", media)
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	untyped := func(body string) func(nethttp.ResponseWriter, *nethttp.Request) {
		return func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header()["Content-Type"] = nil // not even a guess
			_, _ = io.WriteString(w, body)
		}
	}
	cut := func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, "{\"type\":\"progress\",\"percent\":5}\n")
		_ = nethttp.NewResponseController(w).Flush()
		panic(nethttp.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name      string
		answer    func(nethttp.ResponseWriter, *nethttp.Request)
		result    string
		code, err string
		permanent bool
		after     time.Duration
	}{
		{"json", send(200, "application/json", `{"a":1}`), `{"a":1}`, "", "", false, 0},
		{"json with a charset", send(201, "application/json; charset=utf-8", `7`), `7`, "", "", false, 0},
		{"text", send(200, "text/plain", "hello"), `{"text":"hello"}`, "", "", false, 0},
		{"no content", send(204, "", ""), `null`, "", "", false, 0},
		{"ndjson", send(200, "application/x-ndjson", `{"type":"result","result":[1]}`+"\n"), `[1]`, "", "", false, 0},
		{"ndjson text", send(200, "application/x-ndjson", `{"type":"output","text":"a"}`+"\nb"), `{"text":"ab"}`, "", "", false, 0},
		{"ndjson error", send(200, "application/x-ndjson", `{"type":"error","code":"no_model","message":"away"}`), ``, "no_model", "away", false, 0},
		{"ndjson fault", send(200, "application/x-ndjson", `{"type":"result"}`), ``, task.CodeAgentBadOutput, `"result"`, true, 0},
		{"ndjson cut", cut, ``, task.CodeAgentUnreachable, "the agent did not answer", false, 0},
		{"no JSON", send(200, "application/json", `{`), ``, task.CodeAgentBadOutput, "not JSON", true, 0},
		{"empty JSON", send(200, "application/json", ``), `null`, "", "", false, 0},
		{"blank JSON", send(200, "application/json", " \n"), `null`, "", "", false, 0},
		{"accepted", send(202, "", ""), `null`, "", "", false, 0},
		{"reset content", send(205, "", ""), `null`, "", "", false, 0},
		{"empty text", send(200, "text/plain", ""), `{"text":""}`, "", "", false, 0},
		{"empty image", send(200, "image/png", ""), `null`, "", "", false, 0},
		{"JSON with a mark", send(200, "application/json", "\uFEFF{}"), `{}`, "", "", false, 0},
		{"a kind of JSON", send(200, "application/vnd.api+json; charset=utf-8", `{"a":1}`), `{"a":1}`, "", "", false, 0},
		{"no kind of JSON", send(200, "application/hal+json", `{`), ``, task.CodeAgentBadOutput, "not JSON", true, 0},
		{"JSON that does not say so", untyped(`{"a":1}`), `{"a":1}`, "", "", false, 0},
		{"text that does not say so", untyped(`hello`), `{"text":"hello"}`, "", "", false, 0},
		{"bytes that do not say so", untyped("\xff\x00"), ``, task.CodeAgentBadOutput, "content type", true, 0},
		{"JSON as bytes", send(200, "application/octet-stream", `[1]`), `[1]`, "", "", false, 0},
		{"malformed type", send(200, ";;", `[1]`), `[1]`, "", "", false, 0},
		{"JSON lines", send(200, "application/jsonl", `{"type":"error","message":"away"}`), ``, "", "away", false, 0},
		{"image", send(200, "image/png", "x"), ``, task.CodeAgentBadOutput, `"image/png"`, true, 0},
		{"huge", send(200, "text/plain", huge), ``, task.CodeResultTooLarge, "33554432", true, 0},
		{"refused", send(422, "text/plain", "no such topic"), ``, task.CodeAgentHTTPError, "422 Unprocessable Entity: no such topic", true, 0},
		{"timeout", send(408, "", ""), ``, task.CodeAgentHTTPError, "408", false, 0},
		{"too early", send(425, "", ""), ``, task.CodeAgentHTTPError, "425", false, 0},
		{"busy", send(429, "", "", "Retry-After", "7"), ``, task.CodeAgentHTTPError, "429", false, 7 * time.Second},
		{"down", send(503, "", "", "Retry-After", "99999999"), ``, task.CodeAgentHTTPError, "503", false, time.Hour},
		{"broken", send(500, "text/html", "<h1>"), ``, task.CodeAgentHTTPError, "500 Internal Server Error", false, 0},
		{"twenty digits", send(503, "", "", "Retry-After", "99999999999999999999"), ``, task.CodeAgentHTTPError, "503", false, time.Hour},
		{"a thousand digits", send(429, "", "", "Retry-After", strings.Repeat("9", 1000)), ``, task.CodeAgentHTTPError, "429", false, time.Hour},
		{"a far date", send(503, "", "", "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), ``, task.CodeAgentHTTPError, "503", false, time.Hour},
		{"a past date", send(503, "", "", "Retry-After", "Mon, 02 Jan 2006 15:04:05 GMT"), ``, task.CodeAgentHTTPError, "503", false, 0},

		{"redirect", send(307, "", "", "Location", srv.URL+"/elsewhere"), ``, task.CodeAgentHTTPError, "redirects are not followed", false, 0},
		{"nonsense in Retry-After", send(503, "", "", "Retry-After", "-5 soon"), ``, task.CodeAgentHTTPError, "503", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after = tt.answer
			v, err := http.New(http.Config{URL: srv.URL}, http.Options{})(t.Context(), job(&reports{}))
			var e *agent.Error
			if tt.err == "" {
				if b, _ := json.Marshal(v); err != nil || string(b) != tt.result {
					t.Errorf("%s, %v", b, err)
				}
			} else if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.err) || e.Permanent != tt.permanent || e.RetryAfter != tt.after {
				t.Errorf("%+v", err)
			}
		})
	}
	srv.Close()
	var e *agent.Error
	if _, err := http.New(http.Config{URL: srv.URL}, http.Options{})(t.Context(), job(&reports{})); !errors.As(err, &e) || e.Code != task.CodeAgentUnreachable || e.Permanent {
		t.Errorf("nobody there: %v", err)
	}
}

// Where a service is, its key and its own trouble are for the operator.
func TestAnErrorDoesNotTellWhereTheServiceIs(t *testing.T) {
	var status int
	srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Location", "http://10.0.0.7/inner")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"trace":"connect to 10.0.0.7 as root"}`)
	}))
	defer srv.Close()
	handler := http.New(http.Config{URL: strings.Replace(srv.URL, "http://", "http://user:hunter2@", 1) + "/run?code=hunter3#hunter4"}, http.Options{})
	try := func(name, detail string) {
		t.Helper()
		_, err := handler(t.Context(), job(&reports{}))
		var e *agent.Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, secret := range []string{"hunter", "127.0.0.1", "10.0.0.7", "/run", strings.TrimPrefix(srv.URL, "http://127.0.0.1:")} {
			if strings.Contains(e.Error(), secret) {
				t.Errorf("%s tells %s: %s", name, secret, e.Error())
			}
		}
		if strings.Contains(e.Detail, "hunter") || !strings.Contains(e.Detail, detail) {
			t.Errorf("%s has the detail %q", name, e.Detail)
		}
	}
	for _, status = range []int{307, 401, 403, 407, 429, 500, 502, 503} {
		try(strconv.Itoa(status), "as root")
	}
	srv.Close()
	try("nobody there", "POST "+srv.URL+"/run: dial tcp")
}

// A service answers a turn with an object, with text or with messages.
func TestTurns(t *testing.T) {
	for _, tt := range []struct{ media, body, message, state, err string }{
		{"application/json", `{"message":"hi","state":{"n":1}}`, "hi", `{"n":1}`, ""},
		{"application/json", `{"text":"hi"}`, "hi", "", ""},
		{"application/json", `"hi"`, "hi", "", ""},
		{"application/json", `{"message":"hi","state":[1]}`, "", "", "the state must be a JSON object"},
		{"text/plain", "hi\n", "hi", "", ""},
		{"application/x-ndjson", `{"type":"output","text":"h"}` + "\n" + `{"type":"reply","message":"hi","state":{"n":2}}`, "hi", `{"n":2}`, ""},
		{"application/x-ndjson", `{"type":"reply","state":{}}`, "", "", `has no "message"`},
	} {
		var sent string
		srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
			raw, _ := io.ReadAll(r.Body)
			sent = string(raw)
			w.Header().Set("Content-Type", tt.media)
			_, _ = io.WriteString(w, tt.body)
		}))
		j := job(&reports{})
		j.Turn = &agent.Turn{SessionID: "ses_1", Messages: []agent.Message{{Role: "user", Text: "x"}}, State: json.RawMessage(`{"n":0}`)}
		v, err := http.New(http.Config{URL: srv.URL}, http.Options{})(t.Context(), j)
		srv.Close()
		var message string
		var state json.RawMessage
		if err == nil {
			message, state, err = agent.ReplyOf(v)
		}
		if tt.err == "" && (err != nil || message != tt.message || string(state) != tt.state) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s %s: %q %s, %v", tt.media, tt.body, message, state, err)
		}
		if !strings.Contains(sent, `"session":{"session_id":"ses_1","messages":[{"role":"user","text":"x","at":"0001-01-01T00:00:00Z"}],"state":{"n":0}}`) {
			t.Errorf("the service got %s", sent)
		}
	}
}

func TestRequest(t *testing.T) {
	srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.Header.Get("Idempotency-Key"), r.Header.Get("Traceparent"), r.Header.Get("Authorization"), body)
	}))
	defer srv.Close()
	v, err := http.New(http.Config{URL: srv.URL, Headers: map[string]string{"authorization": "Bearer x"}}, http.Options{})(t.Context(), job(&reports{}))
	want := `POST tsk_1.2 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 Bearer x {"task_id":"tsk_1","kind":"","agent":"a","attempt":2,"instruction":"x","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`
	if err != nil || v.(map[string]string)["text"] != want {
		t.Errorf("%v, %v\nwant %s", v, err, want)
	}
}

// Messages are reported while the answer goes on, and the end of the context
// ends the exchange.
func TestStreams(t *testing.T) {
	seen := make(chan struct{})
	srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, `{"type":"progress","percent":5,"message":"first"}`+"\n")
		_ = nethttp.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(seen)
	}))
	defer srv.Close()
	why := errors.New("canceled")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := told{at: func() { cancel(why) }}
	_, err := http.New(http.Config{URL: srv.URL}, http.Options{})(ctx, agent.NewJob(&task.Task{ID: "tsk_1"}, nil, "", &r))
	if !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	<-seen
}

type told struct {
	reports
	at func()
}

func (r *told) Progress(int, string) { r.at() }

// BenchmarkHTTP is one attempt of a service that answers at once, beside the
// bare cost of such a request.
func BenchmarkHTTP(b *testing.B) {
	srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"a":1}`)
	}))
	defer srv.Close()
	b.Run("impl=floor", func(b *testing.B) {
		for b.Loop() {
			resp, err := nethttp.Post(srv.URL, "application/json", strings.NewReader(`{}`))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
	b.Run("impl=mesh", func(b *testing.B) {
		h := http.New(http.Config{URL: srv.URL}, http.Options{})
		for b.Loop() {
			if _, err := h(b.Context(), job(&reports{})); err != nil {
				b.Fatal(err)
			}
		}
	})
}
