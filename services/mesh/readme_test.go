package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"agentmesh/shared/config"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/telemetry"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents"
)

// The tables of the manual are what the code says.
func TestGoldenReadme(t *testing.T) {
	const page = "../../deploy/README.md"
	cfg := defaultUp()
	manualtest.Table(t, page, "settings", config.Markdown(cfg.settings()...))
	manualtest.Table(t, page, "nats", config.Markdown(new(natsconn.Default(""))))
	manualtest.Table(t, page, "metrics", metricsTable())
}

// The settings that the manual shows for callers are settings.
func TestReadmeShowsHowToAskWhoCalls(t *testing.T) {
	for _, block := range manualtest.Snippets(t, "../../gateway/README.md", "yaml") {
		dir, ca := t.TempDir(), meshtest.NewAuthority(t)
		shown := meshtest.WriteFile(t, dir, "shown.yaml", []byte(block))
		args := append(files(t, ca, dir), "--client-cert-map", shown, "--auth", "certs")
		if !strings.HasPrefix(block, "- ") {
			args = []string{"--config", shown}
		}
		cfg, flags := defaultUp(), pflag.NewFlagSet("up", pflag.ContinueOnError)
		set := config.Bind(flags, cfg.settings()...)
		err := flags.Parse(args)
		if err == nil {
			err = set.Load(func(string) string { return "" })
		}
		if err == nil {
			err = cfg.auth.validate(cfg.gateway.Auth)
		}
		if err == nil {
			err = cfg.auth.vouched.open(&cfg.gateway, meshtest.Quiet())
		}
		if err == nil {
			_, _, err = cfg.auth.vouched.authenticators(cfg.gateway.Auth, cfg.callbacks.egress, "", meshtest.Quiet())
		}
		if err != nil {
			t.Errorf("%v:\n%s", err, block)
		}
	}
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | unit | labels | what |\n|---|---|---|---|\n")
	for _, i := range telemetry.Instruments() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", i.Name, strings.Trim(i.Unit, "{}"), strings.Join(i.Labels, ", "), i.Help)
	}
	return b.String()
}

var (
	curls   = regexp.MustCompile(`curl -s localhost:8080(\S+)((?: | \\\n\s*)-[HdX] '[^']*')*`)
	curlArg = regexp.MustCompile(`-([HdX]) '([^']*)'`)
)

// Every request of the manual is accepted as it stands, but for those of ids
// that an answer gives.
func TestReadmeRequests(t *testing.T) {
	m := meshtest.New(t)
	shown, err := agents.Load(examples, agents.Options{Log: meshtest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range agents.Samples() {
		if !slices.ContainsFunc(shown, func(s agent.Agent) bool { return s.Name == a.Name }) {
			shown = append(shown, a)
		}
	}
	m.Work(shown...)
	for _, page := range []string{"../../README.md", "../../gateway/README.md", "../../worker/README.md", "../../notifier/README.md"} {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		for _, command := range curls.FindAllStringSubmatch(string(raw), -1) {
			if strings.Contains(command[1], "_01a2") {
				continue
			}
			method, body, headers := http.MethodGet, "", []string(nil)
			for _, arg := range curlArg.FindAllStringSubmatch(command[0], -1) {
				switch arg[1] {
				case "d":
					method, body = http.MethodPost, arg[2]
				case "X":
					method = arg[2]
				default:
					name, value, _ := strings.Cut(arg[2], ": ")
					headers = append(headers, name, value)
				}
			}
			r := m.Do(method, command[1], body, headers...)
			if r.Code/100 != 2 {
				t.Errorf("%s: %s\nis answered by %d %s", page, command[0], r.Code, meshtest.Clipped(r.Body.Bytes()))
			}
			if r.Code == http.StatusAccepted { // it is not waited for
				m.Do(http.MethodPost, r.Header().Get("Location")+"/cancel", "")
			}
			sent++
		}
		if sent == 0 {
			t.Errorf("%s has no request", page)
		}
	}
}
