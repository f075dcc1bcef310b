package webhook_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"agentmesh/shared/webhook"
)

// A delivery that has ended goes on only when somebody asks for it, or when an attempt that
// was on its way arrives after all.
func TestDeliveryFollowsItsTable(t *testing.T) {
	open := []webhook.Status{webhook.Pending, webhook.Retrying}
	for _, from := range webhook.Statuses {
		for _, to := range webhook.Statuses {
			want := slices.Contains(open, from) || to == webhook.Pending || to == webhook.Delivered
			d := &webhook.Delivery{Status: from, NextAt: time.Now(), Failures: 3}
			before := *d
			err := d.To(to)
			switch {
			case want && (err != nil || d.Status != to || !d.NextAt.IsZero()):
				t.Errorf("%s to %s: %v, %+v", from, to, err, d)
			case !want && (!errors.Is(err, webhook.ErrTransition) || d.Status != before.Status || d.NextAt != before.NextAt):
				t.Errorf("%s to %s: %v, %+v; want it refused and unchanged", from, to, err, d)
			}
			if wantFailures := 3; err == nil && to != webhook.Pending && d.Failures != wantFailures || to == webhook.Pending && d.Failures != 0 {
				t.Errorf("%s to %s: %d failures", from, to, d.Failures)
			}
		}
	}
}

// A new delivery waits for its first attempt or is parked, and is nothing else.
func TestDeliveryBegins(t *testing.T) {
	for _, s := range webhook.Statuses {
		var d webhook.Delivery
		if err, want := d.To(s), s == webhook.Pending || s == webhook.Parked; (err == nil) != want {
			t.Errorf("begins as %s: %v", s, err)
		}
	}
	if webhook.Status("").Valid() {
		t.Error("a delivery without a status is valid")
	}
}
