package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// taskAnswerCommand answers a question of a task, or tells it an event.
func taskAnswerCommand(f *clientFlags, ids some) *cobra.Command {
	var a client.Answer
	var value string
	cmd := completes(&cobra.Command{
		Use: "answer ID", Short: "Answer a question of a task, or tell it an event that it waits for", Args: one("task id"),
		Example: "  mesh task answer tsk_... --value true\n  mesh task answer tsk_... --name payment --value '{\"paid\":80}'",
	}, ids("input_required"))
	p := cmd.Flags()
	p.StringVar(&value, "value", "", "the answer as JSON, @file to read it from a file, - from standard input (required)")
	p.StringVar(&a.Name, "name", "", "of the question or the event; may be left out while one question is open")
	p.StringVar(&a.IdempotencyKey, "key", "", "Idempotency-Key; one is made when left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		raw, err := jsonFlag("value", value, cmd.InOrStdin())
		if err != nil {
			return err
		}
		if raw == nil {
			return Usage("an answer needs --value, such as --value true or --value '\"text\"'")
		}
		a.Value = json.RawMessage(raw)
		return call[*client.Task]{
			doing: "answer task " + args[0], show: showTask,
			requests: post(at("tasks", args[0], "input"), api.AnswerTask{Name: a.Name, Value: raw}, keyHeader(a.IdempotencyKey)...),
			ask: func(ctx context.Context, c *client.Client) (*client.Task, error) {
				return c.Tasks.Answer(ctx, args[0], a)
			},
		}.run(cmd, f)
	}
	return cmd
}
