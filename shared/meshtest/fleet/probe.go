//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
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

// Ask is what a client asks for: a path, and a body to POST.
type Ask struct{ Path, Body string }

// Seen is how the mesh looked to the client of one thing.
type Seen struct {
	Answers  map[int]int   // by status; 0: there was no answer
	Slowest  time.Duration // of those that were no errors
	Longest  time.Duration // without a good answer, from the first bad one to the next good one
	Problems []string      // the first few bodies of errors
}

// Run asks until ctx is done.
func (p *Probe) Run(ctx context.Context, rnd func(n uint64) *rand.Rand) {
	p.seen = map[string]*Seen{}
	var clients sync.WaitGroup
	for name, ask := range p.Asks {
		s := &Seen{Answers: map[int]int{}}
		p.seen[name] = s
		clients.Go(func() { p.ask(ctx, name, ask, s, rnd(uint64(len(name)))) })
	}
	clients.Wait()
}

func (p *Probe) ask(ctx context.Context, name string, ask Ask, s *Seen, rnd *rand.Rand) {
	var bad time.Time // since when
	for i := 0; pause.For(ctx, 20*time.Millisecond); i++ {
		method, key := http.MethodGet, ""
		if ask.Body != "" {
			method, key = http.MethodPost, fmt.Sprintf("%s-%d-%d", name, time.Now().UnixNano(), i)
		}
		var r *request
		if ask.Path == "/tasks" && ask.Body != "" {
			r = p.Load.Ledger.sends(key, ask.Path, ask.Body)
		}
		began := time.Now()
		status, body, err := p.Load.do(context.WithoutCancel(ctx), rnd, method, ask.Path, key, ask.Body)
		if err != nil {
			status, body = 0, []byte(err.Error())
		}
		var got answer
		if r != nil && status == http.StatusAccepted && json.Unmarshal(body, &got) == nil {
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
			s.Slowest = max(s.Slowest, time.Since(began))
		} else if len(s.Problems) < 3 {
			s.Problems = append(s.Problems, fmt.Sprintf("%d %.200s", status, body))
		}
		p.mu.Unlock()
	}
}

// Of is what the client of one thing saw.
func (p *Probe) Of(name string) Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.seen[name]
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
