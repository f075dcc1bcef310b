package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/secret"
)

// serverConfig is the embedded NATS server of `mesh up`.
type serverConfig struct {
	Data string `flag:"data" env:"MESH_DATA" help:"folder of the embedded server's data"`
	NATS string `flag:"nats" env:"MESH_NATS" help:"listen address of the embedded NATS server; off: in this process only"`
	// Token is what others show to the server.
	Token config.Secret `flag:"nats-token" env:"MESH_NATS_TOKEN" help:"token that others show to the embedded NATS server; off: it asks for none. <data>/nats.token, made at the first start, when left out"`
	Sync  string        `flag:"sync" env:"MESH_SYNC" help:"when writes reach the disk: always (a 202 survives a power cut) or an interval such as 2m"`

	AcceptLoss bool `flag:"accept-loss" env:"MESH_ACCEPT_LOSS" help:"go on without data that is missing, see /readyz"`
}

func defaultServer() serverConfig {
	return serverConfig{Data: "./data", NATS: "127.0.0.1:4222", Sync: "always"}
}

// durability says in words what a 202 survives.
func (c serverConfig) durability() string { return "sync " + c.Sync }

// maxPayload lets a record with an input, a result and a history at their
// limits be one message.
const maxPayload = 4 << 20

func (c serverConfig) options() (*server.Options, error) {
	o := &server.Options{
		ServerName: "mesh", JetStream: true, StoreDir: filepath.Join(c.Data, "nats"),
		NoSigs: true, MaxPayload: maxPayload, DisableJetStreamBanner: true,
	}
	if c.Sync == "always" {
		o.SyncAlways = true
	} else {
		d, err := time.ParseDuration(c.Sync)
		if err != nil || d <= 0 {
			return nil, cli.Usage("sync is %q, allowed are always and durations such as 2m", c.Sync)
		}
		o.SyncInterval = d
	}
	if c.NATS == "off" {
		o.DontListen = true
		return o, nil
	}
	host, port, err := net.SplitHostPort(c.NATS)
	if err != nil {
		return nil, cli.Usage("nats is %q, it must be host:port or off", c.NATS)
	}
	if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
		return nil, cli.Usage("nats is %q, the port must be a number from 0 to 65535", c.NATS)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, cli.Usage("nats is %q: the embedded server has no TLS, so it listens on loopback only; for a fleet run a NATS cluster", c.NATS)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	o.Host = host
	return o, nil
}

// noToken switches the token off.
const noToken = "off"

// token is what the server asks of others, empty: nothing. The one beside the data
// is made where there is none, and never written over.
func (c serverConfig) token() (config.Secret, error) {
	switch {
	case c.NATS == "off" || c.Token == noToken:
		return "", nil
	case c.Token != "":
		return c.Token, nil
	}
	token, err := natsconn.ReadToken(c.Data)
	if errors.Is(err, fs.ErrNotExist) {
		if err := secret.Keep(filepath.Join(c.Data, natsconn.TokenFile), rand.Text()); err != nil {
			return "", fmt.Errorf("make NATS token: %w", err)
		}
		return natsconn.ReadToken(c.Data)
	}
	return token, err
}

// asks says in words what the server asks of others.
func (c serverConfig) asks() string {
	switch c.Token {
	case noToken:
		return "no token is asked for"
	case "":
		return "token in " + filepath.Join(c.Data, natsconn.TokenFile)
	}
	return "token of MESH_NATS_TOKEN"
}

// embedded is the server of `mesh up`: the one that runs now, see guard.
type embedded struct {
	opts  *server.Options
	books *books
	log   *slog.Logger

	mu  sync.RWMutex
	srv *server.Server
}

// startServer starts the embedded server in its place.
func startServer(at *place, log *slog.Logger) (*embedded, error) {
	if at.nats != nil {
		_ = at.nats.Close()
	}
	e := &embedded{opts: at.server, log: log, books: openBooks(filepath.Dir(at.server.StoreDir), log)}
	if err := e.open(at.acceptLoss); err != nil {
		return nil, err
	}
	if address, ok := e.server().Addr().(*net.TCPAddr); ok {
		e.opts.Port = address.Port // also after a restart
	}
	return e, nil
}

// open starts the server on its data, and finds out whether all is there.
func (e *embedded) open(acceptLoss bool) error {
	if err := e.books.checkBlocks(e.opts.StoreDir); err != nil {
		return err
	}
	if err := e.start(); err != nil {
		return err
	}
	err := e.books.compare(e.server(), e.opts.StoreDir)
	if err == nil && acceptLoss {
		e.books.accept()
	}
	if err == nil {
		err = e.books.write(e.server(), false)
	}
	if err != nil {
		e.stop()
	}
	return err
}

// start starts the server. Consumers whose state is corrupt would never come up:
// their state is set aside, and they begin anew.
func (e *embedded) start() error {
	var corrupt corruptConsumers
	if err := e.launch(&corrupt); err != nil || len(corrupt.all()) == 0 {
		return err
	}
	e.stop()
	for _, c := range corrupt.all() {
		if err := c.setAside(e.opts.StoreDir, e.log); err != nil {
			return err
		}
	}
	return e.launch(&corruptConsumers{})
}

func (e *embedded) launch(corrupt *corruptConsumers) error {
	srv, err := server.NewServer(e.opts.Clone())
	if err != nil {
		return fmt.Errorf("start embedded NATS: %w", err)
	}
	srv.SetLoggerV2(serverLog{e.log, corrupt}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return errors.New("start embedded NATS: it was not ready within 30s; the log says why")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.srv = srv
	return nil
}

func (e *embedded) server() *server.Server {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.srv
}

// InProcessConn connects to the server that runs now: clients of the one before
// reconnect to it.
func (e *embedded) InProcessConn() (net.Conn, error) { return e.server().InProcessConn() }

// token is what it asks of clients, also of those in this process.
func (e *embedded) token() config.Secret { return config.Secret(e.opts.Authorization) }

// ClientURL is where clients reach it.
func (e *embedded) ClientURL() string { return e.server().ClientURL() }

// storageLimit is what it may keep on disk.
func (e *embedded) storageLimit() int64 { return e.server().JetStreamConfig().MaxStore }

// close writes down what the server has, for the next start, and ends it.
func (e *embedded) close() {
	if e.frozen() == nil {
		if err := e.books.write(e.server(), true); err != nil {
			e.log.Warn("not written down what the data has", "error", err)
		}
	}
	e.stop()
}

// stop ends the server, and returns when it has let go of its data.
func (e *embedded) stop() {
	srv := e.server()
	srv.Shutdown()
	srv.WaitForShutdown()
}

// healthy is the server's own word on itself.
func (e *embedded) healthy() error {
	if h := e.server().Healthz(&server.HealthzOptions{}); h != nil && h.StatusCode != 0 && h.StatusCode != 200 {
		return errors.New(h.Error)
	}
	return nil
}

// lockData makes the data folder and takes it for this process. The kernel
// lets go of the lock when the process ends, however it ends.
func lockData(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make data folder: %w; choose another with --data", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w; choose another with --data", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data folder %s is used by another mesh: stop that one, or choose another folder with --data", dir)
	}
	return f, nil
}

// serverLog passes the server's log lines on.
type serverLog struct {
	log     *slog.Logger
	corrupt *corruptConsumers
}

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}
func (l serverLog) Debugf(format string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Tracef(format string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.corrupt.note(text)
	if strings.Contains(text, "sync_interval") || strings.Contains(text, "Filesystem") {
		l.log.Debug("nats: " + text)
		return
	}
	l.log.Warn("nats: " + text)
}
func (l serverLog) Errorf(format string, v ...any) { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Fatalf(format string, v ...any) { l.log.Error("nats: " + fmt.Sprintf(format, v...)) }
