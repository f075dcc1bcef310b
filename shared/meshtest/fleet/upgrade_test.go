//go:build unix

package fleet_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/meshtest/fleet"
	"agentmesh/shared/natstest"
	"agentmesh/shared/pause"
)

var old = flag.String("old", "", "commit of the version that is upgraded from, or its program; empty: nothing is upgraded")

// earlier builds mesh from a commit; it skips the test, with the reason, where there is
// no history to build from.
func earlier(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	if filepath.IsAbs(commit) {
		return commit
	}
	if out, err := exec.Command("git", "cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("there is no commit %s here to upgrade from (%v: %s): it takes a clone with its history", commit, err, strings.TrimSpace(string(out)))
	}
	program := filepath.Join(dir, "mesh-old")
	build := exec.Command("sh", "-ec", `root=$(git rev-parse --show-toplevel); git -C "$root" archive "$1" | tar -x -C "$2"; cd "$2"; go build -o "$3" ./services/mesh`, "sh", commit, dir, program)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	return program
}

// upgrade is a fleet of two versions under load.
type upgrade struct {
	t        *testing.T
	f        *fleet.Fleet
	old, new string
	began    time.Time
}

// to replaces members one after the other by another version, under load.
func (u *upgrade) to(program string, members ...*fleet.Member) {
	u.t.Helper()
	for _, m := range members {
		u.t.Logf("%6.1fs %s runs %s", time.Since(u.began).Seconds(), m.Name, filepath.Base(program))
		if err := m.Replace(u.t.Context(), program); err != nil {
			u.t.Fatal(err)
		}
		pause.For(u.t.Context(), time.Second)
	}
}

// get asks a gateway.
func (u *upgrade) get(g *fleet.Member, path string) (v any) {
	u.t.Helper()
	natstest.Until(u.t, g.Name+" answers "+path, func() bool {
		resp, err := http.Get(g.URL + path)
		if err != nil {
			return false
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(raw, &v) == nil
	})
	return v
}

// reads compares what gateways of both versions read: whatever the old one says of a
// record the new one says, too.
func (u *upgrade) reads(old, new *fleet.Member, paths ...string) {
	u.t.Helper()
	for _, path := range paths {
		natstest.Until(u.t, path+" is read alike by both", func() bool {
			a, b := u.get(old, path), u.get(new, path)
			where := lacks("", a, b)
			if where != "" {
				u.t.Logf("%s: the old version has another %s", path, where)
			}
			return where == ""
		})
	}
}

// lacks is a member that a has and b has not, or otherwise; empty: there is none.
func lacks(at string, a, b any) string {
	switch a := a.(type) {
	case map[string]any:
		other, _ := b.(map[string]any)
		for name, v := range a {
			if volatile[name] {
				continue
			}
			if where := lacks(at+"/"+name, v, other[name]); where != "" {
				return where
			}
		}
		return ""
	case []any:
		other, _ := b.([]any)
		if len(other) != len(a) {
			return at
		}
		for i := range a {
			if where := lacks(fmt.Sprintf("%s/%d", at, i), a[i], other[i]); where != "" {
				return where
			}
		}
		return ""
	}
	if reflect.DeepEqual(a, b) {
		return ""
	}
	return fmt.Sprintf("%s: %v, %v", at, a, b)
}

// volatile are members that change between two reads.
var volatile = map[string]bool{"busy": true, "waiting": true, "last_seen": true, "updated_at": true, "next_cursor": true, "scanned": true, "workers": true, "live_workers": true, "slots": true, "status_url": true}

// ended are the newest tasks that have an end, by id.
func (u *upgrade) ended(g *fleet.Member) (paths []string) {
	list, _ := u.get(g, "/tasks?kind=task&status=completed,failed,canceled&limit=20").(map[string]any)
	tasks, _ := list["tasks"].([]any)
	for _, one := range tasks {
		if v, ok := one.(map[string]any); ok {
			paths = append(paths, fmt.Sprint("/tasks/", v["task_id"]), fmt.Sprint("/tasks/", v["task_id"], "/deliveries"))
		}
	}
	return paths
}

// Old and new processes run side by side on one NATS, under load: role by role is
// replaced, two go back and forth again, and the streams are migrated at the end. Nothing
// is lost, doubled or contradicted; each version reads what the other has written.
func TestARollingUpgradeLosesAndDoublesNothing(t *testing.T) {
	if *old == "" {
		t.Skip("it needs an older version and minutes: run `make upgrade`")
	}
	before := earlier(t, *old)
	dir := t.TempDir()
	now, nats := binaries(t, dir)
	ctx, c := begin(t, dir, before, nats)
	f := c.fleet

	u := &upgrade{t, f, before, now, time.Now()}
	pause.For(ctx, 2*time.Second)
	u.to(now, f.Notifiers[0], f.Workers[0], f.Gateways[0])
	subscribe(t, f.Gateways[0].URL, c.receiver.URL+"/other") // the old notifier opens its secret
	u.reads(f.Gateways[1], f.Gateways[0], u.ended(f.Gateways[0])...)
	u.reads(f.Gateways[1], f.Gateways[0], "/webhooks", "/agents/echo")
	u.to(before, f.Gateways[0], f.Workers[0], f.Notifiers[0]) // back again
	u.to(now, f.Gateways[0], f.Workers[0], f.Notifiers[0], f.Notifiers[1], f.Workers[1], f.Workers[2])
	u.reads(f.Gateways[1], f.Gateways[0], u.ended(f.Gateways[1])...)
	u.to(now, f.Gateways[1])
	u.migrate()
	pause.For(ctx, 2*time.Second)
	c.end()
	t.Logf("upgraded from %s in %v", *old, time.Since(u.began).Round(time.Second))
}

// migrate gives the streams the settings of the new version, under load, and finds that
// nothing is left to do.
func (u *upgrade) migrate() {
	u.t.Helper()
	for _, how := range []string{"--apply", "--dry-run"} {
		cmd := exec.CommandContext(u.t.Context(), u.new, "migrate", how)
		cmd.Env = append(os.Environ(), "NATS_URL="+u.f.NATSURL())
		out, err := cmd.CombinedOutput()
		u.t.Logf("%6.1fs mesh migrate %s\n%s", time.Since(u.began).Seconds(), how, out)
		if err != nil {
			u.t.Errorf("mesh migrate %s: %v", how, err)
		}
	}
}

// keep copies the logs of a fleet that failed.
func keep(t *testing.T, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		return
	}
	to, err := os.MkdirTemp("", "mesh-upgrade-")
	if err != nil {
		return
	}
	for _, l := range logs {
		if raw, err := os.ReadFile(l); err == nil {
			_ = os.WriteFile(filepath.Join(to, filepath.Base(l)), raw, 0o600)
		}
	}
	t.Logf("the logs are in %s", to)
}
