package mesh

import (
	"context"
	"sync"
	"time"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// spending is what this process has last seen of budgets, for its metrics: whoever
// takes from one, and whoever refuses for one, has seen it.
type spending struct {
	mu  sync.Mutex
	all map[account]seenAccount
}

type account struct {
	tenant string
	period task.Period
}

type seenAccount struct {
	label string // the tenant as the file has it
	part  float64
	end   time.Time
}

// maxSeen bounds what is kept for a scrape.
const maxSeen = 10_000

var spent = func() *spending {
	s := &spending{all: map[account]seenAccount{}}
	telemetry.Observe(s.observe)
	return s
}()

func (s *spending) see(a *task.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := account{a.Tenant, a.Limit.Period}
	if _, known := s.all[key]; known || len(s.all) < maxSeen {
		s.all[key] = seenAccount{a.Limit.Tenant, a.Part(), a.End}
	}
}

// observe sets the gauge. Tenants that share a setting share a series: its number is
// that of the file.
func (s *spending) observe(_ context.Context, set func(*telemetry.Gauge, float64, ...string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most, now := map[account]float64{}, time.Now()
	for key, a := range s.all {
		if !now.Before(a.end) {
			delete(s.all, key)
			continue
		}
		series := account{a.label, key.period}
		most[series] = max(most[series], a.part)
	}
	for series, part := range most {
		set(telemetry.BudgetUsed, part, series.tenant, string(series.period))
	}
}
