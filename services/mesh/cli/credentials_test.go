package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
)

// local are the commands that call no gateway, or ask it for what is public: the
// check of an image has no key.
var local = map[string]bool{
	"mesh hook send": true, "mesh inbox list": true, "mesh inbox show": true, "mesh inbox answer": true, "mesh inbox clear": true, "mesh healthcheck": true, "mesh agents check": true, "mesh agents schema": true, "mesh agents discover": true, "mesh context add": true, "mesh context use": true, "mesh context list": true, "mesh context delete": true,
}

// argumentsOf are some that a command takes.
func argumentsOf(cmd *cobra.Command) (args []string) {
	args = append(args, strings.Fields(cmd.CommandPath())[1:]...)
	for _, what := range strings.Fields(cmd.Use)[1:] {
		if what == "URL" {
			what = "http://127.0.0.1:1/"
		}
		args = append(args, strings.Trim(what, "[]."))
	}
	switch cmd.CommandPath() {
	case "mesh top":
		args = append(args, "--once")
	case "mesh task answer", "mesh action answer":
		args = append(args, "--value", "true")
	case "mesh webhook verify":
		args = append(args, "--header", "webhook-id: dlv_1", "--body", "{}")
	case "mesh keys create":
		args = append(args, "--scopes", "tasks:read")
	case "mesh hook create", "mesh hook edit", "mesh hook rotate":
		args = append(args, "--secret", "@testdata/schedules.yaml")
	case "mesh schedule apply":
		args = append(args, "-f", "testdata/schedules.yaml")
	case "mesh action run":
		args = append(args, "--callback-url", "http://127.0.0.1:1/")
	}
	return args
}

// Every command that calls a gateway shows it the key, and the tenant that it acts
// for; a flag goes before the environment.
func TestEveryCommandShowsItsCredentials(t *testing.T) {
	var asked, plain atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer amk_flag" || r.Header.Get("Mesh-Tenant") != "blue" {
			plain.Add(1)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"code":"forbidden","title":"no","status":403}`))
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("amk_flag\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MESH_API_KEY", "amk_environment")
	t.Setenv("MESH_TENANT", "blue")
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.HasSubCommands() || local[cmd.CommandPath()] {
			return
		}
		asked.Store(0)
		plain.Store(0)
		args := append(argumentsOf(cmd), "--gateway", srv.URL, "--api-key", "@"+file)
		code, out, errs := cli(t, args...)
		if asked.Load() == 0 || plain.Load() > 0 || code == ExitOK {
			t.Errorf("mesh %s: %d requests, %d without credentials, exit %d\n%s%s", strings.Join(args, " "), asked.Load(), plain.Load(), code, out, errs)
		}
		if strings.Contains(out+errs, "amk_") {
			t.Errorf("mesh %s tells the key: %s%s", strings.Join(args, " "), out, errs)
		}
	}
	walk(Root(nil))
}

func TestAFileInPlaceOfAKeyIsNotSent(t *testing.T) {
	t.Setenv("MESH_API_KEY", "@admin.key")
	if code, _, errs := cli(t, "whoami", "--gateway", "http://127.0.0.1:1"); code != ExitUsage || !strings.Contains(errs, "--api-key @admin.key") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
