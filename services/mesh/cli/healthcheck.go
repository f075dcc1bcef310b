package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthcheckCommand asks a gateway whether it is ready, for images without a
// shell: that of the container, wherever its environment has it listen.
func healthcheckCommand() *cobra.Command {
	f := &clientFlags{beside: gatewayAt(os.Getenv("MESH_HTTP"), os.Getenv("MESH_TLS_CERT") != "")}
	var address string
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Exit 0 when a gateway is ready, 1 when not", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c, err := f.open(cmd, get("/readyz")...); c == nil {
				return err
			}
			through, err := f.secure.http()
			if err != nil {
				return err
			}
			return ready(cmd.Context(), through, cmp.Or(address, strings.TrimSuffix(f.gateway, "/")+"/readyz"))
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "what to ask, in place of /readyz of the gateway")
	return f.bind(cmd)
}

// gatewayAt is the URL by which a gateway that listens at an address is reached from
// its own machine; empty where the address says too little.
func gatewayAt(address string, secured bool) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if secured {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// Ready asks a gateway whether it is ready; the error says why it is not.
func Ready(ctx context.Context, url string) error { return ready(ctx, http.DefaultClient, url) }

func ready(ctx context.Context, through *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Usage("url: %w", err)
	}
	resp, err := through.Do(req)
	if why := distrust(err); why != "" {
		return fmt.Errorf("not ready: %s: %w", why, err)
	}
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var state struct {
		Checks map[string]struct {
			OK     bool   `json:"ok"`
			Detail string `json:"detail"`
		} `json:"checks"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&state) // another answer has no checks to name
	var failing []string
	for name, c := range state.Checks {
		if !c.OK {
			failing = append(failing, name+": "+c.Detail)
		}
	}
	slices.Sort(failing)
	return fmt.Errorf("not ready: %s: %s", resp.Status, strings.Join(failing, "; "))
}
