package natstest

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is three servers in this process that replicate to each other over
// loopback, on the real clock.
type Cluster struct {
	Nodes []*Server
	opts  []server.Options
}

// StartCluster runs a cluster for the length of the test. It is ready in one to
// two seconds on an idle machine.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	return StartClusterWith(tb, func(int, *server.Options) {})
}

// StartClusterWith runs a cluster with changed options of each node.
func StartClusterWith(tb testing.TB, change func(node int, opts *server.Options)) *Cluster {
	tb.Helper()
	c := &Cluster{}
	var routes []*url.URL
	for range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: freeAddress(tb)})
	}
	for i, route := range routes {
		port, _ := strconv.Atoi(route.Port())
		c.opts = append(c.opts, server.Options{
			ServerName: fmt.Sprintf("n%d", i+1), StoreDir: tb.TempDir(), Routes: routes,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
		})
		change(i, &c.opts[i])
		c.Nodes = append(c.Nodes, startNode(tb, c.opts[i]))
	}
	c.ready(tb)
	return c
}

// freeAddress is an address of loopback that nobody listens on. The nodes must
// know each other's before the first one starts.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startNode starts one node and does not wait for a leader. Routes need the
// listener for clients.
func startNode(tb testing.TB, opts server.Options) *Server {
	tb.Helper()
	ForgetBubbles()
	opts.JetStream, opts.NoLog, opts.NoSigs = true, true, true
	opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	srv, err := server.NewServer(&opts)
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	s := &Server{Server: srv, Dir: opts.StoreDir}
	tb.Cleanup(s.Stop)
	return s
}

// Restart stops a node and starts it again on its data.
func (c *Cluster) Restart(tb testing.TB, node int) {
	tb.Helper()
	c.Nodes[node].Stop()
	c.Nodes[node] = startNode(tb, c.opts[node])
	c.ready(tb)
}

// ready waits until every node is current with a leader of the cluster.
func (c *Cluster) ready(tb testing.TB) {
	tb.Helper()
	for _, n := range c.Nodes {
		if !n.ReadyForConnections(90 * time.Second) {
			tb.Fatal("nats server not ready")
		}
	}
	Until(tb, "the cluster has a leader and all nodes follow it", func() bool {
		for _, n := range c.Nodes {
			if n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == len(c.Nodes) {
				return true
			}
		}
		return false
	})
}

// StepDown has the leader of a stream hand over, and waits for the next one.
func StepDown(tb testing.TB, nc *nats.Conn, stream string) {
	tb.Helper()
	Until(tb, "the leader of "+stream+" steps down", func() bool {
		msg, err := nc.Request(jetstream.DefaultAPIPrefix+"STREAM.LEADER.STEPDOWN."+stream, nil, 2*time.Second)
		return err == nil && !bytes.Contains(msg.Data, []byte(`"error"`))
	})
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	Until(tb, stream+" has a leader", func() bool {
		s, err := js.Stream(tb.Context(), stream)
		return err == nil && s.CachedInfo().Cluster != nil && s.CachedInfo().Cluster.Leader != ""
	})
}

// Until asks again and again until ok, and fails the test after a minute: no
// machine is that busy.
func Until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	tb.Fatalf("not within a minute: %s", what)
}
