package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/notifier"
	"agentmesh/services/mesh/floor"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/worker"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/echo"
)

// benchBody has an input of about 200 bytes.
var benchBody = `{"agent":"echo","input":{"text":"` + strings.Repeat("0123456789", 18) + `"}}`

// benchMesh runs the whole mesh on a server with the given durability, and
// returns a gateway on a socket.
func benchMesh(b *testing.B, always bool) *httptest.Server {
	b.Helper()
	return benchAgent(b, always, benchEcho())
}

// benchEcho does nothing, often at once.
func benchEcho() agent.Agent {
	a := echo.Agent()
	a.Concurrency = benchSlots
	return a
}

// benchAgent runs the whole mesh with an agent.
func benchAgent(b *testing.B, always bool, a agent.Agent) *httptest.Server {
	b.Helper()
	front, _ := benchParts(b, always, a)
	return front
}

func benchParts(b *testing.B, always bool, a agent.Agent) (*httptest.Server, *store.Store) {
	b.Helper()
	srv := natstest.StartWith(b, server.Options{StoreDir: b.TempDir(), SyncAlways: always})
	return benchPartsOn(b, srv.Connect(b), 1, a)
}

// benchPartsOn runs all of the mesh but its server.
func benchPartsOn(b *testing.B, nc *nats.Conn, replicas int, a agent.Agent) (*httptest.Server, *store.Store) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(b.Context(), nc, store.Options{Replicas: replicas})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w, err := worker.New(ctx, worker.Default(), st, []agent.Agent{a}, log)
	if err != nil {
		b.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = w.Run(ctx) })
	guard, keys := benchReceivers(b)
	n, err := notifier.New(ctx, notifier.Default(), st, guard, keys, log)
	if err != nil {
		b.Fatal(err)
	}
	done.Go(func() { _ = n.Run(ctx) })
	cfg := gateway.Default()
	cfg.HTTP, cfg.Guard, cfg.Keys = "127.0.0.1:0", guard, keys
	g, err := gateway.New(cfg, st, log)
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(g.Handler())
	b.Cleanup(func() {
		front.Close()
		g.Close()
		cancel()
		done.Wait()
	})
	return front, st
}

func benchFloor(b *testing.B, always bool) *httptest.Server {
	b.Helper()
	return benchFloorSteps(b, always, 0)
}

func benchFloorSteps(b *testing.B, always bool, steps int) *httptest.Server {
	b.Helper()
	srv := natstest.StartWith(b, server.Options{StoreDir: b.TempDir(), SyncAlways: always})
	return benchFloorOn(b, srv.Connect(b), floor.Options{Slots: benchSlots, Steps: steps})
}

func benchFloorOn(b *testing.B, nc *nats.Conn, o floor.Options) *httptest.Server {
	b.Helper()
	f, err := floor.Start(b.Context(), nc, o)
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(f)
	b.Cleanup(func() {
		front.Close()
		f.Stop()
	})
	return front
}

// roomy gives this process the heap of the program.
var roomy = sync.OnceFunc(keepHeapRoom)

// benchPost sends benchBody from clients at once.
func benchPost(b *testing.B, url string, clients int, prefer string, status int, headers ...string) {
	b.Helper()
	roomy()
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer c.CloseIdleConnections()
	one := func() {
		req, err := http.NewRequest("POST", url+"/tasks", strings.NewReader(benchBody))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if prefer != "" {
			req.Header.Set("Prefer", prefer)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := c.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != status {
			b.Errorf("status %d, want %d", resp.StatusCode, status)
		}
	}
	for range 32 {
		one() // connections, the quick streak
	}
	b.ResetTimer()
	before := processorTime()
	if clients == 1 {
		for b.Loop() {
			one()
		}
	} else {
		b.SetParallelism(clients / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

func grid(b *testing.B, f func(b *testing.B, impl string, always bool, clients int)) {
	for _, sync := range []string{"always", "2m"} {
		for _, clients := range []int{1, 32} {
			for _, impl := range []string{"floor", "mesh"} {
				b.Run(fmt.Sprintf("sync=%s/clients=%d/impl=%s", sync, clients, impl), func(b *testing.B) { f(b, impl, sync == "always", clients) })
			}
		}
	}
}

// BenchmarkAccept is one POST to its 202.
func BenchmarkAccept(b *testing.B) {
	grid(b, func(b *testing.B, impl string, always bool, clients int) {
		front := benchFloorOrMesh(b, impl, always)
		benchPost(b, front.URL, clients, "", http.StatusAccepted)
	})
}

// BenchmarkWholePath is one POST until its terminal record is seen.
func BenchmarkWholePath(b *testing.B) {
	grid(b, func(b *testing.B, impl string, always bool, clients int) {
		front := benchFloorOrMesh(b, impl, always)
		benchPost(b, front.URL, clients, "wait=30", http.StatusOK)
	})
}

func benchFloorOrMesh(b *testing.B, impl string, always bool) *httptest.Server {
	if impl == "floor" {
		return benchFloor(b, always)
	}
	return benchMesh(b, always)
}

// BenchmarkList is a page of 50 out of 2,000 tasks.
func BenchmarkList(b *testing.B) {
	front := benchMesh(b, false)
	for range 2000 {
		resp, err := http.Post(front.URL+"/tasks?wait=10s", "application/json", strings.NewReader(benchBody))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	for _, query := range []string{"limit=50", "limit=50&status=failed"} {
		b.Run(query, func(b *testing.B) {
			for b.Loop() {
				resp, err := http.Get(front.URL + "/tasks?" + query)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(err, resp)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}

// BenchmarkStreamFanOut is one task's outcome to 500 readers of its stream.
func BenchmarkStreamFanOut(b *testing.B) {
	const readers = 500
	front := benchMesh(b, false)
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readers}}
	defer c.CloseIdleConnections()
	for b.Loop() {
		resp, err := http.Post(front.URL+"/tasks", "application/json", strings.NewReader(`{"agent":"echo","input":{"echo_delay":"300ms"}}`))
		if err != nil {
			b.Fatal(err)
		}
		var t struct {
			ID string `json:"task_id"`
		}
		err = json.NewDecoder(resp.Body).Decode(&t)
		_ = resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		var first, last time.Time
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				resp, err := c.Get(front.URL + "/tasks/" + t.ID + "/events")
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				mu.Lock()
				defer mu.Unlock()
				if last = time.Now(); first.IsZero() {
					first = last
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(last.Sub(first).Microseconds())/1000, "ms/first-to-last")
	}
}

// BenchmarkIdleMemory is the resident memory of an idle `mesh up`, a second
// after its start.
func BenchmarkIdleMemory(b *testing.B) {
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "up", "--data", b.TempDir(), "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--admin", "off")
		cmd.Env = append(os.Environ(), "MESH_TEST_MAIN=1")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		<-time.After(time.Second)
		status, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err != nil {
			b.Skip("this system does not tell a process's memory")
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(kb)/1024, "MB-resident")
	}
}

// BenchmarkOutput is a line of an agent's live output to a reader of the task's
// stream.
func BenchmarkOutput(b *testing.B) {
	next := make(chan struct{})
	front := benchAgent(b, true, meshtest.Named("talks", func(_ context.Context, job *agent.Job) (any, error) {
		for range next {
			job.Output(strconv.FormatInt(time.Now().UnixNano(), 10))
		}
		return nil, nil
	}))
	c, err := client.New(front.URL)
	if err != nil {
		b.Fatal(err)
	}
	t, err := c.Tasks.Create(b.Context(), client.Request{Agent: "talks", Instruction: "x"}, client.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	events, stop := iter.Pull2(c.Tasks.Events(b.Context(), t.TaskID))
	defer stop()
	var took []time.Duration
	for b.Loop() {
		next <- struct{}{}
		for {
			e, err, _ := events()
			if err != nil {
				b.Fatal(err)
			}
			if at, err := strconv.ParseInt(e.Output, 10, 64); err == nil {
				took = append(took, time.Since(time.Unix(0, at)))
				break
			}
		}
	}
	close(next)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
}

// BenchmarkGet is one poll of a finished task among 2,000.
func BenchmarkGet(b *testing.B) {
	front := benchMesh(b, false)
	var last struct {
		ID string `json:"task_id"`
	}
	for range 2000 {
		resp, err := http.Post(front.URL+"/tasks?wait=10s", "application/json", strings.NewReader(benchBody))
		if err != nil {
			b.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&last)
		_ = resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		resp, err := http.Get(front.URL + "/tasks/" + last.ID)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}
