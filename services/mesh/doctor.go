package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"agentmesh/gateway"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// finding is what mesh doctor has to say of one thing.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // good, warning, fault or skipped
	Says   string `json:"says"`
	Do     string `json:"do,omitempty"`
}

// The states of a finding.
const (
	good    = "good"
	warning = "warning"
	fault   = "fault"
	skipped = "skipped"
)

// report is what mesh doctor prints.
type report struct {
	OK       bool      `json:"ok"` // no fault
	Role     string    `json:"role,omitempty"`
	Findings []finding `json:"findings"`
}

// doctorConfig is how a fleet is looked at from one place, by the settings of the role that
// runs there.
type doctorConfig struct {
	role     string // empty: as the NATS user's name says
	callback string // a URL of a receiver to reach; empty: none

	nats      natsconn.Config
	store     store.Options
	gateway   gateway.Config
	agents    agentsConfig
	callbacks callbackConfig
}

func doctorCommand() *cobra.Command {
	c := doctorConfig{nats: natsconn.Default("doctor"), store: store.DefaultOptions(0), gateway: defaultGateway()}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look at a fleet from here, and say what to do", Args: cli.NoArgs,
		Long: `Look at a fleet from where this runs, with the settings of the role that runs here
(mesh.yaml, MESH_* and NATS_* as the role has them): NATS, JetStream, the streams and
their copies, the clock, what the NATS user may, the gateway that programs of agents
call, and the way out for callbacks. It changes nothing.

Exit status: 0 no fault (there may be warnings), 1 a fault, 2 a setting is wrong.`,
		Example: "  mesh doctor\n  mesh doctor --role worker --json\n  mesh doctor --role notifier --callback https://receiver.example/hook",
	}
	var asJSON bool
	cmd.Flags().StringVar(&c.role, "role", "", "gateway, worker, notifier, face, caller, backup or admin; as the name of the NATS user says when left out")
	cmd.Flags().StringVar(&c.callback, "callback", "", "URL of a receiver to connect to, as a notifier does; nothing is sent")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	set := config.Bind(cmd.Flags(), append([]any{&c.nats, &c.store, &c.gateway, &c.agents}, c.callbacks.settings()...)...).PassOver(everySetting()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return cli.Misuse(err)
		}
		if err := c.store.Validate(); err != nil {
			return cli.Misuse(err)
		}
		if _, ok := topology.Roles(c.role); c.role != "" && !ok {
			return cli.Usage("role is %q, allowed are gateway, worker, notifier, face, caller, backup and admin", c.role)
		}
		r := c.examine(cmd.Context())
		if err := r.show(cmd.OutOrStdout(), asJSON); err != nil || r.OK {
			return err
		}
		return &cli.ExitError{Code: cli.ExitFailed}
	}
	return cmd
}

// examine makes all checks. What needs NATS is skipped without it.
func (c doctorConfig) examine(ctx context.Context) (r report) {
	quiet := slog.New(slog.DiscardHandler)
	r.Role = c.role
	nc, err := natsconn.Connect(ctx, c.nats, "mesh-doctor", quiet)
	if err != nil {
		r.add(natsFault(err))
	} else {
		defer nc.Close()
		if r.Role == "" {
			r.Role = roleOf(nc.Opts.User)
		}
		r.add(natsFindings(nc)...)
		c.examineStore(ctx, nc, &r)
	}
	r.add(c.agentFindings(r.Role)...)
	if r.Role == topology.GatewayUser || r.Role == topology.NotifierUser || c.callback != "" {
		r.add(c.callbackFindings(ctx)...)
	}
	r.OK = !slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Status == fault })
	return r
}

// natsFault is a connection that was not made. A server that refuses who asks has answered:
// the error says what it asks for, and no firewall is in the way.
func natsFault(err error) finding {
	do := "see that a server runs there and that a firewall lets this machine reach it; then see the user and the certificates"
	if errors.Is(err, nats.ErrAuthorization) {
		do = "the server answers: show it the user, the credentials or the token that it knows"
	}
	return finding{"nats", fault, err.Error(), do}
}

// examineStore looks at what needs the streams.
func (c doctorConfig) examineStore(ctx context.Context, nc *nats.Conn, r *report) {
	r.add(c.rightsFinding(ctx, nc, r.Role))
	seen, clock, err := store.Examine(ctx, nc)
	if err != nil {
		r.add(jetStreamFault(err))
		return
	}
	r.add(finding{"jetstream", good, "it answers", ""}, clockFinding(clock), streamsFinding(seen))
	r.add(c.copiesFindings(nc, seen)...)
	r.add(settingsFinding(seen))
	if slices.ContainsFunc(seen, func(s topology.Seen) bool { return s.Missing }) {
		return
	}
	st, err := store.Look(ctx, nc)
	if err != nil {
		return // what is in the way stands above
	}
	if r.Role == topology.GatewayUser || r.Role == topology.NotifierUser {
		r.add(c.secretFinding(ctx, st))
	}
	r.add(c.gatewayFindings(ctx, st, r.Role)...)
}

func (r *report) add(all ...finding) {
	for _, f := range all {
		if f.Check != "" {
			r.Findings = append(r.Findings, f)
		}
	}
}

func (r report) show(out io.Writer, asJSON bool) error {
	if asJSON {
		return cli.WriteJSON(out, r)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	n := map[string]int{}
	for _, f := range r.Findings {
		n[f.Status]++
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Status, f.Check, f.Says)
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Do)
		}
	}
	fmt.Fprintf(t, "\n%d good, %d warnings, %d faults, %d skipped\n", n[good], n[warning], n[fault], n[skipped])
	return t.Flush()
}

// roleOf is the role of a NATS user of deploy/nats; empty: another one.
func roleOf(user string) string {
	if strings.HasPrefix(user, topology.WorkerUser("")) {
		return "worker"
	}
	if _, ok := topology.Roles(user); ok {
		return user
	}
	return ""
}
