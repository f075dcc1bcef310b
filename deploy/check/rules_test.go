package check

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// alerts.yaml passes what promtool check rules does.
func TestAlertsPassPrometheus(t *testing.T) {
	text, err := os.ReadFile("../alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 || len(groups.Groups) == 0 {
		t.Fatal(groups, errs)
	}
	broken := strings.Replace(string(text), "expr: ", "expr: )", 1)
	if _, errs := rulefmt.Parse([]byte(broken), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler)); len(errs) == 0 {
		t.Error("a broken rule passes")
	}
}

// Dashboards have the members that Grafana's classic schema asks for, each panel a place
// of its own, and each expression one that Prometheus parses.
func TestDashboardsAreWhatGrafanaReads(t *testing.T) {
	files, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID, Title    string
			SchemaVersion int
			Panels        []struct {
				ID      int
				Type    string
				Title   string
				GridPos struct{ H, W, X, Y int }
				Targets []struct{ Expr, RefID string }
			}
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.SchemaVersion < 30 || len(d.Panels) == 0 {
			t.Errorf("%s: uid %q, title %q, schemaVersion %d, %d panels", file, d.UID, d.Title, d.SchemaVersion, len(d.Panels))
		}
		ids, places := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := places[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: panels %q and %q lie upon each other", file, other, p.Title)
					}
					places[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "" || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 || ids[p.ID] {
				t.Errorf("%s: panel %q: %+v", file, p.Title, p)
			}
			ids[p.ID] = true
			for _, q := range p.Targets {
				expr := strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "1h").Replace(q.Expr)
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(expr); err != nil {
					t.Errorf("%s: panel %q: %v", file, p.Title, err)
				}
			}
		}
	}
}
