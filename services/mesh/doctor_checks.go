package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/egress"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
	"agentmesh/worker/agents"
)

// natsFindings are of the connection and of the server at its end.
func natsFindings(nc *nats.Conn) (all []finding) {
	where := fmt.Sprintf("%s, server %s, version %s", nc.ConnectedUrlRedacted(), nc.ConnectedServerName(), nc.ConnectedServerVersion())
	if cluster := nc.ConnectedClusterName(); cluster != "" {
		where += fmt.Sprintf(", cluster %s of %d known addresses", cluster, len(nc.Servers()))
	}
	if !recentNATS(nc.ConnectedServerVersion()) {
		all = append(all, finding{"nats", fault, where, "run NATS 2.14.9, or 2.15.2 and later: earlier ones lose what a mesh relies on"})
	} else {
		all = append(all, finding{"nats", good, where, ""})
	}
	if host, _, err := net.SplitHostPort(nc.ConnectedAddr()); err == nil {
		if _, err := nc.TLSConnectionState(); err != nil && !onLoopback(net.JoinHostPort(host, "0")) {
			all = append(all, finding{"encryption", warning, "the connection to NATS is not encrypted, and the server is another machine", "give the servers certificates (tls {} in their configuration), and NATS_CA here"})
		}
	}
	if n := nc.MaxPayload(); n < maxPayload {
		all = append(all, finding{"max_payload", warning, fmt.Sprintf("NATS takes messages up to %d bytes; records of tasks have up to %d", n, maxPayload), "set max_payload: 4MB on every server (deploy/nats/server.conf)"})
	}
	return all
}

// recentNATS reports whether a version is one that the mesh was made for.
func recentNATS(version string) bool {
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return true // a build of somebody's own
	}
	switch {
	case major != 2:
		return major > 2
	case minor == 14:
		return patch >= 9
	case minor == 15:
		return patch >= 2
	}
	return minor > 15
}

func jetStreamFault(err error) finding {
	if errors.Is(err, store.ErrNoJetStream) {
		return finding{"jetstream", fault, err.Error(), "switch it on: jetstream {} on the servers, and jetstream: enabled in the account of this user (deploy/nats)"}
	}
	return finding{"streams", fault, err.Error(), "see the permissions of this user, and `nats server report jetstream` for servers that are away"}
}

// Differences of clocks that are told, and that are too much: schedules fire by the servers'
// clock, deadlines and signatures are judged by ours.
const (
	clockTold    = time.Second
	clockTooMuch = 30 * time.Second
)

func clockFinding(c topology.Clock) finding {
	apart := c.Ahead.Abs() - c.Within
	if apart < clockTold {
		return finding{"clock", good, fmt.Sprintf("within %v of the server's", max(c.Ahead.Abs(), c.Within).Round(time.Millisecond)), ""}
	}
	f := finding{"clock", warning, fmt.Sprintf("the server's clock is %v ahead of this machine's", c.Ahead.Round(time.Millisecond)), "have both follow a time server (NTP)"}
	if c.Ahead < 0 {
		f.Says = fmt.Sprintf("the server's clock is %v behind this machine's", c.Ahead.Abs().Round(time.Millisecond))
	}
	if apart >= clockTooMuch {
		f.Status = fault
	}
	return f
}

func streamsFinding(seen []topology.Seen) finding {
	var missing []string
	for _, s := range seen {
		if s.Missing {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		return finding{"streams", fault, fmt.Sprintf("%d of %d are missing: %s", len(missing), len(seen), strings.Join(missing, ", ")), "run mesh init as a user who may make them, or start a gateway with such a user"}
	}
	return finding{"streams", good, fmt.Sprintf("all %d are there", len(seen)), ""}
}

// copiesFindings are of the copies that there are, and of those that are asked for.
func (c doctorConfig) copiesFindings(nc *nats.Conn, seen []topology.Seen) (all []finding) {
	clustered := nc.ConnectedClusterName() != ""
	fewest, behind, leaderless := 0, map[string]bool{}, []string{}
	for _, s := range seen {
		if s.Missing {
			continue
		}
		if clustered = clustered || s.Cluster; fewest == 0 || s.Copies < fewest {
			fewest = s.Copies
		}
		if s.Cluster && s.Leader == "" {
			leaderless = append(leaderless, s.Name)
		}
		for _, name := range s.Behind {
			behind[name] = true
		}
	}
	switch {
	case !clustered && c.store.Replicas > 1:
		all = append(all, finding{"replicas", fault, fmt.Sprintf("replicas is %d, and this NATS server is not one of a cluster", c.store.Replicas), "set --replicas 1 (MESH_REPLICAS=1), or make it one of three servers (deploy/nats)"})
	case !clustered:
		all = append(all, finding{"replicas", warning, "NATS is one server: what it keeps is lost with its disk", "run three servers (deploy/nats) and mesh migrate --apply --replicas 3, or back up often (mesh backup)"})
	case fewest == 1:
		all = append(all, finding{"replicas", warning, "NATS is a cluster, and some stream has one copy: it is away with its server, and lost with its disk", "mesh migrate --apply --replicas 3"})
	case fewest > 1:
		all = append(all, finding{"replicas", good, fmt.Sprintf("each stream has %d copies or more", fewest), ""})
	}
	if len(leaderless) > 0 {
		all = append(all, finding{"leaders", fault, "no leader, so nothing is read or written: " + strings.Join(leaderless, ", "), "start the servers that are away: more than half must be there"})
	}
	if len(behind) > 0 {
		var names []string
		for name := range behind {
			names = append(names, name)
		}
		slices.Sort(names)
		all = append(all, finding{"servers", warning, "copies are not current on " + strings.Join(names, ", "), "start it, or wait while it catches up; deploy/RUNBOOK.md has a node that does not start and one whose disk was full"})
	}
	return all
}

func settingsFinding(seen []topology.Seen) finding {
	var needed, other []string
	for _, s := range seen {
		for _, d := range s.Differs {
			if d.Needed {
				needed = append(needed, d.String())
			} else {
				other = append(other, d.String())
			}
		}
	}
	do := "mesh migrate --dry-run shows it, mesh migrate --apply changes it, when every process has this version"
	switch {
	case len(needed) > 0:
		return finding{"settings", fault, "no role starts with these settings of streams: " + strings.Join(needed, ", "), do}
	case len(other) > 0:
		return finding{"settings", warning, "not those of this version: " + strings.Join(other, ", "), do}
	}
	return finding{"settings", good, "those of this version", ""}
}

// rightsFinding compares what the user may with what the role needs.
func (c doctorConfig) rightsFinding(ctx context.Context, nc *nats.Conn, role string) finding {
	if role == "" {
		return finding{"permissions", skipped, "the name of the NATS user does not say which role this is", "say --role gateway, worker, notifier, face, caller, backup or admin"}
	}
	served, err := agents.Load(c.agents.Agents, agents.Options{})
	if err != nil && role == "worker" {
		return finding{"permissions", skipped, "the agents of this worker are not known", "see the finding agents"}
	}
	var names []string
	for _, a := range served {
		names = append(names, a.Name)
	}
	needs, _ := topology.Roles(role, names...)
	rights, err := store.RightsOf(ctx, nc)
	if err != nil {
		return finding{"permissions", warning, "they are not known: " + err.Error(), "let the user publish to " + topology.UserInfo + ": mesh nats-users prints the users of this version"}
	}
	lacks := rights.Lacks(needs)
	if len(lacks) == 0 {
		return finding{"permissions", good, "all that a " + role + " needs", ""}
	}
	more := ""
	if n := len(lacks) - 3; n > 0 {
		lacks, more = lacks[:3], fmt.Sprintf(" and %d more", n)
	}
	return finding{"permissions", fault, "this NATS user may not " + strings.Join(lacks, ", ") + more, "give it the permissions of its role: mesh nats-users prints them, for a worker with its agents"}
}

// agentFindings are of the agents' file of a worker.
func (c doctorConfig) agentFindings(role string) []finding {
	if role != "worker" {
		return nil
	}
	served, err := agents.Load(c.agents.Agents, agents.Options{})
	if err != nil {
		return []finding{{"agents", fault, err.Error(), "mesh agents check FILE names every mistake"}}
	}
	if c.agents.Agents == "" {
		return []finding{{"agents", warning, "this worker serves the sample agents", "name your own with --agents (MESH_AGENTS)"}}
	}
	return []finding{{"agents", good, fmt.Sprintf("%d in %s", len(served), c.agents.Agents), ""}}
}

// secretFinding compares the secret key with the one that has sealed what is stored.
func (c doctorConfig) secretFinding(ctx context.Context, st *store.Store) finding {
	k, err := c.callbacks.secret.keeper()
	if err != nil {
		return finding{"secret key", fault, err.Error(), "mesh key makes one"}
	}
	if k == nil {
		return finding{"secret key", warning, "there is none: secrets of webhooks are sealed with a key that lies beside them", "set MESH_SECRET_KEY, the same on every gateway and notifier (mesh key makes one)"}
	}
	print, err := st.Secrets.Print(ctx)
	if err != nil {
		return finding{"secret key", warning, err.Error(), "see the permissions of this user"}
	}
	if print != "" && !slices.Contains(k.Fingerprints(), print) {
		return finding{"secret key", fault, "secrets were sealed with another key, fingerprint " + print, "give that one, or both while you replace it, the new one first"}
	}
	return finding{"secret key", good, "the one that seals", ""}
}

// gatewayFindings are of the gateway that programs of agents call, or that clients do.
func (c doctorConfig) gatewayFindings(ctx context.Context, st *store.Store, role string) []finding {
	switch role {
	case topology.GatewayUser:
		if c.gateway.PublicURL == "" && !onLoopback(c.gateway.HTTP) {
			return []finding{{"gateway", warning, "absolute URLs name the address of the listener", "set --public-url (MESH_PUBLIC_URL) to the URL that clients use"}}
		}
		if c.gateway.PublicURL == "" {
			return nil
		}
		f := reached(ctx, c.gateway.PublicURL, "--public-url (MESH_PUBLIC_URL)")
		if f.Status == fault { // a load balancer may be reached from outside only
			f.Status = warning
		}
		return []finding{f}
	case "worker":
		if c.agents.Gateway != "" {
			return []finding{reached(ctx, c.agents.Gateway, "--gateway-url (MESH_GATEWAY_URL)")}
		}
		all, err := st.Registry.Gateways(ctx)
		if err != nil {
			return []finding{{"gateway", warning, err.Error(), "see the permissions of this user, or set MESH_GATEWAY_URL"}}
		}
		host, _ := os.Hostname()
		if at := nearest(all, host); at != "" {
			return []finding{reached(ctx, at, "what the gateway is reached by (--public-url on it, or --gateway-url here)")}
		}
		return []finding{{"gateway", warning, "programs of agents get no MESH_GATEWAY_URL: no gateway runs that this machine reaches", "start a gateway, set --public-url on it, or --gateway-url here"}}
	}
	return nil
}

const reachTimeout = 5 * time.Second

// reached says whether a gateway answers at a URL that a setting names.
func reached(ctx context.Context, at, setting string) finding {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	bad := func(why string) finding {
		return finding{"gateway", fault, at + ": " + why, "see that the gateway runs, and correct " + setting}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(at, "/")+"/healthz", nil)
	if err != nil {
		return bad(err.Error())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return bad(err.Error())
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return bad("GET /healthz = " + resp.Status)
	}
	return finding{"gateway", good, at + " answers", ""}
}

// callbackFindings are of the way out of callbacks.
func (c doctorConfig) callbackFindings(ctx context.Context) []finding {
	policy, err := c.callbacks.egress.Policy()
	if err != nil {
		return []finding{{"callbacks", fault, err.Error(), "correct the setting"}}
	}
	if c.callback == "" {
		return []finding{{"callbacks", skipped, "no receiver was named", "say --callback URL to connect to one as a notifier does"}}
	}
	guard := egress.New(policy, nil)
	u, err := guard.CheckURL(c.callback)
	if err != nil {
		return []finding{{"callbacks", fault, c.callback + ": " + err.Error(), "a private receiver needs --allow-private-callbacks on gateways and notifiers"}}
	}
	address, dial := net.JoinHostPort(u.Hostname(), portIn(u)), guard.DialContext
	if policy.Proxy != nil {
		address, dial = net.JoinHostPort(policy.Proxy.Hostname(), portIn(policy.Proxy)), new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return []finding{{"callbacks", fault, err.Error(), "let this machine connect to " + address + ": a firewall, a name server or --egress-proxy is in the way"}}
	}
	_ = conn.Close()
	return []finding{{"callbacks", good, "connected to " + address, ""}}
}

func portIn(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}
