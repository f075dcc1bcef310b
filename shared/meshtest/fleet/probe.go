//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/pause"
)

// Probe is clients that each ask for one thing again and again, and note how the
// mesh looks to them.
type Probe struct {
	Load *Load
	Asks map[string]Ask

	mu   sync.Mutex
	seen map[string]*Seen
}

// Ask is what a client asks for: a path, and a body to POST, in which KEY stands
// for the key of the request.
type Ask struct{ Path, Body string }

// Seen is how the mesh looked to the client of one thing.
type Seen struct {
	Answers  map[int]int   // by status; 0: there was no answer
	Slowest  time.Duration // of those that were no errors
	Refused  time.Duration // the slowest answer that was an error
	Last     time.Time     // of a good answer
	Longest  time.Duration // without a good answer, from the first bad one to the next good one
	Problems []string      // the first few bodies of errors
}

// Run asks until ctx is done.
func (p *Probe) Run(ctx context.Context, rnd func(n uint64) *rand.Rand) {
	var clients sync.WaitGroup
	for name, ask := range p.Asks {
		s := p.start(name)
		clients.Go(func() { p.ask(ctx, name, ask, s, rnd(uint64(len(name)))) })
	}
	clients.Wait()
}

func (p *Probe) start(name string) *Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]*Seen{}
	}
	p.seen[name] = &Seen{Answers: map[int]int{}}
	return p.seen[name]
}

func (p *Probe) ask(ctx context.Context, name string, ask Ask, s *Seen, rnd *rand.Rand) {
	var bad time.Time // since when
	for i := 0; pause.For(ctx, 20*time.Millisecond); i++ {
		method, key := http.MethodGet, ""
		if ask.Body != "" {
			method, key = http.MethodPost, fmt.Sprintf("%s-%d-%d", name, time.Now().UnixNano(), i)
		}
		body := strings.ReplaceAll(ask.Body, "KEY", key)
		var r *request
		if ask.Path == "/tasks" && ask.Body != "" {
			r = p.Load.Ledger.sends(key, ask.Path, body)
		}
		began := time.Now()
		status, raw, err := p.Load.do(context.WithoutCancel(ctx), rnd, method, ask.Path, key, body)
		if err != nil {
			status, raw = 0, []byte(err.Error())
		}
		var got answer
		if r != nil && status == http.StatusAccepted && json.Unmarshal(raw, &got) == nil {
			p.Load.Ledger.accepted(r, got.id())
		}
		p.mu.Lock()
		s.Answers[status]++
		switch good := status > 0 && status < 500; {
		case good && !bad.IsZero():
			s.Longest, bad = max(s.Longest, time.Since(bad)), time.Time{}
		case !good && bad.IsZero():
			bad = began
		}
		if status > 0 && status < 500 {
			s.Slowest, s.Last = max(s.Slowest, time.Since(began)), time.Now()
		} else {
			s.Refused = max(s.Refused, time.Since(began))
			if len(s.Problems) < 3 {
				s.Problems = append(s.Problems, fmt.Sprintf("%d %.200s", status, raw))
			}
		}
		p.mu.Unlock()
	}
}

// Of is what the client of one thing saw.
func (p *Probe) Of(name string) Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[name] == nil {
		return Seen{}
	}
	s := *p.seen[name]
	s.Answers = maps.Clone(s.Answers)
	return s
}

// String is a line for each thing.
func (p *Probe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for name, s := range p.seen {
		lines = append(lines, fmt.Sprintf("%-12s answers %v, slowest %v, longest without %v", name, s.Answers, s.Slowest.Round(time.Millisecond), s.Longest.Round(time.Millisecond)))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
