package store_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// users is a server with an admin and one user, who may publish to some subjects
// and subscribe to others; nil: to all.
func users(t *testing.T, publish, subscribe *server.SubjectPermission) (admin, user *nats.Conn) {
	t.Helper()
	srv := natstest.StartWith(t, server.Options{StoreDir: t.TempDir(), Users: []*server.User{
		{Username: "admin", Password: "a"},
		{Username: "user", Password: "u", Permissions: &server.Permissions{Publish: publish, Subscribe: subscribe}},
	}})
	return srv.Connect(t, nats.UserInfo("admin", "a")), srv.Connect(t, nats.UserInfo("user", "u"))
}

func streams(t *testing.T, nc *nats.Conn) (names []string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

// A role that makes no streams names what is missing, and is served once somebody
// has made it.
func TestLookMakesNothingAndSaysWhatIsMissing(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	_, err := store.Look(t.Context(), nc)
	if !errors.Is(err, task.ErrUnavailable) || !strings.Contains(err.Error(), "MESH_TASKS is missing") || !strings.Contains(err.Error(), "mesh init") {
		t.Errorf("error %v", err)
	}
	if got := streams(t, nc); len(got) > 0 {
		t.Errorf("it made %v", got)
	}
	made, err := store.Init(t.Context(), nc, store.Options{Replicas: 1})
	if err != nil || len(made) != len(topology.Streams(topology.Settings{Replicas: 1})) {
		t.Fatalf("made %v, %v", made, err)
	}
	if made, err = store.Init(t.Context(), nc, store.Options{Replicas: 1}); err != nil || len(made) > 0 {
		t.Errorf("again it made %v, %v", made, err)
	}
	if _, err := store.Look(t.Context(), nc); err != nil {
		t.Error(err)
	}
}

// A stream of an earlier version is waited for, too, and changed by those who may.
func TestLookWaitsForAStreamOfAnEarlierVersion(t *testing.T) {
	nc := natstest.Start(t).Connect(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range topology.Streams(topology.Settings{Replicas: 1}) {
		if c.Name == topology.Turns {
			c.RePublish = nil
		}
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = store.Look(t.Context(), nc); !errors.Is(err, task.ErrUnavailable) || !strings.Contains(err.Error(), "MESH_TURNS exists with another republish") || !strings.Contains(err.Error(), "mesh migrate") {
		t.Errorf("error %v", err)
	}
	if made, err := store.Init(t.Context(), nc, store.Options{Replicas: 1}); !errors.Is(err, task.ErrUnavailable) && !errors.Is(err, topology.ErrLacking) || len(made) > 0 {
		t.Errorf("init made %v, %v", made, err)
	}
	if done, _, err := store.Migrate(t.Context(), nc, store.Options{}); err != nil || len(done) != 1 || done[0].Asset != topology.Turns {
		t.Errorf("changed %v, %v", done, err)
	}
	if _, err := store.Look(t.Context(), nc); err != nil {
		t.Error(err)
	}
}

// A user who may not make streams waits for one who may, and says so at once.
func TestWhoMayNotMakeStreamsWaitsForThem(t *testing.T) {
	admin, user := users(t, &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>"}}, nil)
	began := time.Now()
	_, err := store.Open(t.Context(), user, store.Options{Replicas: 1})
	if !errors.Is(err, task.ErrUnavailable) || !strings.Contains(err.Error(), "may not make it: `mesh init`") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if _, err := store.Init(t.Context(), admin, store.Options{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), user, store.Options{Replicas: 1}); err != nil {
		t.Error(err)
	}
}

// A request that the server does not let a user make is an error that names it, at
// once: not a time that runs out.
func TestWhatAUserMayNotDoIsSaidAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		publish, subscribe *server.SubjectPermission
		says               string
		do                 func(*store.Store) error
	}{
		"look at a stream": {&server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.KV_keys"}}, nil, "publish to $JS.API.STREAM.INFO.KV_keys", nil},
		"hear answers":     {nil, &server.SubjectPermission{Deny: []string{"_INBOX.>"}}, "subscribe to _INBOX.", nil},
		"write a record": {&server.SubjectPermission{Deny: []string{"$KV.tasks.>"}}, nil, "publish to $KV.tasks.default.", func(st *store.Store) error {
			return st.Tasks.Save(t.Context(), newTask())
		}},
		"read a record": {&server.SubjectPermission{Deny: []string{"$JS.API.STREAM.MSG.GET.KV_tasks"}}, nil, "publish to $JS.API.STREAM.MSG.GET.KV_tasks", func(st *store.Store) error {
			_, err := st.Tasks.Get(t.Context(), "default", newTask().ID)
			return err
		}},
		"register an agent": {&server.SubjectPermission{Deny: []string{"$KV.agents.echo"}}, nil, "publish to $KV.agents.echo", func(st *store.Store) error {
			_, err := st.Registry.Register(t.Context(), task.Definition{Name: "echo"}, "wrk")
			return err
		}},
		"make a consumer": {&server.SubjectPermission{Deny: []string{"$JS.API.CONSUMER.CREATE.MESH_TASKS.>"}}, nil, "publish to $JS.API.CONSUMER.CREATE.MESH_TASKS.agent-echo.", func(st *store.Store) error {
			return st.Consumers.Ensure(t.Context(), store.TaskQueue, "echo", 1, time.Second)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			admin, user := users(t, tt.publish, tt.subscribe)
			if _, err := store.Init(t.Context(), admin, store.Options{Replicas: 1}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			st, err := store.Look(t.Context(), user)
			if err == nil {
				err = tt.do(st)
			}
			if !errors.Is(err, store.ErrDenied) || errors.Is(err, task.ErrUnavailable) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "deploy/nats") {
				t.Errorf("error %v", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %v to say so", took)
			}
		})
	}
}

// A task that waits longer than the server remembers its id is stored once all the
// same.
func TestATaskThatWaitsIsEnqueuedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc := natstest.Start(t).Connect(t)
		st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		one := newTask()
		for i := range 3 {
			duplicate, err := st.Tasks.EnqueueOnce(t.Context(), one)
			if err != nil || duplicate != (i > 0) {
				t.Errorf("time %d: duplicate %v, %v", i+1, duplicate, err)
			}
			time.Sleep(2 * topology.DedupeWindow)
		}
		if n, err := st.Tasks.Queued(t.Context()); err != nil || n != 1 {
			t.Errorf("%d messages, %v", n, err)
		}
	})
}
