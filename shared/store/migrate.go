package store

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/topology"
)

// migrateTimeout bounds a migration: the server answers a change of a stream when its
// replicas have agreed to it.
const migrateTimeout = 5 * time.Minute

// PlanMigration is what Migrate would do. Of the options those count that are not 0.
func PlanMigration(ctx context.Context, nc *nats.Conn, o Options) (plan []topology.Difference, err error) {
	s, err := newCore(nc)
	if err == nil {
		asking, over := s.requests.begin(ctx, "", migrateTimeout)
		defer over()
		plan, err = topology.Plan(asking, s.js, topology.Settings(o))
	}
	if err != nil {
		return nil, fmt.Errorf("compare streams: %w", classify(err))
	}
	return plan, nil
}

// Migrate gives streams and consumers the settings of this version, and makes what is
// missing. It returns what it has done and what the server does not change.
func Migrate(ctx context.Context, nc *nats.Conn, o Options) (done, refused []topology.Difference, err error) {
	s, err := newCore(nc)
	if err == nil {
		asking, over := s.requests.begin(ctx, "", migrateTimeout)
		defer over()
		done, refused, err = topology.Migrate(asking, s.js, topology.Settings(o))
		err = copiesHint(nc, o.Replicas, err)
	}
	if err != nil {
		return done, refused, fmt.Errorf("migrate streams: %w", classify(err))
	}
	return done, refused, nil
}

// WarnOfSettings says in one line which settings of streams differ from those of this
// version, if any.
func (s *Store) WarnOfSettings(log *slog.Logger) { warnOfSettings(log, s.differs) }

func warnOfSettings(log *slog.Logger, differs []topology.Difference) {
	if len(differs) == 0 {
		return
	}
	var all []string
	for _, d := range differs {
		all = append(all, d.String())
	}
	log.Warn("settings in NATS are not those of this version, and are left as they are: see `mesh migrate --dry-run`", "differs", strings.Join(all, ", "))
}

// HasBulk reports whether the queue takes tasks in bulk: that of an earlier version
// does not, until somebody migrates it.
func (s Tasks) HasBulk(ctx context.Context) bool {
	if s.bulky.Load() {
		return true
	}
	ctx, cancel := s.bound(ctx, topology.Tasks)
	defer cancel()
	info, err := s.info(ctx, s.tasks)
	if err == nil && topology.HasBulk(info.Config) {
		s.bulky.Store(true)
	}
	return s.bulky.Load()
}
