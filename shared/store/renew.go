package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// Aged is an artifact that was stored some time ago.
type Aged struct {
	task.Value
	Tenant string
	Task   task.ID // that it was stored for
}

// Aged lists the artifacts of tasks that were stored before a time.
func (s Artifacts) Aged(ctx context.Context, before time.Time) (all []Aged, err error) {
	r, err := s.newReader(ctx, s.objects, topology.ArtifactMetas, 1, pullBytes)
	if err != nil {
		return nil, wrapped("list artifacts", err)
	}
	defer r.close()
	for end := false; !end; {
		end, err = r.next(ctx, 0, func(m message) error {
			var info jetstream.ObjectInfo
			if m.at.After(before) {
				return errPast
			}
			if unmarshal(m.data, &info) != nil || info.Deleted {
				return nil
			}
			tenant, rest, _ := strings.Cut(info.Name, "/")
			if id, _, ok := strings.Cut(rest, "/"); ok && task.ID(id).Valid() {
				all = append(all, Aged{task.Value{Object: info.Name, Size: int64(info.Size)}, tenant, task.ID(id)})
			}
			return nil
		})
		if errors.Is(err, errPast) {
			break
		}
		if err != nil {
			return all, wrapped("list artifacts", err)
		}
	}
	return all, nil
}

// Renew stores an artifact anew, so that its retention begins again.
func (s Artifacts) Renew(ctx context.Context, v task.Value) error {
	data, err := s.Read(ctx, v)
	if err == nil {
		err = s.putObject(ctx, v.Object, data)
	}
	if err != nil {
		return fmt.Errorf("renew artifact %s: %w", v.Object, classify(err))
	}
	return nil
}
