package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// Journals are what the agents of tasks have finished, see [task.Entry].
type Journals struct{ *core }

// Bounds of the artifact of a journal: above them all values are cut.
const (
	maxArchive = 8 << 20 // bytes
	maxHead    = 256     // bytes of a value that is cut
)

// Archive keeps the journal of a task that is about to end as one artifact, and notes
// that in t. entries are all of it, in their order. A task without entries has none.
func (j Journals) Archive(ctx context.Context, t *task.Task, entries []*task.Entry) error {
	text, err := entryLines(entries)
	if err != nil {
		return fmt.Errorf("archive the journal of %s: %w", t.ID, err)
	}
	if len(entries) == 0 {
		t.Steps = &task.Steps{}
		return nil
	}
	v, err := j.store.Artifacts.PutObject(ctx, t.Tenant, t.ID, "steps-"+strconv.Itoa(t.Attempt)+".ndjson", text)
	if err == nil {
		t.Steps = &task.Steps{Count: len(entries), Object: v.Object, Size: v.Size}
	}
	return err
}

// ArchiveStored is Archive for a task that nobody runs: its journal is read. One that
// has none, or is archived, is left as it is.
func (j Journals) ArchiveStored(ctx context.Context, t *task.Task) error {
	if t.Steps == nil || t.Steps.Object != "" {
		return nil
	}
	entries, err := j.store.Steps.Read(ctx, t.Tenant, t.ID, 0)
	if err != nil {
		return err
	}
	return j.Archive(ctx, t, task.Noted(entries))
}

// Drop ends the journal of a task whose record says that it has ended.
func (j Journals) Drop(ctx context.Context, t *task.Task) error {
	if t.Steps == nil {
		return nil
	}
	return j.store.Steps.Purge(ctx, t.Tenant, t.ID, 0)
}

// entryLines writes entries as lines of JSON, with their values cut where all of them
// are too long.
func entryLines(entries []*task.Entry) ([]byte, error) {
	var b bytes.Buffer
	for _, cut := range []bool{false, true} {
		b.Reset()
		for _, e := range entries {
			if cut {
				e = e.Cut(maxHead)
			}
			line, err := task.Marshal(e)
			if err != nil {
				return nil, err
			}
			b.Write(line)
			b.WriteByte('\n')
		}
		if b.Len() <= maxArchive {
			break
		}
	}
	return b.Bytes(), nil
}

// Of is the journal of a task, wherever it is.
func (j Journals) Of(ctx context.Context, t *task.Task) ([]*task.Entry, error) {
	switch {
	case t.Steps == nil:
		return nil, nil
	case t.Steps.Object == "":
		entries, err := j.store.Steps.Read(ctx, t.Tenant, t.ID, 0)
		return task.Noted(entries), err
	}
	text, err := j.store.Artifacts.Read(ctx, task.Value{Object: t.Steps.Object, Size: t.Steps.Size})
	if err != nil {
		return nil, err
	}
	var entries []*task.Entry
	for line := range bytes.Lines(text) {
		e, err := store.DecodeEntry(line)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// journalKept is how long a journal stays that nobody has ended.
const journalKept = 24 * time.Hour

const endEvery = time.Hour

// sweep ends them at the start and every hour, until ctx ends.
func (j Journals) sweep(ctx context.Context) {
	for {
		n, err := j.Sweep(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			j.log.Warn("journals not looked at, they will be in an hour", "error", err)
		case n > 0:
			j.log.Info("journals ended of tasks that are over", "journals", n)
		}
		if !j.sleep(ctx, endEvery) {
			return
		}
	}
}

// Sweep ends the journals of tasks that have ended, or are gone, for a day: a crash
// may leave one. It returns how many it has ended.
func (j Journals) Sweep(ctx context.Context) (n int, err error) {
	all, err := j.store.Steps.Journals(ctx)
	if err != nil {
		return 0, err
	}
	for _, of := range all {
		over, err := j.over(ctx, of)
		if err == nil && over {
			err = j.store.Steps.Purge(ctx, of.Tenant, of.ID, 0)
		}
		if err != nil {
			return n, err
		}
		if over {
			n++
		}
	}
	return n, nil
}

// over reports whether nobody needs a journal any longer.
func (j Journals) over(ctx context.Context, of store.Journal) (bool, error) {
	t, err := j.store.Tasks.Find(ctx, of.Tenant, of.ID)
	switch {
	case errors.Is(err, task.ErrNotFound):
		_, last, err := j.store.Steps.Written(ctx, of.Tenant, of.ID)
		return err == nil && time.Since(last) > journalKept, err
	case err != nil:
		return false, err
	}
	return t.Status.Terminal() && time.Since(t.FinishedAt) > journalKept, nil
}
