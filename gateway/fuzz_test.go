package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/gateway/problem"
	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// refusedAs fails unless err is a problem with one of the statuses.
func refusedAs(t *testing.T, err error, statuses ...int) {
	t.Helper()
	var p *mesh.Error
	if !errors.As(err, &p) {
		t.Fatalf("%v is no problem", err)
	}
	for _, s := range statuses {
		if problem.Status(p.Refusal) == s && p.Detail != "" {
			return
		}
	}
	t.Fatalf("problem %+v, want status %v and a detail", p, statuses)
}

// A body that passes the checks makes a task within the limits, which the queue
// can carry.
func FuzzCreateTask(f *testing.F) {
	for _, seed := range []string{
		`{"agent":"echo","input":{"a":[1,2,{"b":null}]}}`,
		`{"instruction":"x","delay":"90s","timeout":"5m","max_attempts":3,"labels":{"team":"search"},"metadata":[1]}`,
		`{"instruction":"x","run_at":"2026-12-01T10:00:00Z","deadline":"2026-12-02T10:00:00.123456789+02:00"}`,
		`{"instruction":"x","instruction":"y"}`, `{"agent":"a.b"}`, `{"agent":"*"}`, `{"labels":{"":""}}`, `{"labels":{"~/":"x"}}`,
		`{"timeout":"-1ns"}`, `{"timeout":"9999999999h"}`, `{"delay":"1e9s"}`, `{"max_attempts":1e400}`, `{"max_attempts":-1}`,
		`{"input":1}{"input":2}`, `[]`, `null`, `"x"`, ``, `{`, "{\"a\":\"\xff\"}", `{"input":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`,
		`{"status":"completed","tenant":"other","task_id":"tsk_1"}`, `{"run_at":"0000-01-01T00:00:00Z"}`, `{"deadline":"9999-12-31T23:59:59Z"}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkJSON(body) != nil {
			return
		}
		var req api.CreateTask
		if err := decodeObject(body, &req, false); err != nil {
			refusedAs(t, err, 400, 422)
			return
		}
		sub := submission(&req, task.KindTask, now)
		tk := sub.Task(auth.DefaultTenant, now)
		tk.Agent, tk.Input = "echo", task.Value{Inline: sub.Input}
		if faults := sub.Check(); len(faults) > 0 {
			for _, fault := range faults {
				if !strings.HasPrefix(fault.Pointer, "/") || fault.Detail == "" {
					t.Fatalf("fault %+v", fault)
				}
			}
			refusedAs(t, mesh.RefuseFields(faults...), 422)
			return
		}
		if d := time.Duration(tk.Timeout); d < 0 || d > task.MaxTimeout || tk.MaxAttempts < 0 || tk.MaxAttempts > task.MaxAttempts ||
			tk.NotBefore.After(now.Add(mesh.MaxAhead)) || len(tk.Labels) > 32 || !tk.Deadline.IsZero() && !tk.Deadline.After(now) {
			t.Fatalf("beyond the limits: %+v", tk)
		}
		if err := tk.Validate(); err != nil {
			t.Fatal(err)
		}
		if _, err := task.Marshal(tk); err != nil {
			t.Fatalf("the queue could not carry %+v: %v", tk, err)
		}
	})
}

func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"", "abc", `"abc"`, `"abc`, `"a\"b"`, `"a";p=1`, "a b", "é", `""`, strings.Repeat("k", 256), "?1", ":YQ==:", "\"\x7f\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := idempotencyKey(http.Header{"Idempotency-Key": {value}})
		if err != nil {
			refusedAs(t, err, 400)
			return
		}
		if key == "" || len(key) > 255 {
			t.Errorf("%q is read as %q", value, key)
		}
	})
}

func FuzzPrefer(f *testing.F) {
	f.Add("wait=10", "")
	f.Add("respond-async, wait=99999999999", "")
	f.Add("wait=-1", "10s")
	f.Add(`WAIT="5"; x=y,,=,`, "-1h")
	f.Add("", "9999999h")
	f.Fuzz(func(t *testing.T, prefer, query string) {
		r := httptest.NewRequest("GET", "/tasks", nil)
		r.Header.Set("Prefer", prefer)
		r.URL.RawQuery = "wait=" + query
		p := preferred(r)
		if p.wait < 0 || p.wait > maxWait {
			t.Errorf("Prefer %q, ?wait=%q: %v", prefer, query, p.wait)
		}
		_ = p.honoured()
	})
}

// No reader can wait for an event that lies beyond the record.
func FuzzLastEventID(f *testing.F) {
	f.Add("0", uint64(5), false)
	f.Add("18446744073709551615", uint64(5), true)
	f.Add("-1", uint64(0), false)
	f.Add("5 ", uint64(5), false)
	f.Fuzz(func(t *testing.T, id string, rev uint64, done bool) {
		tk := &task.Task{Rev: rev, Status: task.Processing}
		if done {
			tk.Status, tk.Rev = task.Completed, max(rev, 1)
		}
		if seen, _ := lastEventID(resumed{LastEventID: id}.number(), tk); seen > tk.Rev {
			t.Errorf("%q at revision %d: %d", id, tk.Rev, seen)
		}
	})
}

// A schema is user input, and so is what it checks.
func FuzzInputSchema(f *testing.F) {
	f.Add([]byte(`{"type":"object","required":["a"]}`), []byte(`{}`))
	f.Add([]byte(`{"properties":{"a~/b":{"type":"integer"}}}`), []byte(`{"a~/b":"x"}`))
	f.Add([]byte(`{"$ref":"#"}`), []byte(`1`))
	f.Add([]byte(`{"$ref":"file:///etc/passwd"}`), []byte(`1`))
	f.Add([]byte(`{"pattern":"("}`), []byte(`"x"`))
	f.Add([]byte(`{"allOf":[{"type":"string"},{"minLength":3}]}`), []byte(`"x"`))
	f.Fuzz(func(t *testing.T, raw, input []byte) {
		if checkJSON(raw) != nil || checkJSON(input) != nil {
			return
		}
		d := mesh.NewAgent(store.Definition{Definition: task.Definition{Name: "a", InputSchema: raw}})
		if err := d.CheckInput(t.Context(), input); err != nil {
			refusedAs(t, err, 422)
			var p *mesh.Error
			errors.As(err, &p)
			for _, fault := range p.Faults {
				if !strings.HasPrefix(fault.Pointer, "/input") || fault.Detail == "" {
					t.Errorf("fault %+v", fault)
				}
			}
		}
	})
}

// A body that passes the checks is a message that a session can hold.
func FuzzPostMessage(f *testing.F) {
	for _, seed := range []string{
		`{"text":"Find flights to Tokyo."}`, `{"message":"hi","on_busy":"wait"}`, `{"text":"","message":"x"}`, `{"text":" "}`, `{"text":7}`,
		`{"text":"x","on_busy":"never"}`, `{"text":"\u0000\ud83d\ude00"}`, `{"text":"a","text":"b"}`, `{}`, `[]`, `null`, ``,
		`{"text":"` + strings.Repeat("x", 70000) + `"}`, `{"text":"x","status":"completed","turn_id":"trn_1","agent":"*"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkJSON(body) != nil {
			return
		}
		var said api.PostMessage
		err := decodeObject(body, &said, false)
		var req *mesh.Message
		if err == nil {
			req, err = readMessage(said)
		}
		if err != nil {
			refusedAs(t, err, 400, 422)
			return
		}
		if strings.TrimSpace(req.Text) == "" || session.Size(req.Text) > session.MaxText || req.OnBusy == "" {
			t.Errorf("taken: %+v", req)
		}
	})
}

// knownTokens are the callers of tokens.
type knownTokens map[string]auth.Caller

func (known knownTokens) Authenticate(_ context.Context, c auth.Credentials) (auth.Caller, error) {
	if who, ok := known[c.Bearer]; ok {
		return who, nil
	}
	return auth.Caller{}, auth.ErrUnauthenticated
}

// No header lets anybody in but those whom the authenticator knows.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"", "Bearer reader", "Bearer", "bearer  reader ", "Basic x", "Bearer a,b", "Bearer \x00", "Bearer " + strings.Repeat("x", 9000)} {
		f.Add(s, "")
	}
	f.Add("Bearer admin", "green")
	known := knownTokens{"reader": {Tenant: "blue", Scopes: []auth.Scope{auth.TasksRead}}, "admin": {Tenant: "default", Scopes: []auth.Scope{auth.Admin}}}
	cfg := Default()
	cfg.Authenticator = known
	g := assemble(cfg, &store.Store{}, slog.New(slog.DiscardHandler)).handler
	f.Fuzz(func(t *testing.T, header, tenant string) {
		r := httptest.NewRequest("GET", "/whoami", nil)
		if header != "" {
			r.Header["Authorization"] = []string{header}
		}
		if tenant != "" {
			r.Header["Mesh-Tenant"] = []string{tenant}
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
		case http.StatusOK:
			scheme, token, _ := strings.Cut(header, " ")
			if _, ok := known[strings.Trim(token, " ")]; !ok || !strings.EqualFold(scheme, "bearer") {
				t.Errorf("%q is let in", header)
			}
			if tenant != "" && !auth.ValidTenant(tenant) {
				t.Errorf("tenant %q", tenant)
			}
		default:
			t.Errorf("%q: %d %s", header, w.Code, w.Body)
		}
	})
}
