package store

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/task"
	"agentmesh/shared/telemetry"
)

// Kinds of JetStream errors, as their metric names them.
const (
	kindUnavailable = "unavailable"
	kindFull        = "full"
	kindOther       = "other"
)

// counted counts a failed write to JetStream. A compare-and-set that somebody
// else was ahead of is none.
func counted(err error) error {
	switch {
	case err == nil, errors.Is(err, task.ErrConflict):
	case errors.Is(err, task.ErrUnavailable):
		telemetry.JetStreamErrors.Add(1, kindUnavailable)
	case errors.Is(err, task.ErrFull):
		telemetry.JetStreamErrors.Add(1, kindFull)
	default:
		telemetry.JetStreamErrors.Add(1, kindOther)
	}
	return err
}

// Observe has the metrics of the connections of all stores of a process read,
// until stop: connected means that all are.
func Observe(stores ...*Store) (stop func()) {
	for _, kind := range []string{kindUnavailable, kindFull, kindOther} {
		telemetry.JetStreamErrors.Add(0, kind)
	}
	telemetry.StoreConflicts.Add(0)
	telemetry.StoreUnreadable.Add(0)
	return telemetry.Observe(func(_ context.Context, set func(*telemetry.Gauge, float64, ...string)) {
		connected, reconnects := 1.0, uint64(0)
		for _, s := range stores {
			if s.core.nc.Status() != nats.CONNECTED {
				connected = 0
			}
			reconnects += s.core.nc.Stats().Reconnects
		}
		set(telemetry.NATSConnected, connected)
		set(telemetry.NATSReconnects, float64(reconnects))
	})
}
