package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

func (r *run) post(status int, prefer string) ([]byte, time.Duration, error) {
	return r.postTo(r.URLs[0], status, prefer)
}

// postTo sends a task, and returns the answer with what it took. It is not cut at
// once when the run is over: what was begun is measured to its end.
func (r *run) postTo(base string, status int, prefer string) ([]byte, time.Duration, error) {
	began := time.Now()
	body, err := r.do(r.asking, "POST", base+"/tasks", r.body, status, prefer)
	return body, time.Since(began), err
}

// do sends a request, and returns the answer's body if it has the status.
func (r *run) do(ctx context.Context, method, url string, body []byte, status int, prefer string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if prefer != "" {
		req.Header.Set("Prefer", prefer)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", method, url, err)
	}
	if resp.StatusCode != status {
		return nil, refusal(resp.StatusCode, answer)
	}
	return answer, nil
}

func refusal(status int, body []byte) *Refused {
	var problem struct{ Code, Detail string }
	if json.Unmarshal(body, &problem) == nil && status == http.StatusAccepted {
		problem.Detail = "the task did not end within 30 s; choose an agent that does nothing with --agent"
	}
	return &Refused{status, problem.Code, problem.Detail}
}

// ended is what is read of a task.
type ended struct {
	ID       string    `json:"task_id"`
	Status   string    `json:"status"`
	Done     bool      `json:"done"`
	Created  time.Time `json:"created_at"`
	Finished time.Time `json:"finished_at"`
}

// kept are the ids of tasks that were accepted.
type kept struct {
	mu  sync.Mutex
	all []string
}

func newKept(n int) *kept { return &kept{all: make([]string, 0, n)} }

func (k *kept) add(answer []byte) {
	var t ended
	if json.Unmarshal(answer, &t) != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, t.ID)
}

// drain waits for the end of every task, the newest first: when it has ended, most
// of the others have. The times are those of the records, so that the asking does not
// count.
func (r *run) drain(ids []string) (*Backlog, error) {
	var out Backlog
	var first, last time.Time
	var mu sync.Mutex
	err := r.each(ids, func(ctx context.Context, i int, base string) error {
		var t ended
		for ctx.Err() == nil && !t.Done {
			body, err := r.do(ctx, "GET", base+"/tasks/"+ids[len(ids)-1-i], nil, http.StatusOK, waits)
			if err == nil {
				err = json.Unmarshal(body, &t)
			}
			if err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if t.Status != "completed" {
			out.Lost++
			return nil
		}
		if out.Completed++; first.IsZero() || t.Created.Before(first) {
			first = t.Created
		}
		if t.Finished.After(last) {
			last = t.Finished
		}
		r.progress(PartBacklog, out.Completed)
		return nil
	})
	out.Seconds = last.Sub(first).Seconds()
	if out.Seconds > 0 {
		out.PerSecond = float64(out.Completed) / out.Seconds
	}
	if r.stopped.Err() != nil {
		return nil, nil
	}
	return &out, err
}

// cancelWithin is how long an interrupted run asks for its tasks to be canceled.
const cancelWithin = 10 * time.Second

// cancel asks for the end of what was started, and counts what had not ended.
func (r *run) cancel(ids []string) (canceled int) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(r.stopped), cancelWithin)
	defer stop()
	var n atomic.Int64
	_ = r.eachIn(ctx, ids, func(ctx context.Context, i int, base string) error {
		if _, err := r.do(ctx, "POST", base+"/tasks/"+ids[len(ids)-1-i]+"/cancel", nil, http.StatusOK, ""); err == nil {
			n.Add(1)
		}
		return nil // most have ended: a refusal
	})
	return int(n.Load())
}

func (r *run) each(ids []string, f func(ctx context.Context, i int, base string) error) error {
	return r.eachIn(r.stopped, ids, f)
}

// eachIn has the clients call f for each index of ids, until ctx is done or one
// fails.
func (r *run) eachIn(ctx context.Context, ids []string, f func(ctx context.Context, i int, base string) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var clients sync.WaitGroup
	for c := range r.Clients {
		clients.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return
				}
				if err := f(ctx, i, r.URLs[c%len(r.URLs)]); err != nil {
					stop(err)
				}
			}
		})
	}
	clients.Wait()
	if err := context.Cause(ctx); err != nil && r.stopped.Err() == nil {
		return err
	}
	return nil
}
