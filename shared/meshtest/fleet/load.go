//go:build unix

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"agentmesh/shared/meshtest/history"
	"agentmesh/shared/pause"
)

// Load is the clients of a fleet under test. They know HTTP only, ask any gateway
// and send what was not answered again, with the same key.
type Load struct {
	Ledger   *Ledger
	Gateways []string
	Callback string // of actions

	History *history.History // what was asked and answered, for the model; nil: not kept
}

// ask asks any gateway about the task of a request, and notes question and answer.
func (l *Load) ask(ctx context.Context, r *request, kind history.Kind, rnd *rand.Rand, method, path, key, body string) (status int, raw []byte, err error) {
	if l.History == nil {
		return l.do(ctx, rnd, method, path, key, body)
	}
	end := l.History.Begin(history.Op{Task: r.key, Kind: kind})
	status, raw, err = l.do(ctx, rnd, method, path, key, body)
	end(history.OfHTTP(kind, status, raw, err))
	return status, raw, err
}

// answer is of any task, action or turn.
type answer struct {
	TaskID   string          `json:"task_id"`
	ActionID string          `json:"action_id"`
	Status   string          `json:"status"`
	Attempt  int             `json:"attempt"`
	Result   json.RawMessage `json:"result"`
	Error    json.RawMessage `json:"error"`
}

func (a answer) id() string { return a.TaskID + a.ActionID }

func (a answer) state() state {
	if !ended[a.Status] {
		return state{a.Status, a.Attempt, ""}
	}
	return state{a.Status, a.Attempt, string(a.Result) + string(a.Error)}
}

// Tasks sends tasks and actions until ctx is done. Some are slow, some fail, some
// are canceled, some are sent twice.
func (l *Load) Tasks(ctx context.Context, name string, rnd *rand.Rand) {
	for i := 0; pause.For(ctx, time.Duration(rnd.IntN(40))*time.Millisecond); i++ {
		key := fmt.Sprintf("%s-%d", name, i)
		r := l.Ledger.sends(key, "/tasks", l.body(key, rnd))
		if rnd.IntN(5) == 0 {
			r.path = "/actions"
			r.body = fmt.Sprintf(`{"callback_url":%q,%s`, l.Callback, r.body[1:])
		}
		if !l.accept(ctx, r, rnd) {
			return
		}
		switch rnd.IntN(10) {
		case 0:
			l.accept(ctx, r, rnd)
		case 1:
			r.canceled = true
			_, _, _ = l.ask(ctx, r, history.Cancel, rnd, "POST", r.path+"/"+r.id+"/cancel", "", "")
		case 2, 3:
			l.look(ctx, r, rnd)
		}
	}
}

// body is a task for the sample agent echo.
func (l *Load) body(key string, rnd *rand.Rand) string {
	how := ""
	switch rnd.IntN(20) {
	case 0, 1, 2:
		how = fmt.Sprintf(`"echo_delay":"%dms",`, 50+rnd.IntN(2000))
	case 3:
		how = `"echo_fail_permanent":"as asked",`
	}
	return fmt.Sprintf(`{"agent":"echo","max_attempts":100,"input":{%s"n":%q}}`, how, key)
}

// accept sends a request until it is accepted, or ctx is done.
func (l *Load) accept(ctx context.Context, r *request, rnd *rand.Rand) bool {
	for {
		status, raw, err := l.ask(ctx, r, history.Create, rnd, "POST", r.path, r.key, r.body)
		var got answer
		switch {
		case err == nil && (status == http.StatusAccepted || status == http.StatusOK) && json.Unmarshal(raw, &got) == nil && got.id() != "":
			l.Ledger.accepted(r, got.id())
			return true
		case err == nil && status < 500 && status != http.StatusConflict && status != http.StatusTooManyRequests:
			l.Ledger.fault("POST %s %s: %d %s", r.path, r.key, status, raw)
			return true
		case !pause.For(ctx, 100*time.Millisecond):
			return false
		}
	}
}

// look reads a task once.
func (l *Load) look(ctx context.Context, r *request, rnd *rand.Rand) (state, bool) {
	status, raw, err := l.ask(ctx, r, history.Read, rnd, "GET", r.path+"/"+r.id, "", "")
	var got answer
	switch {
	case err != nil || status >= 500 || status == http.StatusTooManyRequests:
		return state{}, false
	case status != http.StatusOK || json.Unmarshal(raw, &got) != nil:
		l.Ledger.fault("GET %s/%s, which was accepted: %d %s", r.path, r.id, status, raw)
		return state{}, false
	}
	l.Ledger.sees(r, got.state())
	return got.state(), true
}

// do asks any gateway.
func (l *Load) do(ctx context.Context, rnd *rand.Rand, method, path, key, body string, header ...string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	url := l.Gateways[rnd.IntN(len(l.Gateways))] + path
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", `"`+key+`"`)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// Begin sends one task until it is accepted, and returns its id; empty: ctx is done.
func (l *Load) Begin(ctx context.Context, key, body string, rnd *rand.Rand) (id string) {
	r := l.Ledger.sends(key, "/tasks", body)
	if !l.accept(ctx, r, rnd) {
		return ""
	}
	return r.id
}

// Status reads the status of a task that was accepted; empty: there was no answer.
func (l *Load) Status(ctx context.Context, id string, rnd *rand.Rand) string {
	l.Ledger.mu.Lock()
	r := l.Ledger.tasks[id]
	l.Ledger.mu.Unlock()
	now, _ := l.look(ctx, r, rnd)
	return now.status
}

// Round sends a task and waits for its end; ok is false when ctx is done before.
func (l *Load) Round(ctx context.Context, key string, rnd *rand.Rand) (took time.Duration, ok bool) {
	began := time.Now()
	id := l.Begin(ctx, key, fmt.Sprintf(`{"agent":"echo","input":{"n":%q}}`, key), rnd)
	if id == "" {
		return 0, false
	}
	for !ended[l.Status(ctx, id, rnd)] {
		if !pause.For(ctx, 20*time.Millisecond) {
			return 0, false
		}
	}
	return time.Since(began), true
}
