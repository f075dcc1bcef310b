package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"

	"agentmesh/services/mesh/floor"
	"agentmesh/services/mesh/load"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
	"agentmesh/worker/agents/echo"
)

// benchSlots is how many tasks a worker of a measured mesh runs at a time.
const benchSlots = 64

// measureOwn measures a mesh in this process, and the floor before it: each on a
// server of its own with the same settings, in a folder that is removed.
func (b *benchConfig) measureOwn(ctx context.Context, r *benchReport, draw *progress) error {
	dir, err := os.MkdirTemp(b.dir, "mesh-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the data: %w; choose another with --data", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r.Setup, b.CPU = b.own(dir), processorTime
	if !b.noFloor {
		draw.side = "floor"
		measured, err := b.measureFloor(ctx, dir+"/floor")
		if err != nil {
			return fmt.Errorf("measure the floor: %w", err)
		}
		r.Floor, r.Setup.Floor = &measured, "measured on a NATS server with the same settings"
	}
	if ctx.Err() != nil {
		r.Mesh.Interrupted = true
		return nil
	}
	draw.side = "mesh"
	if r.Mesh, err = b.measureMesh(ctx, dir+"/mesh"); err != nil {
		return err
	}
	r.Setup.MemoryMB = resident()
	r.compare()
	return nil
}

// measureFloor measures the least code that does the same writes.
func (b *benchConfig) measureFloor(ctx context.Context, dir string) (load.Result, error) {
	own := context.WithoutCancel(ctx) // it lives until the load has ended
	_, srv, free, err := b.server(dir)
	if err != nil {
		return load.Result{}, err
	}
	defer free()
	nc, err := natsconn.InProcess(srv, "floor", srv.token(), slog.New(slog.DiscardHandler))
	if err != nil {
		return load.Result{}, err
	}
	defer nc.Close()
	f, err := floor.Start(own, nc, floor.Options{Slots: benchSlots * b.workers})
	if err != nil {
		return load.Result{}, err
	}
	defer f.Stop()
	front := httptest.NewServer(f)
	defer front.Close()
	cfg := b.Config
	cfg.URLs, cfg.Bare = []string{front.URL}, true
	return load.Run(ctx, cfg)
}

// settings are those of a mesh that is measured.
func (b *benchConfig) settings(dir string) upConfig {
	cfg := defaultUp()
	cfg.server.Data, cfg.server.NATS, cfg.server.Sync, cfg.admin.Admin = dir, "off", b.sync, "off"
	cfg.gateway.HTTP, cfg.gateway.Auth = "127.0.0.1:0", "keys"
	return cfg
}

// server starts a NATS server with the settings of the mesh's.
func (b *benchConfig) server(dir string) (cfg upConfig, srv *embedded, free func(), err error) {
	cfg = b.settings(dir)
	at, err := takePlace(&cfg)
	if err != nil {
		return cfg, nil, nil, err
	}
	if srv, err = startServer(at, quiet()); err != nil {
		at.close()
		return cfg, nil, nil, err
	}
	return cfg, srv, func() {
		srv.close()
		at.close()
	}, nil
}

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// measureMesh measures gateways, workers and a notifier, each on a connection of its
// own, as `mesh up` has them.
func (b *benchConfig) measureMesh(ctx context.Context, dir string) (out load.Result, err error) {
	m, err := b.open(ctx, dir)
	if err != nil {
		return out, err
	}
	defer m.close()
	cfg := b.Config
	cfg.URLs = m.urls
	key, err := adminKeyIn(dir)
	if err != nil {
		return out, err
	}
	cfg.Header = http.Header{"Authorization": {"Bearer " + key.Reveal()}}
	return load.Run(ctx, cfg)
}

// ownMesh is a mesh in this process.
type ownMesh struct {
	*upMesh

	urls    []string
	parts   []proc.Part
	closers []func() // in reverse
}

// open starts the mesh. It runs until it is closed, also when ctx is done: what was
// begun is finished, or canceled.
func (b *benchConfig) open(ctx context.Context, dir string) (m *ownMesh, err error) {
	cfg := b.settings(dir)
	at, err := takePlace(&cfg)
	if err != nil {
		return nil, err
	}
	m = &ownMesh{upMesh: &upMesh{cfg: &cfg, at: at, log: quiet(), worker: b.worker(&cfg)}, urls: []string{at.url()}}
	m.later(at.close)
	if err = m.start(context.WithoutCancel(ctx), b); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// worker serves echo, and as many copies of it as are asked for.
func (b *benchConfig) worker(cfg *upConfig) *workerRole {
	w := &workerRole{worker: cfg.worker}
	for n := range b.agents + 1 {
		a := echo.Agent()
		if a.Concurrency = benchSlots; n > 0 {
			a.Name, a.Default = "echo-"+strconv.Itoa(n), false
		}
		w.served = append(w.served, a)
	}
	return w
}

func (m *ownMesh) later(f func()) { m.closers = append(m.closers, f) }

func (m *ownMesh) close() {
	for i := len(m.closers) - 1; i >= 0; i-- {
		m.closers[i]()
	}
}

// start opens the server, makes the parts, and runs them until close.
func (m *ownMesh) start(ctx context.Context, b *benchConfig) (err error) {
	if m.srv, err = startServer(m.at, m.log); err != nil {
		return err
	}
	m.later(m.srv.close)
	stores, err := openStores(ctx, m.srv, m.cfg.store, m.log)
	if err != nil {
		return err
	}
	m.later(stores.close)
	if m.parts, err = m.upMesh.parts(ctx, stores); err != nil {
		return err
	}
	for n := 1; n < b.gateways && err == nil; n++ {
		err = m.addGateway(ctx)
	}
	for n := 1; n < b.workers && err == nil; n++ {
		err = m.addWorker(ctx, b)
	}
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := proc.Run(running, m.parts...); err != nil {
			m.log.Error("the mesh that is measured has ended", "error", err)
		}
	}()
	m.later(func() {
		stop()
		<-ended
	})
	return nil
}

// store opens a connection and a store of its own.
func (m *ownMesh) store(ctx context.Context, name string) (*store.Store, error) {
	nc, err := natsconn.InProcess(m.srv, name, m.srv.token(), m.log)
	if err != nil {
		return nil, err
	}
	m.later(nc.Close)
	return store.Open(ctx, nc, m.cfg.store)
}

func (m *ownMesh) addGateway(ctx context.Context) error {
	st, err := m.store(ctx, "gateway")
	if err != nil {
		return err
	}
	cfg := m.cfg.gateway
	if cfg.Listener, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return fmt.Errorf("listen for another gateway: %w", err)
	}
	m.urls = append(m.urls, "http://"+cfg.Listener.Addr().String())
	parts, err := gatewayParts(cfg, m.cfg.console, st, m.log)
	m.parts = append(m.parts, parts...)
	return err
}

func (m *ownMesh) addWorker(ctx context.Context, b *benchConfig) error {
	st, err := m.store(ctx, "worker")
	if err != nil {
		return err
	}
	parts, err := b.worker(m.cfg).parts(ctx, st, m.log)
	m.parts = append(m.parts, parts...)
	return err
}

// resident is the resident memory of this process in MB, 0 where the system does not
// tell.
func resident() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kb, _ := strconv.ParseInt(text, 10, 64)
	return kb / 1024
}
