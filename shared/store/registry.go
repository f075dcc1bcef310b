package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/semver"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Definition is an agent's registered definition and the revision it has.
type Definition struct {
	task.Definition
	Rev uint64
	// Noted is when a worker last noted that it serves the agent, which it does
	// every topology.ServedEvery.
	Noted time.Time
}

// Presence is a worker process that is alive: it writes this every
// topology.PresenceEvery, and the bucket forgets it after topology.PresenceTTL.
type Presence struct {
	WorkerID  string          `json:"worker_id"`
	Host      string          `json:"host,omitempty"`
	StartedAt time.Time       `json:"started_at"`
	Agents    []AgentPresence `json:"agents"`
	Seen      time.Time       `json:"-"` // when it was written last, by the server's clock
}

// AgentPresence is one agent that a worker serves.
type AgentPresence struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"` // of the definition that it serves
	Slots   int    `json:"slots"`
	Busy    int    `json:"busy"`              // slots taken when this was written
	Waiting int    `json:"waiting,omitempty"` // attempts that wait for a task they called
	Bulk    bool   `json:"bulk,omitempty"`    // it takes tasks in bulk
	Away    string `json:"away,omitempty"`    // why it takes none
}

// Register stores a definition for the worker and notes that the agent is
// served. A definition that another live worker serves and has stored stays, if
// its version is newer, or if no version says which of the two is: then rival is
// that worker, and it is told.
func (s Registry) Register(ctx context.Context, d task.Definition, workerID string) (rival string, err error) {
	data, err := marshal(d)
	if err != nil {
		return "", fmt.Errorf("register agent %s: %w", d.Name, err)
	}
	ctx, cancel := s.bound(ctx, topology.AgentsBucket)
	defer cancel()
	if e, err := s.agents.Get(ctx, d.Name); err == nil {
		if bytes.Equal(e.Value(), data) {
			if time.Since(e.Created()) > topology.ServedEvery {
				// Of several workers one is enough.
				_, _ = s.agents.Update(ctx, d.Name, data, e.Revision())
			}
			return "", nil
		}
		stored, err := decodeDefinition(entryOf(e))
		if by, live := "", false; err == nil && !newer(d.Version, stored.Version) {
			if by, live = s.servedBy(ctx, stored.Definition, workerID); live {
				if newer(stored.Version, d.Version) || by == "" {
					return "", nil
				}
				return by, s.signalRival(d, workerID)
			}
		}
	}
	if _, err := s.agents.Put(ctx, d.Name, data); err != nil {
		return "", fmt.Errorf("register agent %s: %w", d.Name, classify(err))
	}
	return "", nil
}

// newer reports whether version a comes after b (semver.org, the v left out).
// Versions of another form have no order.
func newer(a, b string) bool { return semver.Compare("v"+a, "v"+b) > 0 && semver.IsValid("v"+b) }

// servedBy finds a live worker but one that serves this definition. Where the
// workers are not known it says that one does, and not which.
func (s Registry) servedBy(ctx context.Context, d task.Definition, but string) (workerID string, live bool) {
	workers, err := s.Workers(ctx)
	if err != nil {
		return "", true // leave what is there
	}
	digest := d.Digest()
	for _, p := range workers {
		for _, a := range p.Agents {
			if p.WorkerID != but && a.Name == d.Name && (a.Digest == digest || a.Digest == "" && a.Version == d.Version) {
				return p.WorkerID, true
			}
		}
	}
	return "", false
}

// Agent reads one definition. It returns task.ErrNotFound when no worker has
// registered it.
func (s Registry) Agent(ctx context.Context, name string) (Definition, error) {
	if !task.ValidAgent(name) {
		return Definition{}, fmt.Errorf("read agent %q: %w", name, task.ErrNotFound)
	}
	ctx, cancel := s.bound(ctx, topology.AgentsBucket)
	defer cancel()
	e, err := s.agents.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Definition{}, fmt.Errorf("read agent %s: %w", name, task.ErrNotFound)
	}
	if err != nil {
		return Definition{}, fmt.Errorf("read agent %s: %w", name, classify(err))
	}
	return decodeDefinition(entryOf(e))
}

// Agents reads every definition, by name.
func (s Registry) Agents(ctx context.Context) ([]Definition, error) {
	ctx, cancel := s.bound(ctx, topology.AgentsBucket)
	defer cancel()
	var all []Definition
	err := lastOfEach(ctx, s.definitions, topology.Agents, func(m message) {
		d, err := decodeDefinition(m)
		if err != nil {
			s.damaged.note(m, err)
			return
		}
		all = append(all, d)
	})
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	slices.SortFunc(all, func(a, b Definition) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Watch calls f with every definition and then with each change, and gone
// with the name and revision of each that was removed, until ctx ends. ready is
// called once, after the last of those that exist now. A definition may come again
// after a newer one: the revisions tell.
func (s Registry) Watch(ctx context.Context, f func(Definition), gone func(name string, rev uint64), ready func()) error {
	w, err := s.agents.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch agents: %w", classify(err))
	}
	read := func(ctx context.Context) error {
		all, err := s.Agents(ctx)
		for _, d := range all {
			f(d)
		}
		return err
	}
	return wrapped("watch agents", copied(ctx, w, read, func(e jetstream.KeyValueEntry) {
		if e.Operation() != jetstream.KeyValuePut {
			gone(e.Key(), e.Revision())
			return
		}
		d, err := decodeDefinition(entryOf(e))
		if err != nil {
			s.damaged.note(entryOf(e), err)
			return
		}
		f(d)
	}, ready))
}

func decodeDefinition(m message) (Definition, error) {
	d := Definition{Rev: m.seq, Noted: m.at}
	if err := unmarshal(m.data, &d.Definition); err != nil {
		return Definition{}, fmt.Errorf("decode agent %s: %w", topology.SubjectID(m.subject), err)
	}
	return d, nil
}

// Announce writes a worker's presence.
func (s Registry) Announce(ctx context.Context, p Presence) error {
	data, err := marshal(p)
	if err != nil {
		return fmt.Errorf("announce worker %s: %w", p.WorkerID, err)
	}
	ctx, cancel := s.bound(ctx, writes+topology.WorkersBucket)
	defer cancel()
	if _, err := s.workers.Put(ctx, p.WorkerID, data); err != nil {
		return fmt.Errorf("announce worker %s: %w", p.WorkerID, classify(err))
	}
	return nil
}

// Leave removes a worker's presence.
func (s Registry) Leave(ctx context.Context, workerID string) error {
	ctx, cancel := s.bound(ctx, writes+topology.WorkersBucket)
	defer cancel()
	return classify(s.workers.Delete(ctx, workerID))
}

// Workers lists the worker processes that are alive, oldest first.
func (s Registry) Workers(ctx context.Context) ([]Presence, error) {
	ctx, cancel := s.bound(ctx, topology.WorkersBucket)
	defer cancel()
	var all []Presence
	err := lastOfEach(ctx, s.presence, topology.Presences, func(m message) {
		p := Presence{Seen: m.at}
		if err := unmarshal(m.data, &p); err != nil {
			s.damaged.note(m, err)
			return
		}
		all = append(all, p)
	})
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	slices.SortFunc(all, func(a, b Presence) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.WorkerID, b.WorkerID))
	})
	return all, nil
}
