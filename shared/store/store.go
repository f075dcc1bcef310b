// Package store keeps tasks, sessions, idempotency records, agents and artifacts
// in JetStream. It promises that every write of a record is a
// compare-and-set, that an unknown outcome is resolved or reported as
// task.ErrUnavailable, and that a reader of the record's stream misses no
// change. It does not know HTTP, and it runs no agent.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Options of Open.
type Options struct {
	Replicas    int           `flag:"replicas" env:"MESH_REPLICAS" help:"copies of every stream that is created, 1, 3 or 5; 0: 3 where NATS is a cluster, 1 where it is one server"`
	SessionIdle time.Duration `flag:"session-idle" env:"MESH_SESSION_IDLE" help:"how long a session lives after its last turn; set when its bucket is created"`

	AuditRetention time.Duration `flag:"audit-retention" env:"MESH_AUDIT_RETENTION" help:"how long the audit trail is kept; set when its stream is created"`
}

// DefaultOptions are the options without settings, with a number of replicas.
func DefaultOptions(replicas int) Options {
	return Options{Replicas: replicas, SessionIdle: topology.SessionIdle, AuditRetention: topology.AuditRetention}
}

// Validate names the field that is out of its range.
func (o Options) Validate() error {
	if !slices.Contains([]int{0, 1, 3, 5}, o.Replicas) {
		return fmt.Errorf("replicas is %d, allowed are 1, 3 and 5, and 0: as many as NATS can keep", o.Replicas)
	}
	if o.SessionIdle != 0 && (o.SessionIdle < time.Second || o.SessionIdle > 365*24*time.Hour) {
		return fmt.Errorf("session-idle is %v, allowed is 1s to 8760h", o.SessionIdle)
	}
	if o.AuditRetention != 0 && (o.AuditRetention < time.Hour || o.AuditRetention > 10*365*24*time.Hour) {
		return fmt.Errorf("audit-retention is %v, allowed is 1h to 87600h", o.AuditRetention)
	}
	return nil
}

// Store is the mesh's state in one JetStream account, by subject. It is safe for
// concurrent use; it does not own its connection.
type Store struct {
	Connection
	*core

	Tasks       Tasks
	Records     Records
	Children    Children
	Turns       Turns
	Sessions    Sessions
	Artifacts   Artifacts
	Webhooks    Webhooks
	Deliveries  Deliveries
	Registry    Registry
	Consumers   Consumers
	Idempotency Idempotency
	Secrets     Secrets
	Tenants     Tenants
	APIKeys     APIKeys
	Schedules   Schedules
	Steps       Steps
	Hooks       Hooks
	Pushes      Pushes
	Accounts    Accounts
	Repair      Repair
	Audit       Audit
}

// The parts of a store. Each reads and writes its own streams and buckets.
type (
	// Tasks are the queue of tasks and their records.
	Tasks struct{ *core }
	// Records are the records of tasks, for who looks at all of them or removes one.
	Records struct{ *core }
	// Children are the links from a task to the tasks that it has started.
	Children struct{ *core }
	// Turns are the queue of turns, and the turns that wait in a session.
	Turns struct{ *core }
	// Sessions are the records of sessions and the pages of their transcripts.
	Sessions struct{ *core }
	// Artifacts are the values that are too large for a record or a message.
	Artifacts struct{ *core }
	// Webhooks are the subscriptions.
	Webhooks struct{ *core }
	// Deliveries are the queue of deliveries and their records.
	Deliveries struct{ *core }
	// Registry knows the agents, who serves them, and where processes listen.
	Registry struct{ *core }
	// Consumers are what roles take their work from.
	Consumers struct{ *core }
	// Idempotency has the idempotency keys of requests.
	Idempotency struct{ *core }
	// Secrets are the fingerprint and the shared copy of the mesh's secret key.
	Secrets struct{ *core }
	// Tenants are the records of tenants, which hold their limits.
	Tenants struct{ *core }
	// APIKeys are the keys that callers show.
	APIKeys struct{ *core }
	// Repair finds the work that no queue would deliver, and queues it again.
	Repair struct{ *core }
	// Audit is the trail of who did what.
	Audit struct{ *core }
)

// core is what the parts of a store share.
type core struct {
	nc *nats.Conn
	js jetstream.JetStream

	differs []topology.Difference // of the streams, when they were opened
	bulky   atomic.Bool           // the queue of tasks takes tasks in bulk

	tasks       jetstream.Stream // the queue
	records     jetstream.Stream // behind the tasks bucket
	idempotency jetstream.KeyValue
	agents      jetstream.KeyValue
	definitions jetstream.Stream // behind them
	workers     jetstream.KeyValue
	presence    jetstream.Stream // behind the workers bucket
	artifacts   jetstream.ObjectStore
	objects     jetstream.Stream // behind the artifacts

	deliveries    jetstream.Stream // behind the deliveries bucket
	due           jetstream.Stream // the queue of deliveries
	webhooks      jetstream.Stream // behind the webhooks bucket
	apiKeys       jetstream.KeyValue
	keyRecords    jetstream.Stream // behind them
	tenants       jetstream.KeyValue
	tenantRecords jetstream.Stream // behind them

	turns    jetstream.Stream // the queue of turns
	sessions jetstream.Stream // behind the sessions bucket
	trail    jetstream.Stream // of the audit

	putting chan struct{} // an element for each artifact that is being stored

	calls   madeCalls
	reading chan struct{} // holds one for each record that is asked for
	reach   reach
	seen    seen

	requests requests

	scans   lane // of the lists
	damaged *unreadable
	feed    *feed
	views   views
}

// openTimeout bounds the opening of the store. On a disk that stalls the making
// of a stream takes far longer than a request may.
const openTimeout = 30 * time.Second

// Open makes the streams that do not exist yet, if this user may, and returns the
// store. It changes no stream that exists. The error is task.ErrUnavailable when
// JetStream does not answer, or when somebody else must make or change streams.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Store, error) {
	return connect(ctx, nc, func(ctx context.Context, js jetstream.JetStream) ([]topology.Difference, error) {
		differs, lacking := topology.Check(ctx, js)
		if !errors.Is(lacking, topology.ErrMissing) {
			return differs, awaited(lacking)
		}
		_, differs, err := ensure(ctx, nc, js, o)
		if errors.Is(err, ErrDenied) {
			return nil, fmt.Errorf("%w: %w, and this NATS user may not make it: `mesh init` makes the streams, as a user who may", task.ErrUnavailable, lacking)
		}
		return differs, awaited(err)
	})
}

// Look is Open for a role that makes no streams: it waits for those who do.
func Look(ctx context.Context, nc *nats.Conn) (*Store, error) {
	return connect(ctx, nc, func(ctx context.Context, js jetstream.JetStream) ([]topology.Difference, error) {
		differs, err := topology.Check(ctx, js)
		if errors.Is(err, topology.ErrMissing) {
			return nil, fmt.Errorf("%w: %w: a gateway makes the streams, or `mesh init`", task.ErrUnavailable, err)
		}
		return differs, awaited(err)
	})
}

// awaited is err, as one that passes when it is about a stream that somebody is to
// change.
func awaited(err error) error {
	if errors.Is(err, topology.ErrLacking) {
		return fmt.Errorf("%w: %w", task.ErrUnavailable, err)
	}
	return err
}

// Init makes the streams that do not exist yet, and returns which it has made.
func Init(ctx context.Context, nc *nats.Conn, o Options) (made []string, err error) {
	_, err = connect(ctx, nc, func(ctx context.Context, js jetstream.JetStream) (differs []topology.Difference, err error) {
		made, differs, err = ensure(ctx, nc, js, o)
		return differs, err
	})
	return made, err
}

func connect(ctx context.Context, nc *nats.Conn, streams func(context.Context, jetstream.JetStream) ([]topology.Difference, error)) (*Store, error) {
	s, err := newCore(nc)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	opening, over := s.requests.begin(ctx, "", openTimeout)
	defer over()
	differs, err := streams(opening, s.js)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", classify(err))
	}
	s.differs = differs
	return s.open(opening)
}

// newCore is a store on a connection, of which nothing is opened yet.
func newCore(nc *nats.Conn) (*core, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return nil, err
	}
	s := &core{
		nc: nc, js: patientJetStream{js}, putting: make(chan struct{}, maxPutting), scans: newLane(scansAtATime, pullBytes), damaged: newUnreadable(), feed: newFeed(),
		reading: make(chan struct{}, recordsAtOnce),
	}
	s.heed()
	return s, nil
}

// open finds the streams and buckets.
func (s *core) open(ctx context.Context) (*Store, error) {
	js := s.js
	var errs [25]error
	schedules, steps, hooks, pushes, accounts := Schedules{core: s}, Steps{core: s}, Hooks{core: s}, Pushes{core: s}, Accounts{core: s}
	s.tasks, errs[0] = js.Stream(ctx, topology.Tasks)
	s.records, errs[1] = js.Stream(ctx, topology.BucketStream(topology.TasksBucket))
	s.idempotency, errs[2] = js.KeyValue(ctx, topology.IdempotencyBucket)
	s.agents, errs[3] = js.KeyValue(ctx, topology.AgentsBucket)
	s.workers, errs[4] = js.KeyValue(ctx, topology.WorkersBucket)
	s.presence, errs[6] = js.Stream(ctx, topology.BucketStream(topology.WorkersBucket))
	s.artifacts, errs[5] = js.ObjectStore(ctx, topology.Artifacts)
	s.deliveries, errs[7] = js.Stream(ctx, topology.BucketStream(topology.DeliveriesBucket))
	s.due, errs[8] = js.Stream(ctx, topology.Deliveries)
	s.webhooks, errs[9] = js.Stream(ctx, topology.BucketStream(topology.WebhooksBucket))
	s.apiKeys, errs[10] = js.KeyValue(ctx, topology.KeysBucket)
	s.turns, errs[11] = js.Stream(ctx, topology.Turns)
	s.sessions, errs[12] = js.Stream(ctx, topology.BucketStream(topology.SessionsBucket))
	s.objects, errs[13] = js.Stream(ctx, topology.ArtifactStream)
	s.tenants, errs[14] = js.KeyValue(ctx, topology.TenantsBucket)
	s.keyRecords, errs[15] = js.Stream(ctx, topology.BucketStream(topology.KeysBucket))
	schedules.records, errs[17] = js.Stream(ctx, topology.BucketStream(topology.SchedulesBucket))
	schedules.alarms, errs[18] = js.Stream(ctx, topology.Schedules)
	steps.stream, errs[19] = js.Stream(ctx, topology.Steps)
	hooks.records, errs[20] = js.Stream(ctx, topology.BucketStream(topology.HooksBucket))
	pushes.records, errs[21] = js.Stream(ctx, topology.BucketStream(topology.PushesBucket))
	accounts.records, errs[22] = js.Stream(ctx, topology.BucketStream(topology.UsageBucket))
	s.definitions, errs[23] = js.Stream(ctx, topology.BucketStream(topology.AgentsBucket))
	s.tenantRecords, errs[24] = js.Stream(ctx, topology.BucketStream(topology.TenantsBucket))
	s.trail, errs[16] = js.Stream(ctx, topology.Audit)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("open store: %w", classify(err))
	}
	return &Store{
		Connection: Connection{s.nc}, core: s, Tasks: Tasks{s}, Records: Records{s}, Children: Children{s}, Turns: Turns{s}, Sessions: Sessions{s}, Artifacts: Artifacts{s}, Webhooks: Webhooks{s},
		Deliveries: Deliveries{s}, Registry: Registry{s}, Consumers: Consumers{s}, Idempotency: Idempotency{s}, Secrets: Secrets{s}, Tenants: Tenants{s}, APIKeys: APIKeys{s}, Schedules: schedules, Steps: steps, Hooks: hooks, Pushes: pushes, Accounts: accounts, Repair: Repair{s}, Audit: Audit{s},
	}, nil
}

// Probe writes and so tells whether the store takes writes: a store that is
// frozen by a disk error or full still answers reads.
func (s *Store) Probe(ctx context.Context, who string) error {
	ctx, cancel := s.bound(ctx, writes+topology.IdempotencyBucket)
	defer cancel()
	_, err := s.idempotency.Put(ctx, topology.IdempotencyKey("_probe", who), nil)
	return classify(err)
}

// Check asks for the state of the two streams that a task lives in.
func (s *Store) Check(ctx context.Context) (queue, records error) {
	_, queue = s.info(ctx, s.tasks)
	_, records = s.info(ctx, s.records)
	return classify(queue), classify(records)
}
