package webhook

import (
	"fmt"
	"slices"
	"time"
)

// Status is where a delivery is.
type Status string

// The statuses of a delivery.
const (
	Pending   Status = "pending"   // not attempted yet
	Retrying  Status = "retrying"  // failed, and will be attempted again
	Delivered Status = "delivered" // answered with 2xx
	Dead      Status = "dead"      // given up: see the attempts
	Parked    Status = "parked"    // its endpoint is disabled
	Canceled  Status = "canceled"  // its endpoint was deleted
)

// Statuses lists them.
var Statuses = []Status{Pending, Retrying, Delivered, Dead, Parked, Canceled}

// next is the table of allowed transitions; nothing else decides which status may
// follow which. Pending may follow every status, because somebody may ask for a delivery
// again, and so may delivered, because an attempt may be on its way when another
// notifier, or the end of its webhook, ends the delivery. The empty status is that
// of a delivery in the making.
var next = map[Status][]Status{
	"":        {Pending, Parked},
	Pending:   {Pending, Retrying, Delivered, Dead, Parked, Canceled},
	Retrying:  {Pending, Retrying, Delivered, Dead, Parked, Canceled},
	Delivered: {Pending, Delivered},
	Dead:      {Pending, Delivered},
	Parked:    {Pending, Delivered},
	Canceled:  {Pending, Delivered},
}

// Valid reports whether s is one of Statuses.
func (s Status) Valid() bool { return slices.Contains(Statuses, s) }

// Final reports whether nothing happens any more unless somebody asks for it.
func (s Status) Final() bool { return s != Pending && s != Retrying }

// To gives the delivery a status, or returns ErrTransition wrapped with both. The
// time of its next attempt belongs to the status before; pending begins a new round
// of the schedule.
func (d *Delivery) To(s Status) error {
	if !slices.Contains(next[d.Status], s) {
		return fmt.Errorf("delivery %s: %q to %q: %w", d.ID, d.Status, s, ErrTransition)
	}
	d.Status, d.NextAt = s, time.Time{}
	if s == Pending {
		d.Failures = 0
	}
	return nil
}
