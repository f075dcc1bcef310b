package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Seen is what one stream of the mesh is like.
type Seen struct {
	Name    string
	Missing bool
	Copies  int
	Leader  string       // empty: none now; of a server that is alone: its name is not known
	Cluster bool         // the server that has it is one of a cluster
	Behind  []string     // servers whose copy is not current
	Differs []Difference // from the settings of this version
}

// Clock is how a server's clock stands to ours.
type Clock struct {
	Ahead  time.Duration
	Within time.Duration // the answer took twice as long, so Ahead is not known better
}

// Examine looks at each stream, and changes nothing.
func Examine(ctx context.Context, js jetstream.JetStream) (all []Seen, clock Clock, err error) {
	for _, want := range Streams(Settings{Replicas: 1}) {
		asked := time.Now()
		s, err := js.Stream(ctx, want.Name)
		took := time.Since(asked)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			all = append(all, Seen{Name: want.Name, Missing: true})
			continue
		}
		if err != nil {
			return nil, clock, fmt.Errorf("look at stream %s: %w", want.Name, err)
		}
		info := s.CachedInfo()
		if within := took / 2; !info.TimeStamp.IsZero() && (clock.Within == 0 || within < clock.Within) {
			clock = Clock{Ahead: info.TimeStamp.Sub(asked.Add(within)), Within: within}
		}
		all = append(all, seen(want, info))
	}
	return all, clock, nil
}

func seen(want jetstream.StreamConfig, info *jetstream.StreamInfo) Seen {
	s := Seen{Name: want.Name, Copies: max(info.Config.Replicas, 1), Differs: differences(want, info.Config)}
	if c := info.Cluster; c != nil && c.Name != "" {
		s.Cluster, s.Leader = true, c.Leader
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				s.Behind = append(s.Behind, r.Name)
			}
		}
	}
	return s
}
