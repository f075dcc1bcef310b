package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Accounts are what tenants have used of their budgets.
type Accounts struct {
	*core
	records jetstream.Stream // behind the bucket
}

// Get reads the account of a budget for the period that has a moment: a new one, of
// revision 0, where nothing was used yet.
func (s Accounts) Get(ctx context.Context, tenant string, b task.Budget, at time.Time) (*task.Account, error) {
	ctx, cancel := s.bound(ctx, topology.UsageBucket)
	defer cancel()
	fresh := task.NewAccount(tenant, b, at)
	msg, err := s.records.GetLastMsgForSubject(ctx, topology.UsageAccount(tenant, b.Period, fresh.Start))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && len(msg.Data) == 0 {
		return fresh, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the budget of tenant %s: %w", tenant, classify(err))
	}
	var a task.Account
	if err := unmarshal(msg.Data, &a); err != nil || a.Tenant != tenant || !a.Start.Equal(fresh.Start) {
		return nil, fmt.Errorf("decode the budget of tenant %s: %w", tenant, errors.Join(task.ErrBadRecord, err))
	}
	a.Rev, a.Limit = msg.Sequence, b
	return &a, nil
}

// Save writes an account if its revision is still a.Rev, and sets it. It returns
// task.ErrConflict when another writer came first.
func (s Accounts) Save(ctx context.Context, a *task.Account) error {
	data, err := marshal(a)
	if err == nil {
		a.Rev, err = s.replace(ctx, s.records, &nats.Msg{Subject: topology.UsageAccount(a.Tenant, a.Limit.Period, a.Start), Data: data}, a.Rev)
	}
	if err != nil {
		return fmt.Errorf("record the budget of tenant %s: %w", a.Tenant, err)
	}
	return nil
}
