// Package linestest gives the tests of agents outside of Go a memory for their
// lines, without a mesh behind it. It is imported by tests only; the promises of a
// journal are those of the worker's.
package linestest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"agentmesh/worker/agent"
)

// Memory implements agent.Lines for one task.
type Memory struct {
	// Refuse says why a line is not kept; nil: each is.
	Refuse func(agent.Line) error
	// Waited is called when the agent waits. It may Come; where it returns an error the
	// job is suspended.
	Waited func(*Memory) error

	mu         sync.Mutex
	run        int
	steps      []agent.PastStep
	checkpoint json.RawMessage
	told       []agent.Line
	listening  func([]byte) ([]byte, error)
}

// Past implements agent.Lines.
func (m *Memory) Past(context.Context, string) (agent.Past, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.run++
	return agent.Past{Run: m.run, Steps: slices.Clone(m.steps), Checkpoint: m.checkpoint}, nil
}

// Keep implements agent.Lines.
func (m *Memory) Keep(_ context.Context, l agent.Line) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Refuse != nil {
		if err := m.Refuse(l); err != nil {
			return err
		}
	}
	m.told = append(m.told, l)
	switch l.Kind {
	case agent.LineCheckpoint:
		m.checkpoint = l.Value
	case agent.LineStep:
		m.put(agent.PastStep{Name: l.Name, N: l.N, Value: l.Value, Error: l.Error, Key: l.Key})
	case agent.LineStarted:
		m.put(agent.PastStep{Name: l.Name, N: l.N, Kind: agent.LineStarted})
	}
	return nil
}

func (m *Memory) put(s agent.PastStep) {
	m.steps = slices.DeleteFunc(m.steps, func(old agent.PastStep) bool { return old.Name == s.Name && old.N == s.N })
	m.steps = append(m.steps, s)
}

// Come notes what came of a wait, or any other entry.
func (m *Memory) Come(s agent.PastStep) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(s)
}

// Told are the lines that were kept.
func (m *Memory) Told() []agent.Line {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

// Await implements agent.Lines.
func (m *Memory) Await(context.Context) error { return m.Waited(m) }

// Listen implements agent.Lines.
func (m *Memory) Listen(f func([]byte) ([]byte, error)) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening = f
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.listening = nil
	}
}

// Send is a line that comes through the gateway.
func (m *Memory) Send(line string) (string, error) {
	m.mu.Lock()
	f := m.listening
	m.mu.Unlock()
	answer, err := f([]byte(line))
	return string(answer), err
}
