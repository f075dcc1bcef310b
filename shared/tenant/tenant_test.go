package tenant_test

import (
	"encoding/json"
	"math"
	"testing"

	"agentmesh/shared/tenant"
)

func TestALimitThatNobodySetIsTheMeshs(t *testing.T) {
	mesh := tenant.Limits{Rate: 10, Burst: 50, Pending: 7, PendingPerAgent: 6, Waits: 5, Streams: 4, Webhooks: 3, Sessions: tenant.Unlimited}
	for text, want := range map[string]tenant.Limits{
		`{}`:                    mesh,
		`{"pending":0}`:         {Rate: 10, Burst: 50, Pending: 0, PendingPerAgent: 6, Waits: 5, Streams: 4, Webhooks: 3, Sessions: -1},
		`{"rate":0.5}`:          {Rate: .5, Burst: 0, Pending: 7, PendingPerAgent: 6, Waits: 5, Streams: 4, Webhooks: 3, Sessions: -1},
		`{"rate":-1,"burst":2}`: {Rate: -1, Burst: 2, Pending: 7, PendingPerAgent: 6, Waits: 5, Streams: 4, Webhooks: 3, Sessions: -1},
		`{"burst":1,"sessions":9,"waits":1,"streams":2,"webhooks":-1,"pending_per_agent":3}`: {Rate: 10, Burst: 1, Pending: 7, PendingPerAgent: 3, Waits: 1, Streams: 2, Webhooks: -1, Sessions: 9},
	} {
		var own tenant.Own
		if err := json.Unmarshal([]byte(text), &own); err != nil {
			t.Fatal(err)
		}
		if got := own.Over(mesh); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestABurstThatIsNotSetIsASecondsWorth(t *testing.T) {
	for _, c := range []struct {
		limits tenant.Limits
		want   int
	}{{tenant.Limits{Rate: 10}, 10}, {tenant.Limits{Rate: .2}, 1}, {tenant.Limits{Rate: 2.5}, 3}, {tenant.Limits{Rate: 10, Burst: 3}, 3}, {tenant.Limits{}, 1}} {
		if got := c.limits.AtOnce(); got != c.want {
			t.Errorf("%+v: %d at once, want %d", c.limits, got, c.want)
		}
	}
}

func TestLimitsOutOfTheirRangeAreNamed(t *testing.T) {
	for _, c := range []struct {
		limits tenant.Limits
		field  string
	}{
		{tenant.Limits{}, ""},
		{tenant.Limits{Rate: -1, Pending: -1, PendingPerAgent: -1, Waits: -1, Streams: -1, Webhooks: -1, Sessions: -1}, ""},
		{tenant.Limits{Rate: -2}, "rate"},
		{tenant.Limits{Rate: 1e-9}, "rate"},
		{tenant.Limits{Rate: math.NaN()}, "rate"},
		{tenant.Limits{Rate: math.Inf(1)}, "rate"},
		{tenant.Limits{Burst: -1}, "burst"},
		{tenant.Limits{Pending: -2}, "pending"},
		{tenant.Limits{PendingPerAgent: 2e9}, "pending_per_agent"},
		{tenant.Limits{Webhooks: 10_001}, "webhooks"},
	} {
		faults := c.limits.Check()
		if len(faults) > 1 || len(faults) == 1 && faults[0].Field != c.field || len(faults) == 0 && c.field != "" {
			t.Errorf("%+v: %v, want %q", c.limits, faults, c.field)
		}
	}
}
