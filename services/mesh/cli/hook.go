package cli

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

func hookCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("hook", "Take somebody else's webhooks",
		hookCreateCommand(f), hookEditCommand(f), hookListCommand(f), hookShowCommand(f), hookDeleteCommand(f), hookRecentCommand(f),
		hookPauseCommand(f), hookResumeCommand(f), hookRotateCommand(f), hookSendCommand()))
}

// hookFlags are the members of a hook.
type hookFlags struct {
	file, name, style, secret, id, header, agent, instruction, from, merge string
	sessionKey, sessionText, signalTask, signalName                        string
	accept, headers                                                        []string
	keepBodies                                                             bool
}

func (h *hookFlags) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVarP(&h.file, "file", "f", "", "file of the hook, in YAML or JSON with the members of the API; flags go before it; - reads standard input")
	p.StringVar(&h.name, "name", "", "a name of your own")
	p.StringVar(&h.style, "style", "", "how senders sign: standard, github, stripe, slack, hmac or token")
	p.StringVar(&h.secret, "secret", "", "file of the sender's secret, as @file (env MESH_HOOK_SECRET, which other users of this machine do not see)")
	p.StringVar(&h.id, "id", "", `where the id of a delivery is: a header, a JSON pointer, or none; the style says it, but for hmac and token`)
	p.StringVar(&h.header, "header", "", "of the signature or the token, for hmac and token")
	p.StringArrayVar(&h.accept, "accept", nil, `only these: "X-GitHub-Event=push,pull_request" or "/action=opened"; repeat it for more`)
	p.StringVar(&h.agent, "agent", "", "which agent runs the task, or talks in the sessions; the mesh's default when left out")
	p.StringVar(&h.instruction, "instruction", "", "what to do, in words")
	p.StringVar(&h.from, "input", "", "what the task gets: body, headers, request, or a JSON pointer into the body")
	p.StringArrayVar(&h.headers, "show", nil, "header that the agent may see; repeat it for more")
	p.StringVar(&h.merge, "merge", "", "JSON object of members that are always in the input")
	p.StringVar(&h.sessionKey, "session-key", "", "say something instead, in the session of this JSON pointer's value")
	p.StringVar(&h.sessionText, "session-text", "", "JSON pointer to what is said in --session-key")
	p.StringVar(&h.signalTask, "signal-task", "", "answer a waiting task instead: JSON pointer to its id")
	p.StringVar(&h.signalName, "signal-name", "", "what that task waits for")
	p.BoolVar(&h.keepBodies, "keep-bodies", false, "show the beginnings of bodies in mesh hook recent")
	completeFlag(cmd, "agent", someAgents)
}

// hookSecret reads the secret of a sender; empty: none was given.
func hookSecret(cmd *cobra.Command, flag string) (string, error) {
	return secretOf(cmd, "secret", flag, "MESH_HOOK_SECRET")
}

// request reads the file and the flags that were set.
func (h *hookFlags) request(cmd *cobra.Command) (r client.HookRequest, err error) {
	set := cmd.Flags().Changed
	if h.file != "" {
		if r, err = hookOf(cmd, h.file); err != nil {
			return r, err
		}
	}
	if set("name") {
		r.Name = &h.name
	}
	if set("keep-bodies") {
		r.KeepBodies = &h.keepBodies
	}
	secret, err := hookSecret(cmd, h.secret)
	if err != nil {
		return r, err
	}
	if set("style") || set("id") || set("header") || r.Verify != nil && secret != "" {
		if r.Verify == nil {
			r.Verify = &api.HookVerify{}
		}
		for flag, to := range map[string]*string{"style": &r.Verify.Style, "id": &r.Verify.ID, "header": &r.Verify.Header} {
			if set(flag) {
				*to, _ = cmd.Flags().GetString(flag)
			}
		}
		if secret != "" {
			r.Verify.Secrets = []string{secret}
		}
	}
	if set("accept") {
		rules := []api.HookRule{}
		for _, text := range h.accept {
			at, values, ok := strings.Cut(text, "=")
			if !ok {
				return r, Usage(`accept is %q, it must look like "X-Event=a,b" or "/action=opened"`, text)
			}
			rule := api.HookRule{Header: at, In: strings.Split(values, ",")}
			if strings.HasPrefix(at, "/") {
				rule.Header, rule.JSON = "", at
			}
			rules = append(rules, rule)
		}
		r.Accept = &rules
	}
	return r, h.work(cmd, &r)
}

// work reads what a delivery does.
func (h *hookFlags) work(cmd *cobra.Command, r *client.HookRequest) error {
	set := cmd.Flags().Changed
	switch {
	case set("session-key") || set("session-text"):
		r.Session = &api.HookSession{Agent: h.agent, Key: h.sessionKey, Text: h.sessionText}
	case set("signal-task") || set("signal-name"):
		r.Signal = &api.HookSignal{Task: h.signalTask, Name: h.signalName}
	case set("agent") || set("instruction") || set("input") || set("show") || set("merge"):
		if r.Task == nil {
			r.Task = &api.HookTask{}
		}
		for flag, to := range map[string]*string{"agent": &r.Task.Agent, "instruction": &r.Task.Instruction} {
			if set(flag) {
				*to, _ = cmd.Flags().GetString(flag)
			}
		}
		if set("input") || set("show") || set("merge") {
			r.Task.Input = &api.HookInput{From: h.from, Headers: h.headers}
			if h.merge != "" {
				if !json.Valid([]byte(h.merge)) {
					return Usage("merge is no JSON")
				}
				r.Task.Input.Merge = json.RawMessage(h.merge)
			}
		}
	}
	return nil
}

// hookOf reads a file with a hook.
func hookOf(cmd *cobra.Command, name string) (r client.HookRequest, err error) {
	raw, err := readFile(name, cmd.InOrStdin())
	if err != nil {
		return r, err
	}
	var members map[string]any
	if err := yaml.Unmarshal(raw, &members); err != nil {
		return r, Usage("the file is no YAML: %v", err)
	}
	text, err := json.Marshal(members)
	if err != nil {
		return r, Usage("the file is no hook: %v", err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, Usage("the file is no hook: %v", err)
	}
	return r, nil
}

// hookCall is a call that is answered by a hook.
func hookCall(doing string, requests []request, ask func(context.Context, client.Hooks) (*client.Hook, error)) call[*client.Hook] {
	return call[*client.Hook]{doing: doing, requests: requests, show: showHook,
		ask: func(ctx context.Context, c *client.Client) (*client.Hook, error) { return ask(ctx, c.Hooks) }}
}

func hookCreateCommand(f *clientFlags) *cobra.Command {
	h := &hookFlags{}
	cmd := &cobra.Command{
		Use: "create", Short: "Make a hook; give its URL to the sender", Args: NoArgs,
		Example: `  mesh hook create --name prs --style github --secret @secret --accept X-GitHub-Event=pull_request --agent review`,
	}
	h.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := h.request(cmd)
		if err != nil {
			return err
		}
		return hookCall("create hook", post("/hooks", r), func(ctx context.Context, c client.Hooks) (*client.Hook, error) {
			return c.Create(ctx, r)
		}).run(cmd, f)
	}
	return cmd
}

func hookEditCommand(f *clientFlags) *cobra.Command {
	h := &hookFlags{}
	cmd := completes(&cobra.Command{Use: "edit ID", Short: "Change a hook", Args: one("hook id")}, someHooks)
	h.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := h.request(cmd)
		if err != nil {
			return err
		}
		return hookCall("edit hook", patch(at("hooks", args[0]), r), func(ctx context.Context, c client.Hooks) (*client.Hook, error) {
			return c.Update(ctx, args[0], r)
		}).run(cmd, f)
	}
	return cmd
}

func hookListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List hooks", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[[]client.Hook]{
				doing: "list hooks", requests: get("/hooks"), show: showHooks,
				ask: func(ctx context.Context, c *client.Client) ([]client.Hook, error) { return c.Hooks.List(ctx) },
			}.run(cmd, f)
		},
	}
}

func hookShowCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "show ID", Short: "Show a hook", Args: one("hook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return hookCall("show hook", get(at("hooks", args[0])), func(ctx context.Context, c client.Hooks) (*client.Hook, error) {
				return c.Get(ctx, args[0])
			}).run(cmd, f)
		},
	}, someHooks)
}

func hookDeleteCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "delete ID", Short: "Delete a hook; what it has started goes on", Args: one("hook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[nothing]{
				doing: "delete hook", requests: remove(at("hooks", args[0])),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.Hooks.Delete(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someHooks)
}

func hookRecentCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "recent ID", Short: "Show the newest requests to a hook, and why they were not taken", Args: one("hook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[*client.HookRecent]{
				doing: "show requests", requests: get(at("hooks", args[0], "recent")), show: showRecent,
				ask: func(ctx context.Context, c *client.Client) (*client.HookRecent, error) {
					return c.Hooks.Recent(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someHooks)
}

func hookPauseCommand(f *clientFlags) *cobra.Command {
	var note string
	cmd := completes(&cobra.Command{Use: "pause ID", Short: "Have a hook take nothing until it is resumed", Args: one("hook id")}, someHooks)
	cmd.Flags().StringVar(&note, "note", "", "why")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return hookCall("pause hook", post(at("hooks", args[0], "pause"), api.PauseHook{Note: note}), func(ctx context.Context, c client.Hooks) (*client.Hook, error) {
			return c.Pause(ctx, args[0], note)
		}).run(cmd, f)
	}
	return cmd
}

func hookResumeCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "resume ID", Short: "Have a hook go on", Args: one("hook id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return hookCall("resume hook", post(at("hooks", args[0], "resume"), nil), func(ctx context.Context, c client.Hooks) (*client.Hook, error) {
				return c.Resume(ctx, args[0])
			}).run(cmd, f)
		},
	}, someHooks)
}

func hookRotateCommand(f *clientFlags) *cobra.Command {
	var secret, overlap string
	cmd := completes(&cobra.Command{Use: "rotate ID", Short: "Give a hook a new secret; the one before counts beside it for a while", Args: one("hook id")}, someHooks)
	cmd.Flags().StringVar(&secret, "secret", "", "file of the new secret, as @file (env MESH_HOOK_SECRET)")
	cmd.Flags().StringVar(&overlap, "overlap", "", "how long the one before counts, such as 24h")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := hookSecret(cmd, secret)
		if err != nil {
			return err
		}
		return hookCall("rotate secret", post(at("hooks", args[0], "rotate-secret"), api.RotateHook{Secret: text, Overlap: overlap}), func(ctx context.Context, c client.Hooks) (*client.Hook, error) {
			return c.Rotate(ctx, args[0], text, overlap)
		}).run(cmd, f)
	}
	return cmd
}
