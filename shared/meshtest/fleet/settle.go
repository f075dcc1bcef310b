//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"agentmesh/shared/pause"
)

// Settle asks what became of everything, once the faults are over: requests
// without an answer are sent again with their keys (I17), every task reaches its
// end (I1) with its own result, the lists name no task that nobody asked for (I2),
// and every end was told or lies with the dead letters (I4). It returns when all
// is so, or ctx is done.
func (l *Load) Settle(ctx context.Context, rnd *rand.Rand) {
	for _, r := range l.Ledger.open() {
		if !l.accept(ctx, r, rnd) {
			l.Ledger.fault("key %s is not accepted after the faults", r.key)
		}
	}
	for _, r := range l.Ledger.known() {
		l.settle(ctx, r, rnd)
	}
	l.strangers(ctx, rnd)
	for {
		untold := l.Ledger.untold()
		if len(untold) == 0 {
			return
		}
		dead := l.dead(ctx, rnd)
		missing := untold[:0]
		for _, id := range untold {
			if !dead[id] {
				missing = append(missing, id)
			}
		}
		if len(missing) == 0 {
			return
		}
		if !pause.For(ctx, time.Second) {
			l.Ledger.fault("%d ends were never told, nor are they dead letters: %v", len(missing), missing[:min(5, len(missing))])
			return
		}
	}
}

// settle waits for the end of one task and looks at its result.
func (l *Load) settle(ctx context.Context, r *request, rnd *rand.Rand) {
	for {
		now, ok := l.look(ctx, r, rnd)
		if ok && ended[now.status] {
			if fault := r.unexpected(now); fault != "" {
				l.Ledger.fault("task %s of key %s %s: %+v", r.id, r.key, fault, now)
			}
			return
		}
		if !pause.For(ctx, 100*time.Millisecond) {
			l.Ledger.fault("task %s of key %s has no end: %+v", r.id, r.key, now)
			return
		}
	}
}

// unexpected says what is wrong with an end; empty: nothing.
func (r *request) unexpected(now state) string {
	fails := strings.Contains(r.body, "echo_fail_permanent")
	switch {
	case now.status == "canceled" && !r.canceled:
		return "was canceled by nobody"
	case now.status == "failed" && !fails:
		return "failed"
	case now.status == "completed" && (fails || !strings.Contains(now.result, `"`+r.key+`"`)):
		return "has another's result"
	}
	return ""
}

// pages reads a list to its end.
func (l *Load) pages(ctx context.Context, rnd *rand.Rand, path string, page func(raw []byte) error) error {
	for cursor := ""; ; {
		status, raw, err := l.do(ctx, rnd, "GET", path+cursor, "", "")
		var got struct {
			Next string `json:"next_cursor"`
		}
		if err == nil && status == http.StatusOK {
			if err = json.Unmarshal(raw, &got); err == nil {
				err = page(raw)
			}
		} else if status >= 500 && pause.For(ctx, 100*time.Millisecond) {
			continue // a busy machine is no fault
		} else if err == nil {
			err = fmt.Errorf("%d %s", status, raw)
		}
		if err != nil || got.Next == "" {
			return err
		}
		cursor = "&cursor=" + url.QueryEscape(got.Next)
	}
}

// strangers looks for tasks that no client knows, and that are listed twice.
func (l *Load) strangers(ctx context.Context, rnd *rand.Rand) {
	listed := map[string]bool{}
	for _, path := range []string{"/tasks?kind=task&order=created&limit=200", "/tasks?kind=action&order=created&limit=200"} {
		err := l.pages(ctx, rnd, path, func(raw []byte) error {
			var got struct{ Tasks []answer }
			if err := json.Unmarshal(raw, &got); err != nil {
				return err
			}
			for _, t := range got.Tasks {
				switch id := t.TaskID; {
				case !l.Ledger.knows(id):
					l.Ledger.fault("task %s was asked for by nobody", id)
				case listed[id]:
					l.Ledger.fault("task %s is listed twice", id)
				default:
					listed[id] = true
				}
			}
			return nil
		})
		if err != nil {
			l.Ledger.fault("list %s: %v", path, err)
		}
	}
	if known := len(l.Ledger.known()); len(listed) != known {
		l.Ledger.fault("%d tasks are listed, %d were accepted", len(listed), known)
	}
}

// dead are the tasks with a dead letter.
func (l *Load) dead(ctx context.Context, rnd *rand.Rand) map[string]bool {
	all := map[string]bool{}
	_ = l.pages(ctx, rnd, "/deliveries?status=dead&limit=200", func(raw []byte) error {
		var got struct {
			Deliveries []struct {
				TaskID   string `json:"task_id"`
				ActionID string `json:"action_id"`
			} `json:"deliveries"`
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			return err
		}
		for _, d := range got.Deliveries {
			all[d.TaskID], all[d.ActionID] = true, true
		}
		return nil
	})
	return all
}
