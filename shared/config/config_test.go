package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"agentmesh/shared/config"
)

type sample struct {
	HTTP  string        `flag:"http" env:"MESH_HTTP" help:"address"`
	Drain time.Duration `flag:"drain" env:"MESH_DRAIN" help:"grace"`
	Max   int64         `flag:"max" env:"MESH_MAX" help:"bytes"`
	Rate  float64       `flag:"rate" env:"MESH_RATE" help:"a second"`
	On    bool          `flag:"on" env:"MESH_ON" help:"switch"`
	Token config.Secret `flag:"token" env:"MESH_TOKEN" help:"secret"`
	Other string
}

type second struct {
	Drain time.Duration `flag:"drain" env:"MESH_DRAIN" help:"grace"`
}

func load(t *testing.T, file string, env map[string]string, args ...string) (sample, second, error) {
	t.Helper()
	a, b := sample{HTTP: "default", Drain: time.Second}, second{Drain: time.Second}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	set := config.Bind(flags, &a, &b)
	if file != "" {
		name := filepath.Join(t.TempDir(), "mesh.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	err := flags.Parse(args)
	if err == nil {
		err = set.Load(func(k string) string { return env[k] })
	}
	return a, b, err
}

func TestPrecedence(t *testing.T) {
	file := "http: file\ndrain: 2s\nmax: 7\n"
	env := map[string]string{"MESH_HTTP": "env", "MESH_DRAIN": "3s"}
	for _, tt := range []struct {
		name  string
		file  string
		env   map[string]string
		args  []string
		http  string
		drain time.Duration
	}{
		{"default", "", nil, nil, "default", time.Second},
		{"file over default", file, nil, nil, "file", 2 * time.Second},
		{"env over file", file, env, nil, "env", 3 * time.Second},
		{"flag over env", file, env, []string{"--http", "flag", "--drain=4s"}, "flag", 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b, err := load(t, tt.file, tt.env, tt.args...)
			if err != nil || a.HTTP != tt.http || a.Drain != tt.drain {
				t.Errorf("got %+v, %v; want http %s, drain %v", a, err, tt.http, tt.drain)
			}
			if b.Drain != tt.drain {
				t.Errorf("second struct has drain %v, want %v: one flag, one value", b.Drain, tt.drain)
			}
		})
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name, file, want string
		env              map[string]string
		args             []string
	}{
		{"unknown key", "http: x\nhtpp: y\n", `mesh.yaml:2: there is no setting "htpp"`, nil, nil},
		{"bad duration in file", "drain: soon\n", `mesh.yaml:1: drain: "soon" is no duration`, nil, nil},
		{"list", "http: [a]\n", "mesh.yaml:1: http must be a single value", nil, nil},
		{"no mapping", "- a\n", "mesh.yaml:1: it must be a mapping", nil, nil},
		{"bad env", "", `environment variable MESH_MAX: "1e3" is no whole number`, map[string]string{"MESH_MAX": "1e3"}, nil},
		{"bad number", "rate: fast\n", `rate: "fast" is no number`, nil, nil},
		{"bad bool", "on: maybe\n", `"maybe" is neither true nor false`, nil, nil},
		{"missing file", "", "settings file: open /does/not/exist", nil, []string{"--config", "/does/not/exist"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load(t, tt.file, tt.env, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestSettingsOfOtherRolesArePassedOver has one file for several commands; a name
// that none has stays a mistake.
func TestSettingsOfOtherRolesArePassedOver(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mesh.yaml")
	load := func(text string) (string, error) {
		own, other := struct {
			HTTP string `flag:"http"`
		}{}, struct {
			Agents string `flag:"agents"`
		}{}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := pflag.NewFlagSet("gateway", pflag.ContinueOnError)
		set := config.Bind(flags, &own).PassOver(&own, &other)
		if err := flags.Parse([]string{"--config", name}); err != nil {
			t.Fatal(err)
		}
		return own.HTTP, set.Load(func(string) string { return "" })
	}
	if http, err := load("agents: a.yaml\nhttp: x\n"); err != nil || http != "x" {
		t.Errorf("http = %q, %v", http, err)
	}
	if _, err := load("agnets: a.yaml\n"); err == nil || !strings.Contains(err.Error(), `there is no setting "agnets"`) {
		t.Errorf("a misspelled setting: %v", err)
	}
}

func TestSecretHidesItself(t *testing.T) {
	a, _, err := load(t, "", map[string]string{"MESH_TOKEN": "hunter2"})
	if err != nil || a.Token != "hunter2" {
		t.Fatalf("token = %q, %v", string(a.Token), err)
	}
	if got := fmt.Sprintf("%v %s %+v", a.Token, a.Token, a); strings.Contains(got, "hunter2") {
		t.Errorf("secret shows in %s", got)
	}
	if got := config.Markdown(&a); strings.Contains(got, "hunter2") {
		t.Errorf("secret shows in the table:\n%s", got)
	}
}

func TestBoolFlagNeedsNoValue(t *testing.T) {
	a, _, err := load(t, "", nil, "--on")
	if err != nil || !a.On {
		t.Errorf("on = %v, %v; want true", a.On, err)
	}
}
