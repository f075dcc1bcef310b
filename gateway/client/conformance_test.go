package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"agentmesh/gateway/client"
)

// sdks has the list played to the clients in TypeScript and Python, too, as make sdks
// does; then node and python3 must be there.
var sdks = flag.Bool("sdks", false, "play the conformance list to the clients in other languages")

// conformance is one case of the list: what a client is asked to do, what a gateway
// answers, and what should come of it. It is the same for the clients of all languages.
type conformance struct {
	Name     string
	Call     map[string]any
	Answers  []act
	Requests []struct {
		Method, Path string
		JSON         any
		Has          []string
		Headers      map[string]string
	} // the first of them
	Queries  []map[string]string
	After    []string // the Last-Event-ID of each request
	Same     string   // a header that all requests have, with one value
	Bytewise bool     // answers are sent byte by byte
	LeastMS  int      `json:"least_ms"`
	Want     map[string]any
	Not      map[string]string // clients that differ, and why
}

// act is what the gateway does with one request.
type act struct {
	Hangup  bool
	Status  int
	Headers map[string]string
	JSON    any
	Problem string // code
	Text    string
	Cut     int // bytes of the body that come
	SSE     []string
	Hold    bool // it does not end the stream
}

func conformanceList(t *testing.T) (list []conformance) {
	t.Helper()
	raw, err := os.ReadFile("testdata/conformance.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

// player has a client do something, and says what came of it.
type player func(ctx context.Context, base string, call map[string]any) map[string]any

func TestConformanceOfGo(t *testing.T) { conforms(t, "go", playGo) }
func TestConformanceOfPython(t *testing.T) {
	conforms(t, "python", program(t, "python3", "python/tests/play.py"))
}
func TestConformanceOfTypeScript(t *testing.T) {
	conforms(t, "typescript", program(t, "node", "typescript/test/play.js"))
}

func conforms(t *testing.T, who string, play player) {
	for _, c := range conformanceList(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if why, ok := c.Not[who]; ok {
				t.Skip("this client differs: " + why)
			}
			g := perform(t, c)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			began := time.Now()
			got := play(ctx, g.base, c.Call)
			if !reflect.DeepEqual(got, c.Want) {
				t.Errorf("it came to %v\nwant %v", got, c.Want)
			}
			if took := time.Since(began); took < time.Duration(c.LeastMS)*time.Millisecond {
				t.Errorf("it took %v, and should have waited %d ms", took, c.LeastMS)
			}
			g.check(t, c)
		})
	}
}

// scriptedGateway answers as a case says, and keeps what it was asked.
type scriptedGateway struct {
	base string
	mu   sync.Mutex
	seen []*http.Request
	body [][]byte
}

func perform(t *testing.T, c conformance) *scriptedGateway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &scriptedGateway{base: "http://" + l.Addr().String()}
	done := make(chan struct{})
	var serving sync.WaitGroup
	t.Cleanup(func() { close(done); _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer func() { _ = conn.Close() }(); g.answer(conn, c, done) })
		}
	})
	return g
}

// answer reads one request of a connection and answers it.
func (g *scriptedGateway) answer(conn net.Conn, c conformance, done <-chan struct{}) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	n := len(g.seen)
	g.seen, g.body = append(g.seen, r), append(g.body, body)
	g.mu.Unlock()
	if n >= len(c.Answers) {
		_, _ = io.WriteString(conn, "HTTP/1.1 500 No more answers\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	a := c.Answers[n]
	for i, piece := range a.pieces() {
		step := len(piece)
		if c.Bytewise && i > 0 {
			step = 1
		}
		for ; len(piece) > 0; piece = piece[min(step, len(piece)):] {
			if _, err := conn.Write(piece[:min(step, len(piece))]); err != nil {
				return
			}
		}
	}
	if a.Hold {
		<-done
	}
}

// pieces are the head of an answer, and what is behind it.
func (a act) pieces() [][]byte {
	if a.Hangup {
		return nil
	}
	if a.SSE != nil {
		all := [][]byte{[]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")}
		for _, s := range a.SSE {
			all = append(all, []byte(s))
		}
		return all
	}
	body, kind := []byte(a.Text), "text/html"
	if a.JSON != nil {
		body, _ = json.Marshal(a.JSON)
		kind = "application/json"
	}
	if a.Problem != "" {
		body = fmt.Appendf(nil, `{"type":"/problems/%s","title":"A problem","status":%d,"code":%q,"retryable":%v}`, a.Problem, a.Status, a.Problem, a.Status == 503 || a.Status == 429)
		kind = "application/problem+json"
	}
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nConnection: close\r\n", a.Status, http.StatusText(a.Status), kind)
	if a.Status != http.StatusNoContent {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	for name, value := range a.Headers {
		if d, ok := strings.CutPrefix(value, "in "); ok {
			later, _ := time.ParseDuration(d)
			value = time.Now().Add(later).UTC().Format(http.TimeFormat)
		}
		head += name + ": " + value + "\r\n"
	}
	if a.Cut > 0 {
		body = body[:a.Cut]
	}
	return [][]byte{[]byte(head + "\r\n"), body}
}

// check compares what the gateway was asked with what it should have been.
func (g *scriptedGateway) check(t *testing.T, c conformance) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.seen) != len(c.Answers) {
		t.Errorf("%d requests, want %d", len(g.seen), len(c.Answers))
	}
	for i, want := range c.Requests {
		if i >= len(g.seen) {
			return
		}
		r := g.seen[i]
		if r.Method != want.Method || r.URL.EscapedPath() != want.Path {
			t.Errorf("request %d is %s %s, want %s %s", i, r.Method, r.URL.EscapedPath(), want.Method, want.Path)
		}
		var body any
		if _ = json.Unmarshal(g.body[i], &body); want.JSON != nil && !reflect.DeepEqual(body, want.JSON) {
			t.Errorf("its body is %s, want %v", g.body[i], want.JSON)
		}
		for _, name := range want.Has {
			if r.Header.Get(name) == "" {
				t.Errorf("it has no %s", name)
			}
		}
		for name, value := range want.Headers {
			if r.Header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, r.Header.Get(name), value)
			}
		}
	}
	for i, r := range g.seen {
		if c.Same != "" && (r.Header.Get(c.Same) == "" || r.Header.Get(c.Same) != g.seen[0].Header.Get(c.Same)) {
			t.Errorf("request %d has %s %q, the first one %q", i, c.Same, r.Header.Get(c.Same), g.seen[0].Header.Get(c.Same))
		}
		if i < len(c.After) && r.Header.Get("Last-Event-ID") != c.After[i] {
			t.Errorf("request %d goes on after %q, want %q", i, r.Header.Get("Last-Event-ID"), c.After[i])
		}
		if i >= len(c.Queries) {
			continue
		}
		for name, value := range c.Queries[i] {
			if got := r.URL.Query()[name]; strings.Join(got, ",") != value {
				t.Errorf("request %d has %s=%v, want %q", i, name, got, value)
			}
		}
	}
}

// playGo is the client of this package.
func playGo(ctx context.Context, base string, call map[string]any) map[string]any {
	c, err := client.New(base, client.WithKey("amk_test"))
	if err != nil {
		return told(err)
	}
	id, _ := call["id"].(string)
	switch call["do"] {
	case "create":
		var r client.Request
		raw, _ := json.Marshal(call["body"])
		_ = json.Unmarshal(raw, &r)
		o := client.CreateOptions{}
		o.IdempotencyKey, _ = call["key"].(string)
		if wait, ok := call["wait"].(float64); ok {
			o.Wait = time.Duration(wait) * time.Second
		}
		return shown(c.Tasks.Create(ctx, r, o))
	case "get":
		return shown(c.Tasks.Get(ctx, id))
	case "cancel":
		return shown(c.Tasks.Cancel(ctx, id))
	case "result":
		t, err := c.Tasks.Wait(ctx, id)
		switch {
		case err != nil:
			return told(err)
		case t.Status == "failed":
			return map[string]any{"failed": t.Error.Code}
		case t.Status == "canceled":
			return map[string]any{"canceled": true}
		}
		var result any
		_ = json.Unmarshal(t.Result, &result)
		return map[string]any{"result": result}
	case "list":
		ids := []any{}
		for t, err := range c.Tasks.All(ctx, client.Filter{Statuses: []string{"failed", "canceled"}, Labels: map[string]string{"team": "a b"}}) {
			if err != nil {
				return told(err)
			}
			ids = append(ids, t.TaskID)
		}
		return map[string]any{"ids": ids}
	}
	events := []any{}
	for e, err := range c.Tasks.Events(ctx, id) {
		if err != nil {
			return told(err)
		}
		text := e.Output
		switch {
		case e.Task != nil:
			text = e.Task.Status
		case e.Milestone != nil:
			text = e.Milestone.Name
		}
		events = append(events, e.Type+" "+e.ID+" "+text)
	}
	return map[string]any{"events": events}
}

func shown(t *client.Task, err error) map[string]any {
	if err != nil {
		return told(err)
	}
	return map[string]any{"id": t.TaskID, "status": t.Status}
}

func told(err error) map[string]any {
	var p *client.Problem
	if !errors.As(err, &p) {
		return map[string]any{"error": err.Error()}
	}
	e := map[string]any{"status": float64(p.Status), "code": p.Code}
	pointers := []any{}
	for _, one := range p.Errors {
		pointers = append(pointers, one.Pointer)
	}
	if len(pointers) > 0 {
		e["pointers"] = pointers
	}
	return map[string]any{"error": e}
}

// program plays the list with a client in another language: each line of its input is
// a case, and each line of its output what came of one.
func program(t *testing.T, command ...string) player {
	t.Helper()
	if !*sdks {
		t.Skip("make sdks plays the list to this client")
	}
	cmd := exec.Command(command[0], command[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	waiting := map[string]chan map[string]any{}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var answer struct {
				Base string
				Came map[string]any
			}
			if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
				t.Errorf("it says %s", lines.Text())
				continue
			}
			mu.Lock()
			waiting[answer.Base] <- answer.Came
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = in.Close()
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context, base string, call map[string]any) map[string]any {
		came := make(chan map[string]any, 1)
		line, _ := json.Marshal(map[string]any{"base": base, "call": call})
		mu.Lock()
		waiting[base] = came
		_, _ = in.Write(append(line, '\n'))
		mu.Unlock()
		select {
		case m := <-came:
			return m
		case <-ctx.Done():
			return map[string]any{"error": "it has not answered"}
		}
	}
}
