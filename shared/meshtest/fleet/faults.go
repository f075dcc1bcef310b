//go:build unix

package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/pause"
)

// Faults does one harm after the other to a fleet until ctx is done, and tells
// each to say. Afterwards every member runs. At most one NATS server is harmed at
// a time, so that the cluster keeps its majority. The same seed makes the same
// choices.
func (f *Fleet) Faults(ctx context.Context, rnd *rand.Rand, streams []string, say func(string, ...any)) (done int, err error) {
	for pause.For(ctx, time.Duration(500+rnd.IntN(2500))*time.Millisecond) {
		members := f.Members()
		m, span := members[rnd.IntN(len(members))], time.Duration(rnd.IntN(6000))*time.Millisecond
		stream := streams[rnd.IntN(len(streams))]
		switch n := rnd.IntN(10); {
		case n < 4:
			say("kill -9 of %s, away for %v", m.Name, span)
			m.Kill()
			err = m.back(ctx, span)
		case n < 6:
			say("%s frozen for %v", m.Name, span)
			m.Freeze()
			pause.For(ctx, span)
			m.Thaw()
			err = m.Ready(context.WithoutCancel(ctx))
		case n < 8:
			say("SIGTERM to %s, away for %v", m.Name, span)
			if err = m.Terminate(time.Minute); err == nil {
				err = m.back(ctx, span)
			}
		case n < 9:
			say("the leader of %s steps down", stream)
			f.stepDown("STREAM.LEADER.STEPDOWN."+stream, say)
		default:
			say("the meta leader steps down")
			f.stepDown("META.LEADER.STEPDOWN", say)
		}
		if err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// back starts a member again after span, and waits until it is well.
func (m *Member) back(ctx context.Context, span time.Duration) error {
	pause.For(ctx, span)
	if err := m.Start(); err != nil {
		return err
	}
	return m.Ready(context.WithoutCancel(ctx))
}

// StepDown asks for another leader of a stream.
func (f *Fleet) StepDown(stream string, say func(string, ...any)) {
	f.stepDown("STREAM.LEADER.STEPDOWN."+stream, say)
}

// StepDownConsumers asks for other leaders of the durable consumers of a stream.
func (f *Fleet) StepDownConsumers(stream string, say func(string, ...any)) {
	js, done, err := f.JetStream()
	if err != nil {
		say("  (%v)", err)
		return
	}
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		say("  (%v)", err)
		return
	}
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable != "" {
			f.stepDown("CONSUMER.LEADER.STEPDOWN."+stream+"."+info.Config.Durable, say)
		}
	}
}

// stepDown asks for another leader. That there is none just now is no fault.
func (f *Fleet) stepDown(what string, say func(string, ...any)) {
	nc, err := nats.Connect(f.NATSURL(), nats.Timeout(2*time.Second))
	if err == nil {
		defer nc.Close()
		_, err = nc.Request(jetstream.DefaultAPIPrefix+what, nil, 3*time.Second)
	}
	if err != nil {
		say("  (%v)", err)
	}
}

// Equal compares the replicas of each stream: after rest they have the same
// messages.
func (f *Fleet) Equal(ctx context.Context, streams []string) error {
	nc, err := nats.Connect(f.NATSURL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for _, name := range streams {
		for {
			s, err := js.Stream(ctx, name)
			if err == nil {
				err = current(s.CachedInfo())
			}
			if err == nil {
				break
			}
			if !pause.For(ctx, 200*time.Millisecond) {
				return fmt.Errorf("replicas of %s: %w", name, err)
			}
		}
	}
	return nil
}

func current(info *jetstream.StreamInfo) error {
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return fmt.Errorf("no leader")
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline || r.Lag > 0 {
			return fmt.Errorf("%s is not current", r.Name)
		}
	}
	return nil
}
