package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"agentmesh/gateway"
	"agentmesh/gateway/client"
	"agentmesh/gateway/console"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/proc"
	"agentmesh/shared/sameorigin"
)

// mountConsole has a gateway serve the console: a client of its API without a socket.
func mountConsole(g *gateway.Gateway, cfg gateway.Config, pages console.Config, log *slog.Logger) ([]proc.Part, error) {
	if pages.Console == console.Off {
		return nil, nil
	}
	api, err := client.New("http://gateway.internal", client.WithHTTPClient(&http.Client{Transport: console.Inside(g.Handler())}))
	if err != nil {
		return nil, err
	}
	o := console.Options{Config: pages, API: api, Callers: strings.TrimSuffix(cfg.PublicURL, "/"), Log: log}
	if cfg.Auth != "off" && cfg.Keys != nil {
		o.Sealer = cfg.Keys
	}
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Host != "" {
		o.Origins = []string{u.Scheme + "://" + u.Host}
	}
	c, err := console.New(o)
	if err != nil {
		return nil, cli.Misuse(err)
	}
	g.Mount(console.Path, c)
	return []proc.Part{{Name: "console", Run: c.Run}}, nil
}

// consoleCommand serves the console of a mesh that is elsewhere, to this machine.
func consoleCommand() *cobra.Command {
	pages := console.Default()
	listen := "127.0.0.1:8090"
	cmd := &cobra.Command{
		Use: "console", Short: "Serve the web console of a mesh that is elsewhere, to browsers of this machine", Args: cli.NoArgs,
		Example: "  mesh console --url https://mesh.example.com --api-key @prod.key",
	}
	connect := cli.Connect(cmd)
	cmd.Flags().StringVar(&listen, "http", listen, "address of the console, on loopback: whoever reaches it acts with the key")
	cmd.Flags().StringVar(&pages.Console, "console", pages.Console, "on, or read-only")
	cmd.Flags().BoolVar(&pages.HidePayloads, "hide-payloads", false, "show no inputs, results, output, messages and payloads")
	cmd.Flags().SetNormalizeFunc(urlIsGateway)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, at, err := connect()
		if err != nil {
			return err
		}
		if pages.Console == console.Off {
			return cli.Usage("console is off, allowed here are on and read-only")
		}
		c, err := console.New(console.Options{Config: pages, API: api, Callers: at})
		if err != nil {
			return cli.Misuse(err)
		}
		return serveConsole(cmd.Context(), listen, c, func(url string) {
			fmt.Fprintf(cmd.OutOrStdout(), "The console of %s is at %s. Ctrl-C stops it.\n", at, url)
		})
	}
	return cmd
}

// urlIsGateway has --url mean --gateway.
func urlIsGateway(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "url" {
		name = "gateway"
	}
	return pflag.NormalizedName(name)
}

// serveConsole serves a console on loopback until ctx is done.
func serveConsole(ctx context.Context, at string, c *console.Console, says func(url string)) error {
	host, _, err := net.SplitHostPort(at)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return cli.Usage("http is %q: the console listens on loopback only, such as 127.0.0.1:8090", at)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return fmt.Errorf("listen for --http: %w; stop what uses the address or choose another with --http", err)
	}
	pages := http.NewServeMux()
	pages.Handle(console.Path, c)
	pages.Handle(console.Path+"/", c)
	pages.Handle("/{$}", http.RedirectHandler(console.Path+"/", http.StatusSeeOther))
	guard, err := sameorigin.Guard(pages, sameorigin.Rules{}, func(w http.ResponseWriter, _ *http.Request, _ sameorigin.Reason) {
		http.Error(w, "Open the console by its own address, such as http://127.0.0.1:8090/console/.", http.StatusForbidden)
	})
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: guard, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	defer context.AfterFunc(ctx, func() { c.Close(); _ = srv.Close() })()
	says("http://" + l.Addr().String() + console.Path + "/")
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the console: %w", err)
	}
	return nil
}
