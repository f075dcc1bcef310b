// Package exec runs a program of any language as an agent: one process for each
// attempt. The program reads one JSON object from standard input and answers in
// lines on standard output, as package protocol says; its standard error goes to
// the log, and the tail of it into the detail of an error.
//
// It promises that no process outlives its attempt: the program runs in a
// process group of its own, which gets SIGTERM when the attempt is canceled,
// times out or the worker shuts down, and SIGKILL stopAfter later or when the
// program has ended; and if the worker itself is killed, the kernel and a guard
// process do it. On Linux that holds also for processes that have left the group,
// as long as they keep the environment they were given: see [Adopt].
package exec

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/protocol"
)

// Config is the exec section of an agent.
type Config struct {
	Command []string          // program and arguments; a name without a slash is looked up in PATH
	Dir     string            // working directory
	Env     map[string]string // added to the worker's own, without what is the mesh's
	Steps   bool              // the program keeps steps: it is told those before, and its input stays open
}

// Options are what the worker adds.
type Options struct {
	GatewayURL string // MESH_GATEWAY_URL of the program; empty: not set
	Log        *slog.Logger
}

// stopAfter is the time from SIGTERM to SIGKILL.
const stopAfter = 5 * time.Second

// ours begin the names of variables that are the mesh's own: addresses and
// credentials that are no business of a program. To pass one on, name it in env
// of agents.yaml.
var ours = []string{"NATS_", "MESH_", "OTEL_EXPORTER_"}

// New makes the handler of a program.
func New(cfg Config, o Options) agent.Handler {
	_, own := cfg.Env[keyVariable]
	p := &program{cfg: cfg, log: o.Log, ownKey: own}
	for _, kv := range os.Environ() {
		if !slices.ContainsFunc(ours, func(prefix string) bool { return strings.HasPrefix(kv, prefix) }) {
			p.env = append(p.env, kv)
		}
	}
	for k, v := range cfg.Env {
		p.env = append(p.env, k+"="+v)
	}
	if o.GatewayURL != "" {
		p.env = append(p.env, "MESH_GATEWAY_URL="+o.GatewayURL)
	}
	return p.run
}

// keyVariable has the key by which the program calls the mesh.
const keyVariable = "MESH_API_KEY"

type program struct {
	cfg    Config
	env    []string
	log    *slog.Logger
	ownKey bool // the file of agents gives it one
}

// run is one attempt. A program that keeps steps and waits is started again when it
// has waited, unless the job is suspended before.
func (p *program) run(ctx context.Context, job *agent.Job) (any, error) {
	if !p.cfg.Steps {
		input, err := protocol.Encode(job)
		if err != nil {
			return nil, err
		}
		o, err := p.once(ctx, job, input, nil)
		if err != nil {
			return nil, err
		}
		return o.Value()
	}
	book, err := protocol.OpenBook(ctx, job)
	for err == nil {
		var value any
		again := false
		if value, again, err = p.durable(ctx, job, book); !again {
			return value, err
		}
		book, err = book.Await(ctx)
	}
	return nil, err
}

// durable starts a program that keeps steps once; again says that it waits.
func (p *program) durable(ctx context.Context, job *agent.Job, book *protocol.Book) (value any, again bool, err error) {
	input, err := book.Encode("", "")
	if err != nil {
		return nil, false, err
	}
	o, err := p.once(ctx, job, input, book)
	if err != nil {
		return nil, false, err
	}
	return book.Ended(o)
}

// once starts the program, feeds it, reads it, and leaves nothing behind.
func (p *program) once(ctx context.Context, job *agent.Job, input []byte, book *protocol.Book) (*protocol.Outcome, error) {
	c, err := p.start(job)
	if err != nil {
		return nil, &agent.Error{Code: task.CodeAgentUnreachable, Message: "the program could not be started", Detail: err.Error(), Err: err}
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go c.feed(append(input, '\n'), book != nil)
	go c.listen(p.log.With("task", job.TaskID, "agent", job.Agent, "attempt", job.Attempt))
	go func() {
		c.outcome, c.fault = protocol.ReadDurable(ctx, c.stdout, job, book, c.tell)
		if c.fault != nil {
			stop(c.fault) // further output is not read
		}
		close(c.read)
	}()
	state, err := c.wait(running)
	fault := &agent.Error{}
	switch {
	case ctx.Err() != nil:
		cause := context.Cause(ctx)
		fault.Message, fault.Err = cause.Error(), cause
	case errors.As(c.fault, &fault):
	case c.fault != nil:
		return nil, c.fault
	case err != nil:
		return nil, err
	case c.outcome.Err != nil:
		fault = c.outcome.Err
	case !state.Success():
		fault.Code, fault.Message = task.CodeAgentCrashed, died(state)
	default:
		return c.outcome, nil
	}
	fault.Detail = c.tail.String()
	return nil, fault
}

// died says how a program ended.
func died(state *os.ProcessState) string {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return "the program was killed by " + ws.Signal().String()
	}
	return "the program ended with status " + strconv.Itoa(state.ExitCode())
}
