// Package exec runs a program of any language as an agent: one process for each
// attempt, or a pool of processes that take one after the other. The program reads one JSON object from standard input and answers in
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
	Pool    int               // copies that take one job after the other; 0: a process for each attempt
	MaxJobs int               // jobs of a copy; 0: DefaultMaxJobs
}

// Options are what the worker adds.
type Options struct {
	GatewayURL func() string // MESH_GATEWAY_URL of the program; nil or empty: not set
	Log        *slog.Logger
}

// stopAfter is the time from SIGTERM to SIGKILL.
const stopAfter = 5 * time.Second

// ours begin the names of variables that are the mesh's own: addresses and
// credentials that are no business of a program. To pass one on, name it in env
// of agents.yaml.
var ours = []string{"NATS_", "MESH_", "OTEL_EXPORTER_"}

// New makes the handler of a program.
func New(cfg Config, o Options) agent.Handler { return newProgram(cfg, o).run }

func newProgram(cfg Config, o Options) *program {
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
	p.gateway, p.once = o.GatewayURL, p.process
	return p
}

// keyVariable has the key by which the program calls the mesh.
const keyVariable = "MESH_API_KEY"

type program struct {
	cfg    Config
	env    []string
	log    *slog.Logger
	ownKey bool // the file of agents gives it one

	gateway func() string
	// once has the program do a job one time, and leaves nothing of it behind.
	once func(ctx context.Context, job *agent.Job, input []byte, book *protocol.Book) (*protocol.Outcome, error)
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
	book, err := protocol.OpenBook(ctx, job, p.gateway)
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

// process starts the program for one job, feeds it, reads it, and ends it.
func (p *program) process(ctx context.Context, job *agent.Job, input []byte, book *protocol.Book) (*protocol.Outcome, error) {
	c, err := p.start(p.variables(job)...)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go c.feed(append(input, '\n'), book != nil)
	c.heard.logTo(p.logOf(job))
	go c.listen()
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
	case errors.As(c.fault, &fault): // with its own code
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
	fault.Detail = c.heard.last()
	return nil, fault
}

func (p *program) logOf(job *agent.Job) *slog.Logger {
	return p.log.With("task", job.TaskID, "agent", job.Agent, "attempt", job.Attempt)
}

// died says how a program ended.
func died(state *os.ProcessState) string {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return "the program was killed by " + ws.Signal().String()
	}
	return "the program ended with status " + strconv.Itoa(state.ExitCode())
}
