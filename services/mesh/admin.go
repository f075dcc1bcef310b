package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"slices"
	"strings"
	"time"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/proc"
	"agentmesh/shared/sameorigin"
)

// adminConfig is the listener for those who run the mesh. It is never the
// public one.
type adminConfig struct {
	Admin    string `flag:"admin" env:"MESH_ADMIN" help:"address of the admin listener (/metrics, /healthz, /readyz, /debug/pprof); off disables it"`
	Insecure bool   `flag:"insecure" env:"MESH_INSECURE" help:"listen on other addresses than loopback without authentication"`
}

func defaultAdmin() adminConfig { return adminConfig{Admin: "127.0.0.1:9090"} }

// on reports whether there is a listener.
func (c adminConfig) on() bool { return c.Admin != "off" }

// validate refuses an address that others reach.
func (c adminConfig) validate() error {
	if c.on() && !c.Insecure && !onLoopback(c.Admin) {
		return cli.Usage("admin is %q: it has no authentication, so it listens on loopback only, since whoever reaches it may read the memory of the process; "+
			"choose 127.0.0.1, or pass --insecure if something in front of it lets nobody else in", c.Admin)
	}
	return nil
}

// cmdline is /debug/pprof/cmdline without the values of flags: they may be
// secrets, or hold some.
func cmdline(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, strings.Join(masked(os.Args), "\x00"))
}

// masked keeps the program, its commands and the names of flags.
func masked(args []string) []string {
	shown := slices.Clone(args)
	flags := false
	for i, arg := range shown[1:] {
		name, _, hasValue := strings.Cut(arg, "=")
		switch flag := strings.HasPrefix(arg, "-"); {
		case flag && hasValue:
			shown[i+1] = name + "=***"
		case !flag && flags:
			shown[i+1] = "***"
		}
		flags = flags || strings.HasPrefix(arg, "-")
	}
	return shown
}

// parts serves on l; there is none when the listener is off.
func (c adminConfig) parts(l net.Listener, metrics http.Handler, state *opening, log *slog.Logger) []proc.Part {
	if l == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := state.waitsFor(); why != "" {
			http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := &http.Server{Handler: ownPages(mux, c.Insecure), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return []proc.Part{{Name: "admin", Run: func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}}
}

// ownPages keeps the pages of other sites out: whoever reads a profile reads the
// memory of the process.
func ownPages(next http.Handler, anyHost bool) http.Handler {
	guard, err := sameorigin.Guard(next, sameorigin.Rules{AnyHost: anyHost}, func(w http.ResponseWriter, _ *http.Request, why sameorigin.Reason) {
		if why == sameorigin.WrongHost {
			http.Error(w, "The admin listener is for programs of this machine: use 127.0.0.1 or localhost as the host.", http.StatusMisdirectedRequest)
			return
		}
		http.Error(w, "A page of another site may change nothing here.", http.StatusForbidden)
	})
	if err != nil {
		panic(err) // there is no origin that could be wrong
	}
	return guard
}
