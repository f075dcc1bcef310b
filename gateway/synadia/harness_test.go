package synadia_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/synadia"
	"agentmesh/shared/mesh"
	"agentmesh/shared/meshtest"
	protocol "agentmesh/shared/synadia"
)

// bridge serves the agents of a mesh on its NATS, as one more gateway would.
func bridge(t *testing.T, m *meshtest.Mesh, e synadia.Entry, hold time.Duration) (stop func()) {
	t.Helper()
	core := mesh.New(m.Store, mesh.Options{Log: meshtest.Quiet()})
	e.Conn = protocol.New(m.Server.Connect(t), "")
	if e.Tenant == "" {
		e.Tenant = "default"
	}
	b, err := synadia.New(e, synadia.Options{Mesh: core, Log: meshtest.Quiet(), Hold: hold, Drain: 10 * time.Second, Version: "1.2.3", PublicURL: "http://mesh"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		core.Close()
	})
	t.Cleanup(stop)
	time.Sleep(2 * time.Second) // it has looked
	return stop
}

// present waits until gateways know the worker, and have looked. In a bubble the server
// drops what a worker says of itself now and then, until that says it again (natstest).
func present(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	for range 60 {
		all, err := m.Store.Registry.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) > 0 {
			time.Sleep(2 * time.Second)
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the worker does not announce itself")
}

// asking is a prompt that is open.
type asking struct {
	t   *testing.T
	nc  *nats.Conn
	sub *nats.Subscription
}

func send(t *testing.T, nc *nats.Conn, name, body string, headers ...string) *asking {
	t.Helper()
	msg := nats.NewMsg("agents.prompt.agentmesh.default." + name)
	msg.Data, msg.Reply = []byte(body), nc.NewInbox()
	for i := 0; i+1 < len(headers); i += 2 {
		msg.Header.Set(headers[i], headers[i+1])
	}
	sub, err := nc.SubscribeSync(msg.Reply)
	if err == nil {
		err = nc.PublishMsg(msg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &asking{t, nc, sub}
}

// next is the next message: "type data", "error CODE", or "end".
func (a *asking) next() string {
	a.t.Helper()
	msg, err := a.sub.NextMsg(15 * time.Minute)
	if err != nil {
		a.t.Fatal(err)
	}
	if code := msg.Header.Get("Nats-Service-Error-Code"); code != "" {
		return "error " + code
	}
	if len(msg.Data) == 0 && len(msg.Header) == 0 {
		return "end"
	}
	var c struct {
		Type string
		Data json.RawMessage
	}
	if err := json.Unmarshal(msg.Data, &c); err != nil {
		return fmt.Sprintf("%q %v", msg.Data, msg.Header)
	}
	return c.Type + " " + string(c.Data)
}

// all are the messages to the end, but for acks of waiting and the mesh's own, with
// ids left out.
func (a *asking) all() string {
	a.t.Helper()
	var got []string
	for {
		s := a.next()
		switch {
		case s == `status "ack"` && len(got) > 0, strings.HasPrefix(s, "mesh "):
			continue
		case strings.HasPrefix(s, `status "task:tsk_`), strings.HasPrefix(s, `status "task:trn_`), strings.HasPrefix(s, `status "session:ses_`):
			s, _, _ = strings.Cut(s, "_")
			s += `_…"`
		}
		got = append(got, s)
		if s == "end" {
			if _, err := a.sub.NextMsg(100 * time.Millisecond); err == nil {
				a.t.Error("something comes after the end")
			}
			return strings.Join(got, "\n")
		}
	}
}

// task reads up to the handle and returns it.
func (a *asking) task() string {
	a.t.Helper()
	for {
		if rest, ok := strings.CutPrefix(a.next(), `status "task:`); ok {
			return strings.TrimSuffix(rest, `"`)
		}
	}
}

func check(t *testing.T, got string, want ...string) {
	t.Helper()
	if w := strings.Join(want, "\n"); got != w {
		t.Errorf("got:\n%s\nwant:\n%s", got, w)
	}
}
