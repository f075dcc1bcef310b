package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/pause"
	"agentmesh/shared/proc"
)

// demoCommand is the tour: the real mesh on free ports and a folder that it
// removes, a client's view of what the mesh does, and an end by itself.
func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Show what the mesh does, on free ports, and end", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), cmd.OutOrStdout()) },
	}
}

const demoLimit = 2 * time.Minute

func demo(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	dir, err := os.MkdirTemp("", "mesh-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg := defaultUp()
	cfg.server.Data, cfg.server.NATS, cfg.admin.Admin = dir, "off", "off"
	cfg.log.Level = 8 // errors only: the tour is what there is to read
	if cfg.gateway.HTTP, err = freeAddress(); err != nil {
		return err
	}
	tour := &tour{out: out, base: "http://" + cfg.gateway.HTTP}
	return proc.Run(ctx,
		proc.Part{Name: "mesh", Run: func(ctx context.Context) error { return up(ctx, cfg, io.Discard) }},
		proc.Part{Name: "tour", Run: tour.run},
	)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

type tour struct {
	out  io.Writer
	base string
	c    *client.Client
	n    int
}

func (t *tour) step(text string) {
	t.n++
	fmt.Fprintf(t.out, "\n%d. %s\n", t.n, text)
}

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.out, "   "+format+"\n", args...) }

// run takes the steps; the first that does not hold ends the tour with an error.
func (t *tour) run(ctx context.Context) error {
	var err error
	if t.c, err = client.New(t.base); err != nil {
		return err
	}
	if err := t.ready(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{t.poll, t.followed, t.calledBack, t.conversation, t.summary, t.retried, t.once, t.canceled, t.refused} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(t.out, "\nThat was the mesh. What it accepts it does not lose.")
	return nil
}

func (t *tour) ready(ctx context.Context) error {
	t.step("Start the mesh: NATS embedded, gateway, worker with the sample agents")
	for ctx.Err() == nil {
		if cli.Ready(ctx, t.base+"/readyz") == nil {
			t.say("ready at %s", t.base)
			return nil
		}
		pause.For(ctx, 20*time.Millisecond)
	}
	return errors.New("the mesh did not become ready")
}

func (t *tour) poll(ctx context.Context) error {
	t.step("Initiate and poll: POST /tasks answers 202 at once, GET /tasks/{id} tells the rest")
	task, err := t.c.Tasks.Create(ctx, client.Request{Agent: "echo", Input: json.RawMessage(`{"hello":"mesh","echo_delay":"500ms"}`)}, client.CreateOptions{})
	if err != nil {
		return err
	}
	t.say("202 %s %s", task.TaskID, task.Status)
	if task, err = t.c.Tasks.Wait(ctx, task.TaskID); err != nil {
		return err
	}
	t.say("%s %s", task.Status, task.Result)
	return expect(task, "completed")
}

func (t *tour) followed(ctx context.Context) error {
	t.step("Follow: GET /tasks/{id}/events streams each change, and resumes where it was cut")
	task, err := t.c.Tasks.Create(ctx, client.Request{Agent: "echo", Input: json.RawMessage(`{"echo_delay":"1s"}`)}, client.CreateOptions{})
	if err != nil {
		return err
	}
	for e, err := range t.c.Tasks.Events(ctx, task.TaskID) {
		if err != nil {
			return err
		}
		if e.Task != nil {
			task = e.Task
			t.say("event %-3s %-9s %s %s", e.ID, e.Type, task.Status, task.Progress)
		}
	}
	return expect(task, "completed")
}

func (t *tour) calledBack(ctx context.Context) error {
	t.step("Initiate and call back: POST /actions, and the signed outcome comes to callback_url (what follows is mesh listen)")
	listening, stop := context.WithCancel(ctx)
	defer stop()
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- cli.Listen(listening, t.base, indented{t.out}, func(callback string) { ready <- callback })
	}()
	var callback string
	select {
	case callback = <-ready:
	case err := <-ended:
		return err
	}
	action, err := t.c.Actions.Create(ctx, client.Request{Agent: "echo", Input: json.RawMessage(`{"book":"a flight"}`), CallbackURL: callback}, client.CreateOptions{})
	if err != nil {
		return err
	}
	t.say("202 %s %s", action.TaskID, action.Status)
	for {
		all, err := t.c.Actions.Deliveries(ctx, action.TaskID)
		if err != nil {
			return err
		}
		if len(all) == 1 && all[0].Status == "delivered" {
			break
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	t.say("delivered and on record: GET /actions/{id}/deliveries")
	stop()
	return <-ended
}

func (t *tour) conversation(ctx context.Context) error {
	t.step("A session: the mesh keeps the conversation, turn by turn (agent travel, with sample data)")
	s, err := t.c.Sessions.Create(ctx, "travel", client.CreateOptions{})
	if err != nil {
		return err
	}
	t.say("agent  %s", s.Greeting)
	for _, text := range []string{"Find flights to Tokyo.", "From May 10 to May 16.", "Any airline."} {
		t.say("user   %s", text)
		turn, err := t.c.Sessions.Say(ctx, s.SessionID, text, client.SayOptions{})
		if err != nil {
			return err
		}
		if turn.Status != "completed" {
			return fmt.Errorf("turn %s is %s: %+v", turn.TurnID, turn.Status, turn.Error)
		}
		reply, _, more := strings.Cut(strings.TrimSpace(turn.Message), "\n")
		if more {
			reply += " …"
		}
		t.say("agent  %s", reply)
	}
	return t.c.Sessions.Delete(ctx, s.SessionID)
}

// indented writes the lines of another program in ours.
type indented struct{ out io.Writer }

func (w indented) Write(b []byte) (int, error) {
	if _, err := w.out.Write(append([]byte("   "), b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (t *tour) summary(ctx context.Context) error {
	t.step("An agent that does something: summarize picks key sentences with their positions")
	text, err := json.Marshal(map[string]any{"sentences": 2, "text": "Tides rise and fall twice a day. The moon pulls the sea towards it. " +
		"Tides are highest when moon and sun pull together. My cat is asleep."})
	if err != nil {
		return err
	}
	task, err := t.c.Tasks.Create(ctx, client.Request{Agent: "summarize", Input: text}, client.CreateOptions{Wait: 10 * time.Second})
	if err != nil {
		return err
	}
	var result struct{ Summary string }
	if err := json.Unmarshal(task.Result, &result); err != nil {
		return fmt.Errorf("read summary: %w", err)
	}
	t.say("%s", result.Summary)
	return expect(task, "completed")
}

func (t *tour) retried(ctx context.Context) error {
	t.step("An agent that fails is retried with growing pauses, then the task fails with its error")
	task, err := t.c.Tasks.Create(ctx, client.Request{Agent: "echo", Input: json.RawMessage(`{"echo_fail":"the model is away"}`), MaxAttempts: new(2)}, client.CreateOptions{})
	if err != nil {
		return err
	}
	if task, err = t.c.Tasks.Wait(ctx, task.TaskID); err != nil {
		return err
	}
	if err := expect(task, "failed"); err != nil {
		return err
	}
	t.say("%s after %d attempts: %s", task.Status, task.Attempt, task.Error.Message)
	return nil
}

func (t *tour) once(ctx context.Context) error {
	t.step("The same request with the same Idempotency-Key makes one task, however often it is sent")
	ids := map[string]bool{}
	for range 5 {
		task, err := t.c.Tasks.Create(ctx, client.Request{Agent: "echo", Input: json.RawMessage(`"once"`)}, client.CreateOptions{IdempotencyKey: "demo"})
		if err != nil {
			return err
		}
		ids[task.TaskID] = true
	}
	t.say("5 requests, %d task", len(ids))
	if len(ids) != 1 {
		return errors.New("the key made several tasks")
	}
	return nil
}

func (t *tour) canceled(ctx context.Context) error {
	t.step("Cancel ends the work, and the record says when the agent was seen to stop")
	task, err := t.c.Tasks.Create(ctx, client.Request{Agent: "echo", Input: json.RawMessage(`{"echo_delay":"1m"}`)}, client.CreateOptions{})
	if err != nil {
		return err
	}
	for e, err := range t.c.Tasks.Events(ctx, task.TaskID) {
		if err != nil {
			return err
		}
		if e.Task != nil && e.Task.Status == "processing" {
			break
		}
	}
	if task, err = t.c.Tasks.Cancel(ctx, task.TaskID); err != nil {
		return err
	}
	for task.StoppedAt.IsZero() {
		if task, err = t.c.Tasks.Get(ctx, task.TaskID); err != nil {
			return err
		}
	}
	t.say("%s, and stopped %v later", task.Status, task.StoppedAt.Sub(task.FinishedAt))
	return expect(task, "canceled")
}

func (t *tour) refused(ctx context.Context) error {
	t.step("Bad input is refused with a code and what to do, before anything is accepted")
	_, err := t.c.Tasks.Create(ctx, client.Request{Agent: "nobody", Instruction: "x"}, client.CreateOptions{})
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != http.StatusNotFound {
		return fmt.Errorf("an unknown agent was answered with %w", err)
	}
	t.say("%d %s", p.Status, strings.TrimSpace(p.Error()))
	return nil
}

func expect(task *client.Task, status string) error {
	if task.Status != status {
		return fmt.Errorf("task %s is %s, not %s: %+v", task.TaskID, task.Status, status, task.Error)
	}
	return nil
}
