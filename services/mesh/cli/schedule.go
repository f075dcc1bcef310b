package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

func scheduleCommand() *cobra.Command {
	f := &clientFlags{}
	return f.bind(group("schedule", "Start work at its times",
		scheduleCreateCommand(f), scheduleUpdateCommand(f), scheduleApplyCommand(f), scheduleListCommand(f), scheduleGetCommand(f),
		scheduleDeleteCommand(f), schedulePauseCommand(f), scheduleTriggerCommand(f), scheduleBackfillCommand(f), scheduleRunsCommand(f), schedulePreviewCommand(f),
		scheduleDo(f, "resume", "Have a schedule go on from now", client.Schedules.Resume)))
}

// scheduleFlags are the members of a schedule.
type scheduleFlags struct {
	name, every, timezone, agent, instruction, input, callback string
	session, text, overlap, catchUp, jitter                    string
	cron                                                       []string
	maxRuns, pauseAfter                                        int
}

func (s *scheduleFlags) bind(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringArrayVar(&s.cron, "cron", nil, `when: "minute hour day month weekday"; repeat it for more`)
	p.StringVar(&s.every, "every", "", "the interval instead of --cron, such as 90s")
	p.StringVar(&s.timezone, "timezone", "", "of --cron, such as Europe/Berlin; UTC when left out")
	p.StringVar(&s.agent, "agent", "", "which agent runs the task; the mesh's default when left out")
	p.StringVar(&s.instruction, "instruction", "", "what to do, in words")
	p.StringVar(&s.input, "input", "", "input as JSON; @file to read it from a file, - from standard input")
	p.StringVar(&s.callback, "callback", "", "where the outcome of each run is POSTed")
	p.StringVar(&s.session, "session", "", "say --text in this session instead of starting a task")
	p.StringVar(&s.text, "text", "", "what to say in --session")
	p.StringVar(&s.overlap, "overlap", "", "while the run before is open: skip, queue, queue_all, cancel_running or allow")
	p.StringVar(&s.catchUp, "catch-up", "", "of times that were missed: one, all or none")
	p.StringVar(&s.jitter, "jitter", "", "a run begins up to this much late")
	p.IntVar(&s.maxRuns, "max-runs", 0, "after so many runs it is over; 0: never")
	p.IntVar(&s.pauseAfter, "pause-after-failures", 0, "after so many failed runs in a row it is paused; 0: never")
	completeFlag(cmd, "agent", someAgents)
}

// request reads the flags that were set.
func (s *scheduleFlags) request(cmd *cobra.Command) (r client.ScheduleRequest, err error) {
	set := cmd.Flags().Changed
	for name, field := range map[string]struct {
		from *string
		to   **string
	}{"name": {&s.name, &r.Name}, "every": {&s.every, &r.Every}, "timezone": {&s.timezone, &r.Timezone}, "overlap": {&s.overlap, &r.Overlap}, "jitter": {&s.jitter, &r.Jitter}} {
		if set(name) {
			*field.to = field.from
		}
	}
	if set("cron") {
		r.Cron = &s.cron
	}
	if set("max-runs") {
		r.MaxRuns = &s.maxRuns
	}
	if set("pause-after-failures") {
		r.PauseAfterFailures = &s.pauseAfter
	}
	if set("catch-up") {
		r.CatchUp = &api.ScheduleCatchUp{Policy: s.catchUp}
	}
	if set("session") || set("text") {
		r.Message = &api.ScheduleMessage{SessionID: s.session, Text: s.text}
	}
	if set("agent") || set("instruction") || set("input") || set("callback") {
		r.Task = &api.ScheduleTask{Work: api.Work{Agent: s.agent, Instruction: s.instruction, CallbackURL: s.callback}}
		if s.input != "" {
			if r.Task.Input, err = textFlag("input", s.input, cmd.InOrStdin()); err != nil {
				return r, err
			}
			if !json.Valid(r.Task.Input) {
				return r, Usage("input is no JSON; a text needs quotes of its own: --input '\"text\"'")
			}
		}
	}
	return r, nil
}

// scheduleCall is a call that is answered by a schedule.
func scheduleCall(doing string, requests []request, ask func(context.Context, client.Schedules) (*client.Schedule, error)) call[*client.Schedule] {
	return call[*client.Schedule]{doing: doing, requests: requests, show: showSchedule,
		ask: func(ctx context.Context, c *client.Client) (*client.Schedule, error) { return ask(ctx, c.Schedules) }}
}

func scheduleCreateCommand(f *clientFlags) *cobra.Command {
	s := &scheduleFlags{}
	cmd := &cobra.Command{
		Use: "create", Short: "Make a schedule", Args: NoArgs,
		Example: `  mesh schedule create --name nightly --cron "0 2 * * *" --timezone Europe/Berlin --agent report --input '{}'`,
	}
	s.bind(cmd)
	cmd.Flags().StringVar(&s.name, "name", "", "a name of your own")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := s.request(cmd)
		if err != nil {
			return err
		}
		return scheduleCall("create schedule", post("/schedules", r), func(ctx context.Context, c client.Schedules) (*client.Schedule, error) {
			return c.Create(ctx, r)
		}).run(cmd, f)
	}
	return cmd
}

func scheduleUpdateCommand(f *clientFlags) *cobra.Command {
	s := &scheduleFlags{}
	cmd := completes(&cobra.Command{Use: "update SCHEDULE", Short: "Change a schedule", Args: one("schedule")}, someSchedules)
	s.bind(cmd)
	cmd.Flags().StringVar(&s.name, "name", "", "another name")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := s.request(cmd)
		if err != nil {
			return err
		}
		return scheduleCall("update schedule", patch(at("schedules", args[0]), r), func(ctx context.Context, c client.Schedules) (*client.Schedule, error) {
			return c.Update(ctx, args[0], r)
		}).run(cmd, f)
	}
	return cmd
}

// namedSchedule is a schedule of a file.
type namedSchedule struct {
	name string
	r    client.ScheduleRequest
}

// schedulesOf reads a file of schedules: one of them, or a list under schedules, in
// YAML or JSON, with the members of the API. Each needs a name.
func schedulesOf(raw []byte) ([]namedSchedule, error) {
	var file struct {
		Schedules []map[string]any `yaml:"schedules"`
	}
	var single map[string]any
	if err := yaml.Unmarshal(raw, &single); err != nil {
		return nil, Usage("the file is no YAML: %v", err)
	}
	if _, list := single["schedules"]; !list {
		file.Schedules = []map[string]any{single}
	} else if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, Usage("schedules is no list of schedules: %v", err)
	}
	var all []namedSchedule
	for i, s := range file.Schedules {
		text, err := json.Marshal(s)
		if err != nil {
			return nil, Usage("schedule %d: %v", i+1, err)
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.DisallowUnknownFields()
		one := namedSchedule{}
		if err := d.Decode(&one.r); err != nil {
			return nil, Usage("schedule %d: %v", i+1, err)
		}
		if one.r.Name == nil || *one.r.Name == "" {
			return nil, Usage("schedule %d has no name: it is what the next apply finds it by", i+1)
		}
		one.name, one.r.Name = *one.r.Name, nil
		all = append(all, one)
	}
	return all, nil
}

func scheduleApplyCommand(f *clientFlags) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "apply", Short: "Make the schedules of a file what it says, by their names", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := readFile(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			all, err := schedulesOf(raw)
			if err != nil {
				return err
			}
			var requests []request
			for _, s := range all {
				requests = append(requests, request{method: "PUT", path: at("schedules", s.name), body: s.r})
			}
			return call[[]client.Schedule]{
				doing: "apply schedules", requests: requests, show: showSchedules,
				ask: func(ctx context.Context, c *client.Client) (made []client.Schedule, err error) {
					for _, s := range all {
						one, err := c.Schedules.Put(ctx, s.name, s.r)
						if err != nil {
							return made, fmt.Errorf("schedule %s: %w", s.name, err)
						}
						made = append(made, *one)
					}
					return made, nil
				},
			}.run(cmd, f)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file of schedules, in YAML or JSON; - reads standard input")
	return cmd
}

// readFile reads a file, or standard input for -.
func readFile(name string, stdin io.Reader) ([]byte, error) {
	switch name {
	case "":
		return nil, Usage("name the file with -f")
	case "-":
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

func scheduleListCommand(f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List schedules", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return call[[]client.Schedule]{
				doing: "list schedules", requests: get("/schedules"), show: showSchedules,
				ask: func(ctx context.Context, c *client.Client) ([]client.Schedule, error) { return c.Schedules.List(ctx) },
			}.run(cmd, f)
		},
	}
}

func scheduleGetCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "get SCHEDULE", Short: "Show a schedule and its next times", Args: one("schedule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return scheduleCall("get schedule", get(at("schedules", args[0])), func(ctx context.Context, c client.Schedules) (*client.Schedule, error) {
				return c.Get(ctx, args[0])
			}).run(cmd, f)
		},
	}, someSchedules)
}

func scheduleDeleteCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "delete SCHEDULE", Short: "Delete a schedule; what it has started goes on", Args: one("schedule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[nothing]{
				doing: "delete schedule", requests: remove(at("schedules", args[0])),
				ask: func(ctx context.Context, c *client.Client) (nothing, error) {
					return nothing{}, c.Schedules.Delete(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someSchedules)
}

// scheduleDo is a command that has a schedule do something and shows it.
func scheduleDo(f *clientFlags, verb, short string, do func(client.Schedules, context.Context, string) (*client.Schedule, error)) *cobra.Command {
	return completes(&cobra.Command{
		Use: verb + " SCHEDULE", Short: short, Args: one("schedule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return scheduleCall(verb+" schedule", post(at("schedules", args[0], verb), nil), func(ctx context.Context, c client.Schedules) (*client.Schedule, error) {
				return do(c, ctx, args[0])
			}).run(cmd, f)
		},
	}, someSchedules)
}

func schedulePauseCommand(f *clientFlags) *cobra.Command {
	var note string
	cmd := completes(&cobra.Command{Use: "pause SCHEDULE", Short: "Have a schedule start nothing until it is resumed", Args: one("schedule")}, someSchedules)
	cmd.Flags().StringVar(&note, "note", "", "why")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return scheduleCall("pause schedule", post(at("schedules", args[0], "pause"), api.PauseSchedule{Note: note}), func(ctx context.Context, c client.Schedules) (*client.Schedule, error) {
			return c.Pause(ctx, args[0], note)
		}).run(cmd, f)
	}
	return cmd
}

func scheduleTriggerCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "trigger SCHEDULE", Short: "Start a run now, by the overlap policy", Args: one("schedule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[*client.ScheduleRun]{
				doing: "trigger schedule", requests: post(at("schedules", args[0], "trigger"), nil),
				ask: func(ctx context.Context, c *client.Client) (*client.ScheduleRun, error) {
					return c.Schedules.Trigger(ctx, args[0])
				},
				show: func(out io.Writer, r *client.ScheduleRun) error { return showRuns(out, []client.ScheduleRun{*r}) },
			}.run(cmd, f)
		},
	}, someSchedules)
}

func scheduleBackfillCommand(f *clientFlags) *cobra.Command {
	var r api.BackfillSchedule
	cmd := completes(&cobra.Command{Use: "backfill SCHEDULE", Short: "Run the times of a span that has passed", Args: one("schedule")}, someSchedules)
	p := cmd.Flags()
	p.StringVar(&r.From, "from", "", "the first time, such as 2026-05-19T00:00:00Z")
	p.StringVar(&r.To, "to", "", "the last time")
	p.StringVar(&r.Overlap, "overlap", "", "skip, queue, queue_all, cancel_running or allow; allow when left out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return call[*api.ScheduleTimes]{
			doing: "backfill schedule", requests: post(at("schedules", args[0], "backfill"), r),
			ask: func(ctx context.Context, c *client.Client) (*api.ScheduleTimes, error) {
				return c.Schedules.Backfill(ctx, args[0], r)
			},
			show: func(out io.Writer, got *api.ScheduleTimes) error {
				_, err := fmt.Fprintf(out, "%d times were decided; mesh schedule runs %s shows the newest\n", len(got.Times), args[0])
				return err
			},
		}.run(cmd, f)
	}
	return cmd
}

func scheduleRunsCommand(f *clientFlags) *cobra.Command {
	return completes(&cobra.Command{
		Use: "runs SCHEDULE", Short: "Show what became of the newest due times", Args: one("schedule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return call[[]client.ScheduleRun]{
				doing: "list runs", requests: get(at("schedules", args[0], "runs")), show: showRuns,
				ask: func(ctx context.Context, c *client.Client) ([]client.ScheduleRun, error) {
					return c.Schedules.Runs(ctx, args[0])
				},
			}.run(cmd, f)
		},
	}, someSchedules)
}

func schedulePreviewCommand(f *clientFlags) *cobra.Command {
	var r api.PreviewSchedule
	count := 5
	cmd := &cobra.Command{
		Use: "preview", Short: "Show when a schedule would be due", Args: NoArgs,
		Example: `  mesh schedule preview --cron "30 2 * * *" --timezone Europe/Berlin`,
	}
	p := cmd.Flags()
	p.StringArrayVar(&r.Cron, "cron", nil, `"minute hour day month weekday"; repeat it for more`)
	p.StringVar(&r.Every, "every", "", "the interval instead of --cron, such as 90s")
	p.StringVar(&r.Timezone, "timezone", "", "of --cron, such as Europe/Berlin; UTC when left out")
	p.StringVar(&r.From, "from", "", "after when; now when left out")
	p.IntVar(&count, "count", 5, "how many times, 1 to 100")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r.Count = &count
		return call[*client.SchedulePreview]{
			doing: "preview schedule", requests: post("/schedules/preview", r), show: showPreview,
			ask: func(ctx context.Context, c *client.Client) (*client.SchedulePreview, error) {
				return c.Schedules.Preview(ctx, r)
			},
		}.run(cmd, f)
	}
	return cmd
}
