// Package synadia is the face of the mesh for the Synadia Agent Protocol: every agent
// that a live worker serves is found and prompted on NATS.
//
// It promises that behind each prompt stands a task, durable before the first ack, so
// that a caller or a gateway that dies loses nothing: the second chunk names the task,
// and the prompt "/task tsk_…" goes on with it anywhere. Which tenant asks is decided
// by the connection, never by a message. It decides nothing about tasks.
package synadia

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/pause"
	protocol "agentmesh/shared/synadia"
)

// Agent is the first token of our subjects.
const Agent = "agentmesh"

// Entry is a connection and whom it serves.
type Entry struct {
	Conn     *protocol.Conn
	Tenant   string
	Owner    string        // the second token of the subjects; empty: the tenant
	Agents   []string      // those that are served; none: all
	MinTrust string        // any or signed; empty: any
	Beat     time.Duration // between two heartbeats; 0: the protocol's
}

// Options are what all entries share.
type Options struct {
	Mesh      *mesh.Mesh
	Log       *slog.Logger
	Hold      time.Duration // how long a prompt is answered before the caller goes on by its task
	Drain     time.Duration
	Version   string
	PublicURL string
}

// Times and bounds.
const (
	refreshEvery = time.Second
	maxPrompts   = 100 // of an agent at once
	goneAfter    = 3   // looks that found no worker
)

// Bridge serves the agents of one entry.
type Bridge struct {
	Options
	entry  Entry
	caller auth.Caller

	work    context.Context // of prompts
	cut     context.CancelCauseFunc
	prompts sync.WaitGroup

	mu     sync.Mutex
	served map[string]*served
	closed bool
}

// served is an agent that is found on NATS.
type served struct {
	agent   *mesh.Agent
	service *protocol.Service
	missing int           // looks that found no worker
	slots   chan struct{} // one for each prompt
	cancels chan struct{} // one for each that cancels: an agent that is full is canceled, too
}

// New makes the bridge of an entry. The error says what is wrong with the entry.
func New(e Entry, o Options) (*Bridge, error) {
	if e.Owner == "" {
		e.Owner = strings.ToLower(e.Tenant)
	}
	switch {
	case !auth.ValidTenant(e.Tenant):
		return nil, fmt.Errorf("synadia: tenant is %q, it must be the name of a tenant", e.Tenant)
	case !protocol.ValidToken(e.Owner):
		return nil, fmt.Errorf("synadia: owner is %q, it must match [a-z0-9_-]{1,63}", e.Owner)
	case e.MinTrust != "" && e.MinTrust != "any" && e.MinTrust != "signed":
		return nil, fmt.Errorf("synadia: min_sender_trust is %q, allowed are any and signed", e.MinTrust)
	}
	b := &Bridge{Options: o, entry: e, served: map[string]*served{}, caller: auth.Caller{
		Tenant: e.Tenant, Subject: "nats:" + e.Owner,
		Scopes: []auth.Scope{auth.TasksRead, auth.TasksWrite, auth.TasksInput, auth.SessionsRead, auth.SessionsWrite, auth.AgentsRead},
	}}
	b.work, b.cut = context.WithCancelCause(context.Background())
	return b, nil
}

// Run serves until ctx is done. Then nobody finds the agents any longer, and prompts
// that are open have the time of the drain before their callers are told how to go on.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.entry.Conn.Close()
	every := b.entry.Beat
	if every <= 0 {
		every = protocol.BeatEvery
	}
	beat := time.Now()
	for pause.For(ctx, refreshEvery) {
		if err := b.refresh(ctx); err != nil && ctx.Err() == nil {
			b.Log.WarnContext(ctx, "the agents on NATS are those of before", "error", err)
		}
		if time.Since(beat) >= every {
			beat = time.Now()
			b.beatAll()
		}
	}
	b.stopAll()
	grace := time.AfterFunc(b.Drain*9/10, func() { b.cut(errDraining) })
	b.prompts.Wait()
	grace.Stop()
	b.cut(nil)
	return nil
}

func (b *Bridge) beatAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.served {
		if s.service != nil {
			s.service.Beat()
		}
	}
}

func (b *Bridge) stopAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, s := range b.served {
		s.stop()
	}
}

func (s *served) stop() {
	if s.service != nil {
		s.service.Stop()
		s.service = nil
	}
}

// refresh has those agents be found that somebody serves, as they are defined now.
func (b *Bridge) refresh(ctx context.Context) error {
	all, err := b.Mesh.Agents.List(ctx, b.caller)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	there := map[string]bool{}
	for _, a := range all {
		if len(a.Workers) == 0 || !b.serves(a.Name) {
			continue
		}
		there[a.Name] = true
		if err := b.serve(a.Agent); err != nil {
			return err
		}
	}
	for name, s := range b.served {
		if there[name] {
			continue
		}
		if s.missing++; s.missing >= goneAfter {
			s.stop()
			delete(b.served, name)
		}
	}
	return nil
}

func (b *Bridge) serves(name string) bool {
	return !strings.HasPrefix(name, "mesh-") && (len(b.entry.Agents) == 0 || slices.Contains(b.entry.Agents, name))
}

// serve has an agent be found. What a service says of itself cannot change: one whose
// definition has is stopped and made again.
func (b *Bridge) serve(a *mesh.Agent) error {
	s := b.served[a.Name]
	if s == nil {
		s = &served{slots: make(chan struct{}, maxPrompts), cancels: make(chan struct{}, maxPrompts)}
		b.served[a.Name] = s
	}
	s.missing = 0
	if s.service != nil && s.agent.Rev == a.Rev {
		return nil
	}
	same := s.agent != nil && s.agent.Description == a.Description
	s.agent = a
	if s.service != nil && same {
		return nil
	}
	s.stop()
	service, err := b.entry.Conn.Serve(protocol.Spec{
		Agent: Agent, Owner: b.entry.Owner, Name: a.Name, Description: a.Description, Version: b.Version, MinTrust: b.entry.MinTrust, Beat: b.entry.Beat,
	}, func(p *protocol.Prompt) { b.take(s, p) })
	if err != nil {
		return err
	}
	s.service = service
	service.Beat()
	return nil
}

// take begins a prompt, if there is room for one more.
func (b *Bridge) take(s *served, p *protocol.Prompt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		p.Fail(&protocol.Error{Code: 500, Name: "shutting_down", Message: "This gateway is shutting down. Ask again.", RetryAfter: time.Second})
		return
	}
	x := &exchange{Bridge: b, prompt: p, agent: s.agent}
	x.commands()
	slots := s.slots
	if p.Cancel != "" {
		slots = s.cancels
	}
	select {
	case slots <- struct{}{}:
	default:
		p.Fail(&protocol.Error{Code: 429, Name: "too_many_prompts", Message: fmt.Sprintf("%d prompts of this agent are open here, which is the limit.", maxPrompts), RetryAfter: time.Second})
		return
	}
	b.prompts.Go(func() {
		defer func() { <-slots }()
		x.run(b.work)
	})
}
