package inspect

import (
	"context"
	"strings"
	"time"

	"agentmesh/shared/synadia"
)

// discoverIn is how long agents on NATS have to answer.
const discoverIn = 2 * time.Second

// Agents inspects the agents on a NATS that names name, each instance by itself: as
// AGENT.OWNER.NAME, where * is any; empty: all. wait is how long a heartbeat of each is
// waited for, 0: none is.
func Agents(ctx context.Context, c *synadia.Conn, at, names string, wait time.Duration) ([]Report, error) {
	found, err := c.Discover(ctx, discoverIn)
	if err != nil {
		return nil, err
	}
	var all []Report
	for _, i := range found {
		if matches(i, names) {
			all = append(all, onNATS(ctx, c, at, i, wait))
		}
	}
	return all, nil
}

func matches(i synadia.Info, names string) bool {
	if names == "" {
		return true
	}
	want := strings.Split(names, ".")
	for n, have := range []string{i.Agent, i.Owner, i.Name} {
		if len(want) != 3 || want[n] != "*" && want[n] != have {
			return false
		}
	}
	return true
}

// onNATS inspects one instance.
func onNATS(ctx context.Context, c *synadia.Conn, at string, i synadia.Info, wait time.Duration) Report {
	r := newReport(NATS, at)
	r.Name = i.Agent + "." + i.Owner + "." + i.Name
	r.good("instance", "%s, version %s", i.ID, i.Version)
	if s := hidden(i.Description); s != 0 {
		r.warn("description", "it has characters that nobody sees, such as %U: read it before you trust it", s)
	}
	for _, check := range append(i.Checks, c.Probe(ctx, i, wait)...) {
		switch {
		case check.OK:
			r.good(check.At, "%s", check.Says)
		case check.Left:
			r.skip(check.At, "%s", check.Says)
		default:
			r.fault(check.At, "%s", check.Says)
		}
	}
	return r.done()
}
