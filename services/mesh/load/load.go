// Package load measures a mesh from outside: many clients at once send it tasks over
// HTTP, and it takes the time that each answer needs. It promises that it has waited
// for, or asked to cancel, what it has started when it ends, also when it is
// interrupted. It knows nothing of a mesh but POST /tasks, GET /tasks/{id} and
// POST /tasks/{id}/cancel.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what is sent, and where to.
type Config struct {
	URLs    []string // of gateways; clients are spread over them
	Header  http.Header
	Agent   string
	Tasks   int // of each part
	Clients int // at once
	Payload int // bytes of the input of each task

	// Bare says that the other side knows POST /tasks only, as the floor does.
	Bare bool
	// CPU is what the processes that are measured have computed so far; nil: it is
	// not known.
	CPU func() time.Duration
	// Progress is called as tasks of a part are answered, by many goroutines.
	Progress func(part string, done int)
}

// Result is what was measured. A part that was interrupted has the figures of what
// was answered until then.
type Result struct {
	Accept      *Figures `json:"accept,omitempty"`     // from POST to 202
	WholePath   *Figures `json:"whole_path,omitempty"` // from POST to the finished task, by clients that wait
	Backlog     *Backlog `json:"backlog,omitempty"`
	Interrupted bool     `json:"interrupted"`
	Canceled    int      `json:"canceled"` // of what an interrupted part had started
}

// Backlog is how the tasks of Accept came to their end, whom nobody waits for.
type Backlog struct {
	Completed int     `json:"completed"`
	Lost      int     `json:"not_completed"`
	Seconds   float64 `json:"seconds"` // from the first 202 to the last end
	PerSecond float64 `json:"per_second"`
}

// The parts of a run, as Progress names them.
const (
	PartAccept  = "accept"
	PartBacklog = "backlog"
	PartWhole   = "whole path"
)

const (
	answerWithin = time.Minute     // one request: a mesh that does not answer is not measured
	lastAnswers  = 2 * time.Second // those that are under way when the run is interrupted
)

// run is a load at work.
type run struct {
	Config
	client  *http.Client
	body    []byte
	stopped context.Context // that of the caller: nothing new begins after it
	asking  context.Context // of requests: it ends a moment later
	refused atomic.Pointer[Refused]
}

// Refused is an answer that is not the one that was asked for. The first one ends the
// run: rates of refusals are no figures.
type Refused struct {
	Status int
	Code   string // of the problem
	Detail string
}

func (r *Refused) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the gateway answered %d %s: %s", r.Status, r.Code, r.Detail))
}

// Run measures until all tasks are answered, or ctx is done; then it returns what it
// has. An error means that there are no figures.
func Run(ctx context.Context, cfg Config) (Result, error) {
	transport := &http.Transport{MaxIdleConns: cfg.Clients, MaxIdleConnsPerHost: cfg.Clients, Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	body, err := json.Marshal(map[string]any{"agent": cfg.Agent, "input": map[string]string{"text": text(cfg.Payload)}})
	if err != nil {
		return Result{}, err
	}
	asking, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastAnswers, cut) })()
	r := &run{Config: cfg, client: &http.Client{Transport: transport}, body: body, stopped: ctx, asking: asking}
	out, err := r.parts()
	out.Interrupted = ctx.Err() != nil
	if refused := r.refused.Load(); refused != nil {
		err = refused
	}
	return out, err
}

// text is n bytes that compress and escape like ordinary text: not at all.
func text(n int) string {
	const digits = "0123456789"
	return strings.Repeat(digits, n/len(digits)+1)[:n]
}

// parts runs one after the other.
func (r *run) parts() (out Result, err error) {
	if err := r.warm(); err != nil {
		return out, err
	}
	ids := newKept(r.Tasks)
	out.Accept = r.measure(PartAccept, http.StatusAccepted, "", ids.add)
	switch {
	case r.over():
		out.Canceled = r.cancel(ids.all)
		return out, nil
	case r.Bare:
		_, _, err := r.post(http.StatusOK, waits) // the last of the queue
		if err != nil {
			return out, err
		}
	default:
		backlog, err := r.drain(ids.all)
		if err != nil {
			return out, err
		}
		out.Backlog = backlog
	}
	if r.over() {
		out.Canceled = r.cancel(ids.all)
	} else {
		out.WholePath = r.measure(PartWhole, http.StatusOK, waits, nil)
	}
	return out, nil
}

const (
	waits   = "wait=30"
	warming = 32 // tasks: connections, and the streak of quick attempts of an agent
)

// warm sends some tasks that are not measured. Their answers tell whether the rest is
// worth it.
func (r *run) warm() error {
	for range min(warming, r.Tasks) {
		if r.over() {
			return nil
		}
		if _, _, err := r.post(http.StatusOK, waits); err != nil {
			return err
		}
	}
	return nil
}

// over reports whether nothing new is to begin.
func (r *run) over() bool { return r.stopped.Err() != nil || r.refused.Load() != nil }

// measure has the clients send the tasks, each one after the other.
func (r *run) measure(part string, status int, prefer string, answered func([]byte)) *Figures {
	took := make([][]time.Duration, r.Clients)
	var begun, done atomic.Int64
	var clients sync.WaitGroup
	began, computed := time.Now(), r.computed()
	for i := range took {
		clients.Go(func() {
			for !r.over() && begun.Add(1) <= int64(r.Tasks) {
				body, d, err := r.postTo(r.URLs[i%len(r.URLs)], status, prefer)
				if err != nil {
					r.note(err)
					return
				}
				if took[i] = append(took[i], d); answered != nil {
					answered(body)
				}
				r.progress(part, int(done.Add(1)))
			}
		})
	}
	clients.Wait()
	return figures(took, time.Since(began), r.computed()-computed)
}

// note keeps the first answer that ends the run. What was cut short by an
// interruption is none.
func (r *run) note(err error) {
	if r.asking.Err() != nil {
		return
	}
	var refused *Refused
	if !errors.As(err, &refused) {
		refused = &Refused{Detail: err.Error()}
	}
	r.refused.CompareAndSwap(nil, refused)
}

func (r *run) progress(part string, done int) {
	if r.Progress != nil {
		r.Progress(part, done)
	}
}

func (r *run) computed() time.Duration {
	if r.CPU == nil {
		return 0
	}
	return r.CPU()
}
