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
	t.Setenv("MESH_GATEWAY_URL", url)
	if code, _, errs := cli(t, "healthcheck"); code != 0 || len(keys) != 4 {
		t.Errorf("by the environment: exit %d %s, asked %d times", code, errs, len(keys))
	}
	t.Setenv("MESH_GATEWAY_URL", "http://127.0.0.1:1")
	if code, _, errs := cli(t, "healthcheck"); code != 1 || !strings.Contains(errs, "not ready") {
		t.Errorf("of a gateway that is away: exit %d %s", code, errs)
	}
}
