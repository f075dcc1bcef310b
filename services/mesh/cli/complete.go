package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
	"agentmesh/shared/task"
)

// Completion in a shell asks the gateway, for a moment, and says nothing when
// that does not answer.
const (
	completeWithin = 2 * time.Second
	someIDs        = 50 // so many are offered
)

// choice is a word that may be completed, and what it is.
type choice struct{ word, about string }

// choices finds what a word may be.
type choices func(ctx context.Context, c *client.Client) ([]choice, error)

// completes has a command complete its one argument.
func completes(cmd *cobra.Command, find choices) *cobra.Command {
	cmd.ValidArgsFunction = completion(find, false)
	return cmd
}

// completesAll has a command complete each of its arguments.
func completesAll(cmd *cobra.Command, find choices) *cobra.Command {
	cmd.ValidArgsFunction = completion(find, true)
	return cmd
}

// completeFlag has a command complete the value of a flag.
func completeFlag(cmd *cobra.Command, name string, find choices) {
	if err := cmd.RegisterFlagCompletionFunc(name, completion(find, true)); err != nil {
		panic(err) // there is no such flag, or it completes already
	}
}

func taskStatuses() (all []string) {
	for _, s := range task.States {
		all = append(all, string(s))
	}
	return all
}

// completion makes the function of one argument or flag. Of a list with commas
// it completes the last word; several says that more arguments may follow.
func completion(find choices, several bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !several {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		f := &clientFlags{output: "text"}
		f.gateway, _ = cmd.Flags().GetString("gateway")
		f.context, _ = cmd.Flags().GetString("context")
		f.secure.CA, _ = cmd.Flags().GetString("ca")
		f.secure.Cert, _ = cmd.Flags().GetString("cert")
		f.secure.CertKey, _ = cmd.Flags().GetString("cert-key")
		f.apiKey, _ = cmd.Flags().GetString("api-key")
		c, err := f.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		all, err := find(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		before := begun[:strings.LastIndexByte(begun, ',')+1]
		var found []cobra.Completion
		for _, one := range all {
			if word := before + one.word; strings.HasPrefix(word, begun) && !slices.Contains(args, one.word) {
				found = append(found, cobra.CompletionWithDesc(word, oneLine(one.about, 60)))
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func words(all ...string) choices {
	return func(context.Context, *client.Client) (found []choice, err error) {
		for _, w := range all {
			found = append(found, choice{word: w})
		}
		return found, nil
	}
}

// someTasks are tasks in these statuses, of any without one.
func someTasks(statuses ...string) choices {
	return tasksThat(statuses, func(client.Task) bool { return true })
}

func someActions(statuses ...string) choices {
	return tasksThat(statuses, func(t client.Task) bool { return t.ActionID != "" })
}

func tasksThat(statuses []string, fits func(client.Task) bool) choices {
	return func(ctx context.Context, c *client.Client) (found []choice, err error) {
		for t, err := range c.Tasks.All(ctx, client.Filter{Statuses: statuses, Limit: someIDs}) {
			if err != nil || len(found) == someIDs {
				break
			}
			if fits(t) {
				found = append(found, choice{t.TaskID, strings.TrimSpace(t.Status + " " + t.Agent + ", " + age(time.Since(t.CreatedAt)) + " ago")})
			}
		}
		return found, nil
	}
}

func someAgents(ctx context.Context, c *client.Client) (found []choice, err error) {
	all, err := c.Agents.List(ctx)
	for _, a := range all {
		found = append(found, choice{a.Name, a.Description})
	}
	return found, err
}

func someSessions(ctx context.Context, c *client.Client) (found []choice, err error) {
	for s, err := range c.Sessions.All(ctx, "") {
		if err != nil || len(found) == someIDs {
			break
		}
		found = append(found, choice{s.SessionID, sessionState(&s) + " " + s.Agent})
	}
	return found, nil
}

func someWebhooks(ctx context.Context, c *client.Client) (found []choice, err error) {
	all, err := c.Webhooks.List(ctx)
	for _, w := range all {
		found = append(found, choice{w.WebhookID, webhookState(&w) + " " + w.URL})
	}
	return found, err
}

func someDeliveries(ctx context.Context, c *client.Client) (found []choice, err error) {
	all, _, err := c.Deliveries.List(ctx, client.DeliveryFilter{Limit: someIDs}, "")
	for _, d := range all {
		found = append(found, choice{d.DeliveryID, d.Status + " " + d.Type})
	}
	return found, err
}

func someAPIKeys(ctx context.Context, c *client.Client) (found []choice, err error) {
	all, err := c.Keys.List(ctx, "")
	for _, k := range all {
		if k.Status == "live" {
			found = append(found, choice{k.KeyID, strings.TrimSpace(k.Tenant + " " + k.Name)})
		}
	}
	return found, err
}

func someContexts(context.Context, *client.Client) (found []choice, err error) {
	all, err := readMeshes()
	for _, name := range all.names() {
		found = append(found, choice{name, all.Named[name].URL})
	}
	return found, err
}

func someSchedules(ctx context.Context, c *client.Client) (found []choice, err error) {
	all, err := c.Schedules.List(ctx)
	for _, s := range all {
		found = append(found, choice{s.ScheduleID, s.Name})
		if s.Name != "" {
			found = append(found, choice{s.Name, timing(s)})
		}
	}
	return found, err
}

func someHooks(ctx context.Context, c *client.Client) (found []choice, err error) {
	all, err := c.Hooks.List(ctx)
	for _, h := range all {
		found = append(found, choice{h.HookID, strings.TrimSpace(h.Verify.Style + " " + h.Name)})
	}
	return found, err
}
