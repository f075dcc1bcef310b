package cli

import (
	"strings"
	"testing"
)

func TestHealthcheckAsksTheGatewayThatTheOthersAsk(t *testing.T) {
	var keys []string
	url := asked(t, &keys)
	for _, args := range [][]string{{"--gateway", url}, {"--gateway", url + "/"}, {"--url", url + "/readyz"}} {
		if code, _, errs := cli(t, append([]string{"healthcheck"}, args...)...); code != 0 {
			t.Errorf("%s: exit %d %s", args, code, errs)
		}
	}
	t.Setenv("MESH_HTTP", strings.TrimPrefix(url, "http://")) // where this container's gateway listens
	if code, _, errs := cli(t, "healthcheck"); code != 0 || len(keys) != 4 {
		t.Errorf("of the gateway beside it: exit %d %s, asked %d times", code, errs, len(keys))
	}
	t.Setenv("MESH_HTTP", "127.0.0.1:1")
	t.Setenv("MESH_GATEWAY_URL", url)
	if code, _, errs := cli(t, "healthcheck"); code != 0 || len(keys) != 5 {
		t.Errorf("by the environment: exit %d %s, asked %d times", code, errs, len(keys))
	}
	t.Setenv("MESH_GATEWAY_URL", "http://127.0.0.1:1")
	if code, _, errs := cli(t, "healthcheck"); code != 1 || !strings.Contains(errs, "not ready") {
		t.Errorf("of a gateway that is away: exit %d %s", code, errs)
	}
}

func TestAGatewayIsAskedWhereItListens(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:9000": "http://127.0.0.1:9000", ":9000": "http://127.0.0.1:9000", "[::]:9000": "http://127.0.0.1:9000",
		"[::1]:80": "http://[::1]:80", "10.0.0.5:8080": "http://10.0.0.5:8080", "localhost:1": "http://localhost:1",
		"": "", "off": "", "127.0.0.1:0": "", "127.0.0.1:": "",
	} {
		if got := gatewayAt(address, false); got != want {
			t.Errorf("%q is asked at %q, want %q", address, got, want)
		}
	}
	if got := gatewayAt(":443", true); got != "https://127.0.0.1:443" {
		t.Errorf("with TLS: %q", got)
	}
}
