package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
	"agentmesh/worker"
	"agentmesh/worker/agent"
)

// runs counts how often each task has run, by its instruction.
type runs struct {
	mu sync.Mutex
	of map[string]int
}

func (r *runs) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]int{}
	}
	r.of[what]++
}

func (r *runs) count(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[what]
}

// keptAgents are "quick", which counts and answers, "asks", which asks a person, and
// "talk", which counts the turns of its session.
func keptAgents(r *runs, large string) []agent.Agent {
	quick := meshtest.Named("quick", func(_ context.Context, job *agent.Job) (any, error) {
		r.add(job.Instruction)
		if job.Instruction == "large" {
			return large, nil
		}
		return job.Instruction, nil
	})
	asks := meshtest.Named("asks", func(ctx context.Context, job *agent.Job) (any, error) {
		first, err := agent.Step(ctx, job, "first", func(context.Context, agent.StepInfo) (string, error) {
			r.add("first step")
			return "first", nil
		})
		if err != nil {
			return nil, err
		}
		answer, err := agent.Ask[string](ctx, job, "which", agent.Question{Prompt: "Which one?"})
		return first + " " + answer, err
	})
	return []agent.Agent{quick, asks, meshtest.Counter()}
}

// A backup of a mesh at work, put into another NATS: what had finished is there and does
// not run again, what waited, was scheduled, was asked or to be delivered goes on, and
// what came meanwhile does no harm. Secrets stay sealed.
func TestABackupLosesNothingAndRunsNothingTwice(t *testing.T) {
	natstest.Long(t)
	t.Parallel() // it waits for leases and delays
	var before, after runs
	large := strings.Repeat("large ", store.InlineLimit/3)
	m := meshtest.New(t)
	short := worker.Default()
	short.Lease = 2 * time.Second
	stopWorker, stopNotifier := m.WorkWith(short, m.Store, keptAgents(&before, large)...), m.Notify()
	down := m.Receive(meshtest.Answer(http.StatusServiceUnavailable))
	secretURL := down.URL + "?token=hush-hush"
	hook := m.Subscribe(`{"url":"` + m.Receive(nil).URL + `"}`)

	var finished []string
	for i := range 20 {
		finished = append(finished, m.Create(fmt.Sprintf(`{"agent":"quick","instruction":"done %d"}`, i), "Idempotency-Key", fmt.Sprintf("key-%d", i)))
	}
	finished = append(finished, m.Create(`{"agent":"quick","instruction":"large"}`))
	for _, id := range finished {
		m.End(id)
	}
	talk := m.Session("counter")
	m.Say(http.StatusOK, talk, "one")
	m.Say(http.StatusOK, talk, "two")
	asked := m.Create(`{"agent":"asks","instruction":"ask"}`)
	natstest.Until(t, "a person is asked", func() bool { return m.Get(asked).Status == "input_required" })
	action := m.Action(`{"agent":"quick","instruction":"told","callback_url":"` + secretURL + `"}`)
	natstest.Until(t, "the callback has failed once", func() bool {
		all := m.Deliveries(action)
		return len(all) > 0 && len(all[0].Attempts) > 0
	})
	if w := m.Do("POST", "/schedules", `{"every":"1h","task":{"agent":"quick","instruction":"hourly"}}`); w.Code != http.StatusCreated {
		t.Fatalf("POST /schedules = %d %s", w.Code, w.Body)
	}
	later := m.Create(`{"agent":"quick","instruction":"later","delay":"8s"}`)
	waiting := m.Create(`{"agent":"quick","instruction":"nobody yet","delay":"1h"}`)

	if err := m.Store.Registry.AnnounceGateway(t.Context(), "before", store.Gateway{URL: "http://before", Public: true}); err != nil {
		t.Fatal(err)
	}

	busy, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for i := 0; busy.Err() == nil; i++ {
				m.Do("POST", "/tasks", fmt.Sprintf(`{"agent":"quick","instruction":"meanwhile %d"}`, i))
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "backup")
	taken, err := backUp(t.Context(), m.NC, dir)
	stop()
	load.Wait()
	stopWorker()
	stopNotifier()
	if err != nil || taken.OwnKey || len(taken.Copies) != len(topology.BackupOrder()) {
		t.Fatalf("%+v, %v", taken, err)
	}
	secrets := []string{"hush-hush", hook.Secret, meshtest.TestKey}
	for _, secret := range secrets {
		if where := holding(t, dir, secret); where != "" {
			t.Errorf("%s has the secret %q in plain text", where, secret)
		}
	}
	if holding(t, dir, "nobody yet") == "" {
		t.Error("the search for secrets does not find what is there")
	}

	srv := natstest.Start(t)
	if _, err := putBack(t.Context(), srv.Connect(t), dir, store.DefaultOptions(0)); err != nil {
		t.Fatal(err)
	}
	up := meshtest.NewOn(t, srv)
	up.Hosts, up.Guard = m.Hosts, m.Guard
	up.Gateway = up.NewGateway(up.Store)
	down.Answer(meshtest.Answer(http.StatusOK))
	told := len(down.All())
	up.WorkWith(short, up.Store, keptAgents(&after, large)...)
	up.Notify()
	if named, err := up.Store.Registry.Gateways(t.Context()); err != nil || len(named) > 0 {
		t.Errorf("gateways of the mesh before are named: %v, %v", named, err)
	}
	for i, id := range finished {
		was, is := m.Get(id), up.Get(id)
		if is.Status != "completed" || !bytes.Equal(was.Result, is.Result) || is.UpdatedAt != was.UpdatedAt {
			t.Errorf("task %d was %+v, is %+v", i, was, is)
		}
	}
	if w := up.Do("GET", "/tasks/"+finished[20]+"/result", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), large) {
		t.Errorf("GET large result = %d", w.Code)
	}
	if again := up.Create(`{"agent":"quick","instruction":"done 3"}`, "Idempotency-Key", "key-3"); again != finished[3] {
		t.Errorf("a repeated request made %s, want %s", again, finished[3])
	}
	if v := up.Say(http.StatusOK, talk, "three"); !strings.HasPrefix(v.Message, "3") {
		t.Errorf("the session goes on with %q, want its third turn", v.Message)
	}
	if w := up.Do("POST", "/tasks/"+asked+"/input", `{"name":"which","value":"this one"}`); w.Code >= 300 {
		t.Fatalf("POST input = %d %s", w.Code, w.Body)
	}
	if v := up.End(asked); !strings.Contains(string(v.Result), "first") || !strings.Contains(string(v.Result), "this one") {
		t.Errorf("the task that asked ends with %+v", v)
	}
	if v := up.End(later); v.Status != "completed" || after.count("later") > 1 {
		t.Errorf("the task of later is %+v, it ran %d times", v, after.count("later"))
	}
	if v := up.Get(waiting); v.Status != "pending" {
		t.Errorf("the task of an hour later is %+v", v)
	}
	natstest.Until(t, "the callback is delivered", func() bool {
		all := up.Deliveries(action)
		return len(all) > 0 && all[0].Status == "delivered"
	})
	meshtest.Verify(t, down.All()[told], up.CallbackSecret())
	for i := range 20 {
		if n := after.count(fmt.Sprintf("done %d", i)); n > 0 {
			t.Errorf("the finished task %d ran %d times more", i, n)
		}
	}
	if n := after.count("first step") + after.count("large"); n > 0 {
		t.Errorf("what was done ran %d times more", n)
	}
	natstest.Until(t, "what came meanwhile has ended, too", func() bool { return up.Queued() == 1 }) // that of an hour later
}

// holding is the file of a backup that has a text; empty: none has.
func holding(t *testing.T, dir, text string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(s2.NewReader(bytes.NewReader(raw))); err == nil {
			raw = plain
		}
		if bytes.Contains(raw, []byte(text)) {
			return filepath.Base(name)
		}
	}
	return ""
}

// Commands for operators: a copy of one server goes to three, and what must not be
// overwritten, or is damaged, is refused before anything is changed.
func TestRestoreRefusesWhatItWouldBreak(t *testing.T) {
	one := natsAt(t, server.Options{JetStream: true, MaxPayload: maxPayload})
	other := natsAt(t, server.Options{JetStream: true, MaxPayload: maxPayload})
	dir := filepath.Join(t.TempDir(), "backup")
	run := func(want int, says string, args ...string) {
		t.Helper()
		code, out, errs := command(t, append(args, "--log-level", "error")...)
		if code != want || !strings.Contains(out+errs, says) {
			t.Errorf("mesh %s: exit %d, want %d with %q\n%s%s", strings.Join(args, " "), code, want, says, out, errs)
		}
	}
	run(1, "not found", "backup", dir, "--nats-url", one.ClientURL())
	run(0, "made", "init", "--nats-url", one.ClientURL())
	run(0, "copied 0 messages", "backup", dir, "--nats-url", one.ClientURL())
	run(1, "is not empty: name a new folder", "backup", dir, "--nats-url", one.ClientURL())
	run(1, "is no backup", "restore", t.TempDir(), "--nats-url", other.ClientURL())
	run(1, "run it as one of three", "restore", dir, "--nats-url", other.ClientURL(), "--replicas", "3")
	run(0, "put back 0 messages", "restore", dir, "--nats-url", other.ClientURL())
	run(0, "put back", "restore", dir, "--nats-url", other.ClientURL()) // of an empty mesh nothing is lost
	run(0, "nothing to do", "init", "--nats-url", other.ClientURL())
	run(0, `"own_key":false`, "backup", dir+"-json", "--json", "--nats-url", other.ClientURL())

	file := filepath.Join(dir, "KV_tasks.snapshot")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read %s: %v", file, info.Mode())
	}
	if err := os.WriteFile(file, append(raw[:len(raw)-1], raw[len(raw)-1]^1), 0o600); err != nil {
		t.Fatal(err)
	}
	run(1, "KV_tasks.snapshot is damaged", "restore", dir, "--nats-url", other.ClientURL())
	run(0, "nothing to do", "init", "--nats-url", other.ClientURL())

	address := startedGateway(t, other.ClientURL())
	natstest.Until(t, "a gateway has written", func() bool {
		resp, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	run(1, "there is a mesh already", "restore", dir+"-json", "--nats-url", other.ClientURL())
	run(0, "the one that seals secrets is in the backup", "backup", dir+"-3", "--nats-url", other.ClientURL())
}

// startedGateway starts a gateway process, and returns its address.
func startedGateway(t *testing.T, nats string) (address string) {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p, output := meshtest.Spawn(t, []string{"MESH_TEST_MAIN=1", "NATS_URL=" + nats, "MESH_ADMIN=off"}, "gateway", "--http", address, "--log-format", "json")
	go p.Drain(output)
	return address
}

// copies has the backup's own user copy a mesh, and change nothing.
func (g *guarded) copies(m *meshtest.Mesh) {
	g.t.Helper()
	much := make([]byte, store.InlineLimit)
	_, _ = rand.Read(much) // does not shrink, so that the copy has several pieces
	m.End(m.Create(`{"agent":"alpha","input":"` + base64.StdEncoding.EncodeToString(much) + `"}`))
	nc := g.as(topology.BackupUser)
	if _, _, err := store.Examine(g.t.Context(), nc); err != nil { // as mesh doctor does
		g.t.Error(err)
	}
	if _, err := store.RightsOf(g.t.Context(), nc); err != nil {
		g.t.Error(err)
	}
	dir := filepath.Join(g.t.TempDir(), fmt.Sprint(time.Now().UnixNano()))
	if m, err := backUp(g.t.Context(), nc, dir); err != nil || len(m.Copies) == 0 {
		g.t.Errorf("%+v, %v", m, err)
	}
}
