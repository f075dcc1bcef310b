// Package tenant holds those who share a mesh: their names, and how much each of
// them may ask of it. It promises that a limit that nobody has set is the mesh's
// own. It does not know what is counted, nor where a tenant is kept.
package tenant

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrNotFound is a tenant without a record: the limits of the mesh hold for it.
var ErrNotFound = errors.New("no such tenant")

// Unlimited is the value of a limit that bounds nothing; 0 allows nothing.
const Unlimited = -1

// Limits are what a tenant may ask for.
type Limits struct {
	Rate            float64 // requests a second
	Burst           int     // requests at once; 0: as many as in a second
	Pending         int     // tasks that wait or run
	PendingPerAgent int     // of one agent
	Waits           int     // requests that are held, at one gateway
	Streams         int     // streams of events, at one gateway
	Webhooks        int
	Sessions        int
}

// Default are the limits of a mesh without settings.
func Default() Limits {
	return Limits{
		Rate: Unlimited, Pending: Unlimited, PendingPerAgent: Unlimited, Waits: Unlimited, Streams: Unlimited, Webhooks: 1000, Sessions: Unlimited,
	}
}

// AtOnce is how many requests may come at once: a burst that is not set is what
// comes in a second.
func (l Limits) AtOnce() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return max(int(math.Ceil(l.Rate)), 1)
}

// Own are the limits that a tenant has for itself. A field that is nil is the
// mesh's.
type Own struct {
	Rate            *float64 `json:"rate,omitempty"`
	Burst           *int     `json:"burst,omitempty"`
	Pending         *int     `json:"pending,omitempty"`
	PendingPerAgent *int     `json:"pending_per_agent,omitempty"`
	Waits           *int     `json:"waits,omitempty"`
	Streams         *int     `json:"streams,omitempty"`
	Webhooks        *int     `json:"webhooks,omitempty"`
	Sessions        *int     `json:"sessions,omitempty"`
}

// Over are the limits that hold where those of the mesh are l. A rate of one's own
// comes with a burst of its own.
func (o Own) Over(l Limits) Limits {
	if o.Rate != nil {
		l.Rate, l.Burst = *o.Rate, 0
	}
	for _, one := range []struct{ to, own *int }{
		{&l.Burst, o.Burst}, {&l.Pending, o.Pending}, {&l.PendingPerAgent, o.PendingPerAgent},
		{&l.Waits, o.Waits}, {&l.Streams, o.Streams}, {&l.Webhooks, o.Webhooks}, {&l.Sessions, o.Sessions},
	} {
		if one.own != nil {
			*one.to = *one.own
		}
	}
	return l
}

// Bounds of limits.
const (
	maxRate     = 1e6
	minRate     = 1. / 3600 // one an hour
	maxCount    = 1e9
	maxWebhooks = 10_000 // each is read when one is added, and by every notifier
)

// Fault is a limit that is out of its range.
type Fault struct{ Field, Detail string }

// Check returns the limits that are out of their ranges.
func (l Limits) Check() (faults []Fault) {
	if r := l.Rate; r != Unlimited && r != 0 && !(r >= minRate && r <= maxRate) {
		faults = append(faults, Fault{"rate", fmt.Sprintf("it is %v, allowed are -1 (no limit), 0 (nothing) and one an hour to %d a second", r, int(maxRate))})
	}
	if l.Burst < 0 || l.Burst > maxRate {
		faults = append(faults, Fault{"burst", fmt.Sprintf("it is %d, allowed are 1 to %d, and 0 for as many as in a second", l.Burst, int(maxRate))})
	}
	for _, one := range []struct {
		field string
		n     int
		most  int
	}{
		{"pending", l.Pending, maxCount}, {"pending_per_agent", l.PendingPerAgent, maxCount}, {"waits", l.Waits, maxCount},
		{"streams", l.Streams, maxCount}, {"webhooks", l.Webhooks, maxWebhooks}, {"sessions", l.Sessions, maxCount},
	} {
		if one.n < Unlimited || one.n > one.most {
			faults = append(faults, Fault{one.field, fmt.Sprintf("it is %d, allowed are -1 (no limit), 0 (nothing) and up to %d", one.n, one.most)})
		}
	}
	return faults
}

// Tenant is the record of a tenant.
type Tenant struct {
	Name      string    `json:"name"`
	Limits    Own       `json:"limits"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	Rev uint64 `json:"-"` // of the record; 0: there is none
}
