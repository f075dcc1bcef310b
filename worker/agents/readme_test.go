package agents_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/manualtest"
	"agentmesh/shared/session"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
	"agentmesh/worker/agents/exec"
	"agentmesh/worker/agents/http"
	"agentmesh/worker/agents/linestest"
	"agentmesh/worker/agents/protocol"
)

// readme is the page for authors.
func readme(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// snippet is its first block of code of a language.
func snippet(t *testing.T, language string) string {
	t.Helper()
	return manualtest.Snippets(t, "README.md", language)[0]
}

// ear counts what a job tells.
type ear struct{ said []string }

func (e *ear) Progress(int, string) { e.said = append(e.said, "progress") }
func (e *ear) Milestone(context.Context, string, string, json.RawMessage) error {
	e.said = append(e.said, "milestone")
	return nil
}
func (e *ear) Output(string) { e.said = append(e.said, "output") }
func (e *ear) Warn(text string) {
	e.said = append(e.said, "warning "+text)
}

func names(t reflect.Type) (all []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all = append(all, name)
	}
	return all
}

// The page shows each member of the object that agents receive, and no other.
func TestReadmeShowsWhatAgentsReceive(t *testing.T) {
	var shown map[string]any
	if err := json.Unmarshal([]byte(snippet(t, "json")), &shown); err != nil {
		t.Fatal(err)
	}
	inner, _ := shown["session"].(map[string]any)
	for _, tt := range []struct {
		shown map[string]any
		is    reflect.Type
	}{{shown, reflect.TypeFor[protocol.Request]()}, {inner, reflect.TypeFor[protocol.Session]()}} {
		want := names(tt.is)
		for name := range tt.shown {
			if !slices.Contains(want, name) {
				t.Errorf("%s is no member of %v", name, tt.is)
			}
		}
		if len(tt.shown) != len(want) {
			t.Errorf("%v is shown with %d of its members %v", tt.is, len(tt.shown), want)
		}
	}
}

// Every block of code on the page works as it stands.
func TestReadmeSnippets(t *testing.T) {
	for _, text := range manualtest.Snippets(t, "README.md", "yaml") {
		if _, err := agents.Parse("README.md", []byte("\n"+text), func(name string) (string, bool) { return "secret of " + name, true }); err != nil {
			t.Error(err)
		}
	}
	e := &ear{}
	o, err := protocol.Read(t.Context(), strings.NewReader(snippet(t, "jsonl")), agent.NewJob(&task.Task{}, nil, "", e))
	if err != nil || strings.Join(e.said, " ") != "progress milestone output" || o.Result == nil || o.Reply == nil || o.Err == nil || o.Err.Permanent {
		t.Errorf("%v %+v %v", err, o, e.said)
	}
	m := &linestest.Memory{}
	durable := agent.NewJob(&task.Task{}, nil, "", &ear{}).WithLines(m)
	book, err := protocol.OpenBook(t.Context(), durable, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := manualtest.Snippets(t, "README.md", "jsonl")[1]
	if o, err := protocol.ReadDurable(t.Context(), strings.NewReader(lines), durable, book, nil); err != nil || o.Text != "" || len(m.Told()) != 6 {
		t.Errorf("steps: %v %+v %v", err, o, m.Told())
	}
	job := agent.NewJob(&task.Task{ID: "tsk_1", Instruction: `say "it" \ louder`}, nil, "", &ear{})
	for language, program := range map[string][]string{"python": {"python3", "-c"}, "sh": {"sh", "-c"}} {
		if _, err := osexec.LookPath(program[0]); err != nil {
			continue
		}
		v, err := exec.New(exec.Config{Command: append(program, snippet(t, language))}, exec.Options{Log: slog.New(slog.DiscardHandler)})(t.Context(), job)
		if got, _ := json.Marshal(v); err != nil || !strings.Contains(string(got), `SAY \"IT\" \\ LOUDER`) {
			t.Errorf("%s: %s, %v", language, got, err)
		}
	}
	t.Run("js", func(t *testing.T) {
		if _, err := osexec.LookPath("node"); err != nil {
			t.Skip("node is not here")
		}
		url := serveNode(t, snippet(t, "js"))
		v, err := http.New(http.Config{URL: url}, http.Options{})(t.Context(), job)
		if got, _ := v.(json.RawMessage); err != nil || string(got) != `"SAY \"IT\" \\ LOUDER"` {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// serveNode runs a service in Node and gives its address.
func serveNode(t *testing.T, code string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := osexec.CommandContext(t.Context(), "node", "--input-type=module", "-e", code)
	cmd.Env = append(os.Environ(), "PORT="+port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	deadline, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return "http://" + address
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the service does not listen")
		}
	}
}

var row = regexp.MustCompile(`(?m)^\| ([0-9, ]+) \| (.*) \|$`)

// The page says of each HTTP status what the worker makes of it.
func TestReadmeSaysWhichStatusesAreTriedAgain(t *testing.T) {
	seen := 0
	for _, m := range row.FindAllStringSubmatch(readme(t), -1) {
		for text := range strings.SplitSeq(m[1], ", ") {
			status, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			srv := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "")
			}))
			_, err = http.New(http.Config{URL: srv.URL}, http.Options{})(t.Context(), agent.NewJob(&task.Task{}, nil, "", &ear{}))
			srv.Close()
			var e *agent.Error
			errors.As(err, &e)
			got := "completed"
			switch {
			case e != nil && e.Permanent:
				got = "`" + e.Code + "`, not tried again"
			case e != nil:
				got = "`" + e.Code + "`, tried again"
			}
			if !strings.HasPrefix(m[2], got) {
				t.Errorf("%d is %s, the page says %s", status, got, m[2])
			}
		}
	}
	if seen < 20 {
		t.Errorf("the page speaks of %d statuses", seen)
	}
}

// The limits on the page are those of the code.
func TestReadmeLimits(t *testing.T) {
	page := readme(t)
	for _, want := range []string{
		fmt.Sprintf("(%d MiB)", agent.DefaultMaxResult>>20),
		fmt.Sprintf("nested %d deep; numbers of %d digits, exponents within ±%d", task.MaxNesting, task.MaxDigits, task.MaxExponent),
		fmt.Sprintf("%d KiB, %d KiB |", session.MaxReply>>10, session.MaxState>>10),
		fmt.Sprintf("data | %d bytes", agent.MaxData),
		fmt.Sprintf("%d, and %d KiB of them", task.MaxMilestones, task.MaxMilestoneBytes>>10),
		fmt.Sprintf("%d different ones, %d bytes each", task.MaxWarnings, task.MaxWarning),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
