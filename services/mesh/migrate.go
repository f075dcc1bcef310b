package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/store"
	"agentmesh/shared/topology"
)

// exitDiffers is the exit status of mesh migrate --dry-run where there is something
// to do, and of --apply where something is left that the server does not change.
const exitDiffers = 4

// migrateLimits are those that an operator may ask for; 0: as it is.
type migrateLimits struct {
	Replicas    int           `flag:"replicas" env:"MESH_REPLICAS" help:"copies of every stream, 1, 3 or 5; 0: as they are"`
	SessionIdle time.Duration `flag:"session-idle" help:"how long a session lives after its last turn; 0: as it is"`

	AuditRetention time.Duration `flag:"audit-retention" help:"how long the audit trail is kept; 0: as it is"`
}

// options are those of the store. A number of replicas that is 0 is no mistake.
func (l migrateLimits) options() (o store.Options, err error) {
	o = store.Options(l)
	check := o
	if check.Replicas == 0 {
		check.Replicas = 1
	}
	return o, check.Validate()
}

// migrateCommand compares what NATS has with the settings of this version.
func migrateCommand() *cobra.Command {
	conn, limits, logs := natsconn.Default("admin"), migrateLimits{}, defaultLog()
	cmd := &cobra.Command{
		Use: "migrate", Short: "Give the streams of a mesh the settings of this version", Args: cli.NoArgs,
		Long: `Compare the streams and consumers of a mesh in NATS with the settings of this version.
--dry-run prints what differs, what it costs to change it, and changes nothing; --apply
changes it, one stream after the other. Both may be run again, and while the mesh runs.
No role changes a setting by itself. Upgrade every process first, then migrate: a process
of an earlier version may refuse to start on the new settings.

Exit status: 0 nothing to do, or all done; 4 there is something to do, or something is
left that the server does not change; 1 it could not be looked at or done.`,
		Example: "  mesh migrate --dry-run\n  mesh migrate --apply\n  mesh migrate --apply --replicas 3",
	}
	var dry, apply, asJSON bool
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what differs and change nothing")
	cmd.Flags().BoolVar(&apply, "apply", false, "change it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	set := config.Bind(cmd.Flags(), &conn, &limits, &logs).PassOver(everySetting()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := set.Load(os.Getenv); err != nil {
			return cli.Misuse(err)
		}
		if dry == apply {
			return cli.Usage("say --dry-run to see what differs, or --apply to change it")
		}
		opts, err := limits.options()
		if err != nil {
			return cli.Misuse(err)
		}
		log, err := logs.logger()
		if err != nil {
			return err
		}
		nc, err := natsconn.Connect(cmd.Context(), conn, "mesh-migrate", log)
		if err != nil {
			return err
		}
		defer nc.Close()
		return migrate(cmd.Context(), nc, opts, apply, migration{cmd.OutOrStdout(), asJSON})
	}
	return cmd
}

func migrate(ctx context.Context, nc *nats.Conn, opts store.Options, apply bool, out migration) error {
	if !apply {
		plan, err := store.PlanMigration(ctx, nc, opts)
		if err != nil {
			return err
		}
		if err := out.show(migrationResult{Differs: plan}); err != nil || len(plan) == 0 {
			return err
		}
		return &cli.ExitError{Code: exitDiffers}
	}
	done, refused, err := store.Migrate(ctx, nc, opts)
	if showing := out.show(migrationResult{Applied: true, Differs: refused, Done: done}); err == nil {
		err = showing
	}
	if err == nil && len(refused) > 0 {
		return &cli.ExitError{Code: exitDiffers}
	}
	return err
}

// migrationResult is what mesh migrate prints as JSON.
type migrationResult struct {
	Applied bool                  `json:"applied"`
	Done    []topology.Difference `json:"done"`
	Differs []topology.Difference `json:"differs"` // what is to be done, or of what was applied what is left
}

// migration is where the outcome is shown.
type migration struct {
	out    io.Writer
	asJSON bool
}

func (m migration) show(r migrationResult) error {
	if m.asJSON {
		r.Done, r.Differs = append([]topology.Difference{}, r.Done...), append([]topology.Difference{}, r.Differs...)
		return cli.WriteJSON(m.out, r)
	}
	if len(r.Done)+len(r.Differs) == 0 {
		_, err := fmt.Fprintln(m.out, "every stream and consumer has the settings of this version, nothing to do")
		return err
	}
	t := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ASSET\tFIELD\tIS\tWANTED\tCOST")
	row := func(d topology.Difference, state string) {
		field := d.Field
		if field == "" {
			field = "-"
		}
		fmt.Fprintln(t, strings.Join([]string{d.Asset, field, d.Is, d.Wanted, d.Cost + state}, "\t"))
	}
	for _, d := range r.Done {
		row(d, ", done")
	}
	needed := false
	for _, d := range r.Differs {
		state := ""
		if d.Needed && d.Field != "" {
			needed, state = true, " (*)"
		}
		row(d, state)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(m.out, hintOf(r, needed))
	return err
}

// hintOf says what to do next.
func hintOf(r migrationResult, needed bool) (hint string) {
	if needed {
		hint += "\n(*) no role starts before that is changed.\n"
	}
	for _, d := range r.Differs {
		if d.Refused {
			return hint + "\nThe server does not change some of it: see \"Upgrade\" in deploy/README.md.\n"
		}
	}
	if !r.Applied {
		hint += "\nNothing was changed: mesh migrate --apply does it, also while the mesh runs.\n"
	}
	return hint
}

// migrateOwn gives the embedded store the settings of this version. It is this
// process's alone: no process of another version uses it, and all that it does is in
// place.
func migrateOwn(ctx context.Context, srv *embedded, opts store.Options, log *slog.Logger) error {
	nc, err := natsconn.InProcess(srv, "migrate", srv.token(), log)
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := store.Init(ctx, nc, opts); err != nil && !errors.Is(err, topology.ErrLacking) {
		return err
	}
	done, refused, err := store.Migrate(ctx, nc, store.Options{})
	if err != nil {
		return err
	}
	for _, d := range append(done, refused...) {
		log.Info("a setting of an earlier version", "asset", d.Asset, "field", d.Field, "was", d.Is, "wanted", d.Wanted, "change", d.Cost)
	}
	return nil
}
