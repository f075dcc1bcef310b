package store_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// reader reads the changes of records in bursts, and acknowledges them.
type reader struct {
	mu     sync.Mutex
	bursts []int
	seen   map[string]int
	hold   func([]*store.Delivered) bool // not to be acknowledged
}

var bursts = store.Bursts{
	Prefetch: store.Prefetch{Messages: 64, Bytes: 8 << 20, Expires: 30 * time.Second, Heartbeat: 5 * time.Second},
	Every:    5 * time.Millisecond,
}

func openFanout(t *testing.T, st *store.Store) *store.Kept {
	t.Helper()
	kept, err := st.Consumers.Upkeep(slog.New(slog.DiscardHandler)).Open(t.Context(), store.FanoutDurable(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// read reads until stop, which waits for the end; disturbed pulls are asked for again.
func (r *reader) read(t *testing.T, kept *store.Kept) (stop func()) {
	t.Helper()
	return r.readIn(t, kept, bursts)
}

func (r *reader) readIn(t *testing.T, kept *store.Kept, bursts store.Bursts) (stop func()) {
	t.Helper()
	r.seen = map[string]int{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = kept.Bursts(ctx, bursts, func(error) bool { return false }, r.take)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return stop
}

func (r *reader) take(burst []*store.Delivered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bursts = append(r.bursts, len(burst))
	if r.hold != nil && r.hold(burst) {
		return
	}
	for _, msg := range burst {
		r.seen[msg.Subject]++
		_ = msg.Ack()
	}
}

func (r *reader) came() (bursts []int, subjects int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bursts), len(r.seen)
}

// The first change comes at once, those that are stored meanwhile come together, and
// there is no more than one burst in a time, whose pull is the only one that stands.
func TestChangesThatComeMeanwhileComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		st := open(t, srv)
		r := &reader{}
		defer r.read(t, openFanout(t, st))()
		time.Sleep(time.Minute)
		save(t, st, newTask())
		synctest.Wait()
		if got, _ := r.came(); !slices.Equal(got, []int{1}) {
			t.Fatalf("bursts of %v, want one at once", got)
		}
		for range 50 {
			save(t, st, newTask())
		}
		synctest.Wait()
		if got, _ := r.came(); len(got) != 1 {
			t.Errorf("bursts of %v, want the next one after %v", got, bursts.Every)
		}
		time.Sleep(bursts.Every)
		synctest.Wait()
		if got, n := r.came(); n != 51 || len(got) > 5 {
			t.Errorf("%d changes in bursts of %v, want 51 in a few", n, got)
		}
		r.mu.Lock()
		r.hold = func([]*store.Delivered) bool { time.Sleep(2 * bursts.Every); return false }
		r.mu.Unlock()
		for range 4 * bursts.Messages { // more than one burst has
			save(t, st, newTask())
		}
		time.Sleep(time.Second)
		if got, n := r.came(); n != 51+4*bursts.Messages {
			t.Errorf("%d changes in bursts of %v, want %d", n, got, 51+4*bursts.Messages)
		}
		js, err := jetstream.New(srv.Connect(t))
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.CachedInfo().NumWaiting; n != 1 {
			t.Errorf("%d pulls stand, want 1", n)
		}
	})
}

// After a rest a few changes come at once, each by itself; those that go on coming come
// together, and a rest earns the few again.
func TestAFewChangesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t, natstest.Start(t))
		r, spare := &reader{}, bursts
		spare.Spare = 4
		defer r.readIn(t, openFanout(t, st), spare)()
		want := []int{}
		for _, c := range []struct {
			rest    time.Duration
			atOnce  int
			message string
		}{{time.Minute, 5, "after a rest"}, {2 * spare.Every, 2, "after a short one"}, {time.Minute, 5, "after another"}} {
			time.Sleep(c.rest)
			for range c.atOnce + 3 {
				save(t, st, newTask())
				synctest.Wait()
			}
			for range c.atOnce {
				want = append(want, 1)
			}
			if got, _ := r.came(); !slices.Equal(got, want) {
				t.Fatalf("%s: bursts of %v, want %v", c.message, got, want)
			}
			want = append(want, 3)
			time.Sleep(spare.Every)
			synctest.Wait()
			if got, _ := r.came(); !slices.Equal(got, want) {
				t.Fatalf("%s: bursts of %v, want %v", c.message, got, want)
			}
		}
	})
}

// Bursts wait for changes, no change of a backlog waits for the next burst.
func TestABacklogIsReadWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t, natstest.Start(t))
		kept := openFanout(t, st)
		for range 5*bursts.Messages + 1 {
			save(t, st, newTask())
		}
		began, r := time.Now(), &reader{}
		defer r.read(t, kept)()
		time.Sleep(bursts.Every / 2)
		synctest.Wait()
		if got, n := r.came(); n != 5*bursts.Messages+1 {
			t.Errorf("%d changes came in %v in bursts of %v, want %d", n, time.Since(began), got, 5*bursts.Messages+1)
		}
	})
}

// What has come to a reader that ends, and what comes to it late, is another's at once.
func TestAReaderThatEndsHandsBackWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t, natstest.Start(t))
		kept := openFanout(t, st)
		for range 150 {
			save(t, st, newTask())
		}
		busy, release := make(chan struct{}), make(chan struct{})
		first := &reader{hold: func(burst []*store.Delivered) bool {
			close(busy)
			<-release
			for _, msg := range burst {
				_ = msg.Nak(0)
			}
			return true
		}}
		stop := first.read(t, kept)
		<-busy
		go close(release)
		stop()
		second := &reader{}
		defer second.read(t, kept)()
		time.Sleep(time.Second) // far less than the time after which a message is another's anyway
		if _, n := second.came(); n != 150 {
			t.Errorf("%d of 150 changes came to the next reader", n)
		}
	})
}

// A consumer that is deleted ends the reading of this life.
func TestADeletedConsumerEndsItsBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		st := open(t, srv)
		kept, ended := openFanout(t, st), make(chan error, 1)
		go func() {
			ended <- kept.Bursts(t.Context(), bursts, func(error) bool { return false }, func([]*store.Delivered) {})
		}()
		time.Sleep(time.Second)
		js, err := jetstream.New(srv.Connect(t))
		if err == nil {
			err = js.DeleteConsumer(t.Context(), topology.BucketStream(topology.TasksBucket), topology.FanoutDurable)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("ended with %v", err)
			}
		default:
			t.Error("the reading goes on")
		}
	})
}

// Readers of the version before have a pull that stands. Both kinds share a consumer:
// each change comes to one of them, and all of them come.
func TestBurstsAndStandingPullsShareAConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		st := open(t, srv)
		kept := openFanout(t, st)
		burst, standing := &reader{}, &reader{seen: map[string]int{}}
		defer burst.read(t, kept)()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = kept.Each(ctx, bursts.Prefetch, func(error) bool { return false }, func(msg *store.Delivered) { standing.take([]*store.Delivered{msg}) })
		}()
		n := 0
		write := func(more int) {
			for range more {
				save(t, st, newTask())
				n++
				if n%10 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			time.Sleep(time.Second)
		}
		write(500)
		cancel()
		<-ended
		write(100) // all come to the one that is left
		_, here := burst.came()
		_, there := standing.came()
		if here < 100 || here+there != n {
			t.Errorf("%d changes came in bursts and %d one by one, want %d in all", here, there, n)
		}
	})
}

// The consumer's leader changes and the nodes restart while changes come: none is
// lost to the readers, which ask again.
func TestBurstsOutliveALeader(t *testing.T) {
	cluster := natstest.StartCluster(t)
	stores := openNodes(t, cluster)
	r, others := &reader{}, &reader{}
	defer r.read(t, openFanout(t, stores[0]))()
	defer others.read(t, openFanout(t, stores[1]))()
	n := 0
	some := func() {
		for range 50 {
			save(t, stores[2], newTask())
			n++
		}
	}
	all := func() bool {
		_, mine := r.came()
		_, theirs := others.came()
		return mine+theirs >= n
	}
	some()
	natstest.Until(t, "all changes came", all)
	nc := cluster.Nodes[2].Connect(t)
	for range 3 {
		some()
		if _, err := nc.Request(jetstream.DefaultAPIPrefix+"CONSUMER.LEADER.STEPDOWN."+topology.BucketStream(topology.TasksBucket)+"."+topology.FanoutDurable, nil, 2*time.Second); err != nil {
			t.Log(err) // it has none just now
		}
		some()
		natstest.Until(t, "all changes came after a change of leader", all)
	}
}
