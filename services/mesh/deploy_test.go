package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
	"agentmesh/shared/manualtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/telemetry"
)

// scrape is what a process tells at /metrics: of each name the keys of its
// labels, and of each family its type.
type scrape struct {
	labels map[string]map[string]bool // by name of the samples
	types  map[string]string          // by name of the family
}

var sample = regexp.MustCompile(`^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? `)

func readMetrics(t *testing.T, url string) scrape {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	s := scrape{map[string]map[string]bool{}, map[string]string{}}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
			s.types[fields[2]] = fields[3]
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if s.labels[m[1]] == nil {
			s.labels[m[1]] = map[string]bool{}
		}
		for _, key := range labelKeys(m[2]) {
			s.labels[m[1]][key] = true
		}
	}
	return s
}

var labelKey = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)

func labelKeys(braces string) (keys []string) {
	for _, m := range labelKey.FindAllStringSubmatch(quoted.ReplaceAllString(braces, `""`), -1) {
		keys = append(keys, m[1])
	}
	return keys
}

// busyMesh is a mesh in which everything that is counted has happened once. It
// returns the address of its metrics.
func busyMesh(t *testing.T) string {
	t.Helper()
	col := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", col.http+"/v1/traces")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	p := startUp(t, t.TempDir(), "--admin", "127.0.0.1:0", "--demo-llm")
	_, rest, ok := strings.Cut(p.Output.String(), "admin ")
	if !ok {
		t.Fatalf("no admin listener:\n%s", p.Output)
	}
	admin := strings.Fields(rest)[0]
	c, err := client.New(p.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer receiver.Close()
	for _, r := range []client.Request{
		{Agent: "echo", Input: json.RawMessage(`{"echo_fail_permanent":"broken"}`)},
		{Agent: "assistant", Instruction: "refuse"},
		{Agent: "assistant", Instruction: "A model calls a tool. Its budget is spent. Nothing is left."},
		{Agent: "echo", Input: json.RawMessage(`1`), CallbackURL: receiver.URL + "/good"},
		{Agent: "echo", Input: json.RawMessage(`1`), CallbackURL: receiver.URL + "/gone"},
	} {
		if task, err := c.Tasks.Create(t.Context(), r, client.CreateOptions{Wait: 20 * time.Second}); err != nil || !task.Done {
			t.Fatalf("%+v, %v", task, err)
		}
	}
	every, overlap := "1s", "allow"
	if _, err := c.Schedules.Create(t.Context(), client.ScheduleRequest{Every: &every, Overlap: &overlap, Task: &api.ScheduleTask{Work: api.Work{Agent: "echo", Instruction: "x"}}}); err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "a schedule has fired", func() bool {
		all, err := c.Schedules.List(t.Context())
		return err == nil && all[0].Counts.Fired > 0
	})
	if _, err := c.Tasks.Cancel(t.Context(), "tsk_00000000000070008000000000000000"); err == nil {
		t.Fatal("a task that is not there was canceled")
	}
	natstest.Until(t, "one delivery is delivered and one dead", func() bool {
		all, _, err := c.Deliveries.List(t.Context(), client.DeliveryFilter{}, "")
		return err == nil && len(all) == 2 && !slices.ContainsFunc(all, func(d client.Delivery) bool { return d.Status != "delivered" && d.Status != "dead" })
	})
	natstest.Until(t, "spans are exported", func() bool {
		return len(readMetrics(t, admin+"/metrics").labels["mesh_telemetry_spans_total"]) > 0
	})
	return admin + "/metrics"
}

// The dashboards and alerts use only metrics that the program exports, and it
// exports the names that were agreed.
func TestGoldenMetricsAndDashboards(t *testing.T) {
	got := readMetrics(t, busyMesh(t))
	t.Run("every instrument is exported", func(t *testing.T) {
		for _, i := range telemetry.Instruments() {
			name := strings.ReplaceAll(i.Name, ".", "_")
			if !slices.ContainsFunc(slices.Collect(maps.Keys(got.types)), func(family string) bool { return strings.HasPrefix(family, name) }) {
				t.Errorf("%s is not at /metrics", i.Name)
			}
		}
	})
	t.Run("golden", func(t *testing.T) {
		var lines []string
		for family, kind := range got.types {
			if strings.HasPrefix(family, "go_") { // the runtime's, named by OpenTelemetry
				continue
			}
			one := family
			if kind == "histogram" {
				one += "_count"
			}
			keys := slices.Sorted(maps.Keys(got.labels[one]))
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", family, kind, strings.Join(keys, " "))))
		}
		slices.Sort(lines)
		manualtest.File(t, "testdata/metrics.txt", strings.Join(lines, "\n")+"\n")
	})
	files, err := filepath.Glob("../../deploy/dashboards/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { checkDashboard(t, file, got) })
	}
	t.Run("alerts", func(t *testing.T) { checkAlerts(t, got) })
	t.Run("it can fail", func(t *testing.T) {
		for expr, want := range map[string]string{
			"sum(rate(mesh_task_accepted_total[5m]))":            "mesh_task_accepted_total",
			`mesh_queue_depth{tenant="a"}`:                       "tenant",
			"max by (worker) (mesh_queue_depth)":                 "worker",
			`sum by (agent) (mesh_queue_depth{agent=~"$agent"})`: "",
		} {
			if faults := strings.Join(got.check(expr), " "); (faults == "") != (want == "") || !strings.Contains(faults, want) {
				t.Errorf("%s: %q, want %q", expr, faults, want)
			}
		}
	})
}

func checkDashboard(t *testing.T, file string, got scrape) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Panels     []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Query any
			}
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil || d.UID == "" || d.Title == "" || len(d.Panels) == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			for _, fault := range got.check(q.Expr) {
				t.Errorf("panel %s: %s in %s", p.Title, fault, q.Expr)
			}
		}
	}
}

func checkAlerts(t *testing.T, got scrape) {
	raw, err := os.ReadFile("../../deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(raw, &rules); err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile("../../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Count(string(book), "\n## ")
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			for _, fault := range got.check(r.Expr) {
				t.Errorf("%s: %s in %s", r.Alert, fault, r.Expr)
			}
			if want := "deploy/RUNBOOK.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want || !strings.Contains(string(book), "\n## "+r.Alert+"\n") {
				t.Errorf("%s points to %q, want %s and a section of that name", r.Alert, r.Annotations["runbook"], want)
			}
			if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s has no summary or no severity", r.Alert)
			}
		}
	}
	if n < 7 || n != sections {
		t.Errorf("%d alerts, %d sections of the runbook", n, sections)
	}
}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	selector = regexp.MustCompile(`([a-z_:][a-z0-9_:]*)\s*\{([^}]*)\}`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
	// targetLabels are given by whoever scrapes.
	targetLabels = []string{"le", "instance", "job"}
	keywords     = []string{"and", "or", "unless", "bool"}
)

// check names what a PromQL expression asks for and the program does not export:
// names, and keys of labels.
func (s scrape) check(expr string) (faults []string) {
	expr = window.ReplaceAllString(quoted.ReplaceAllString(expr, `""`), "")
	keys := map[string]bool{}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		for _, key := range labelKeys(m[2]) {
			if !s.labels[m[1]][key] {
				faults = append(faults, fmt.Sprintf("%s has no label %s", m[1], key))
			}
		}
	}
	rest := grouping.ReplaceAllString(selector.ReplaceAllString(expr, "$1"), "")
	for _, w := range word.FindAllString(rest, -1) {
		if strings.HasSuffix(w, "(") || slices.Contains(keywords, strings.TrimSpace(w)) {
			continue
		}
		labels, ok := s.labels[strings.TrimSpace(w)]
		if !ok {
			faults = append(faults, "there is no metric "+w)
		}
		for key := range labels {
			keys[key] = true
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for key := range strings.SplitSeq(m[1], ",") {
			if key = strings.TrimSpace(key); !keys[key] && !slices.Contains(targetLabels, key) {
				faults = append(faults, "no metric has the label "+key)
			}
		}
	}
	return faults
}
