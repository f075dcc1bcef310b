package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/services/mesh/cli"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// natsUsersCommand prints the users of a mesh as a part of a NATS server's
// configuration, each with the permissions that its role needs and no others.
func natsUsersCommand() *cobra.Command {
	var workers, tenants []string
	cmd := &cobra.Command{
		Use: "nats-users", Short: "Print the NATS users of a mesh, each with what its role needs, for a server's configuration", Args: cli.NoArgs,
		Long: `Print the users of a mesh for the configuration of NATS servers, each with the
permissions that its role needs and no others: deploy/nats shows how they are used.
Passwords are not among them: the servers read them, or their bcrypt hashes, from
their environment (NATS_GATEWAY_PASSWORD and its like).`,
		Example: "  mesh nats-users --worker research=research,pricing --events default > users.conf",
	}
	cmd.Flags().StringArrayVar(&workers, "worker", nil, "a user worker.NAME for workers of some agents: NAME=AGENT,...; may be repeated")
	cmd.Flags().StringArrayVar(&tenants, "events", nil, "a user events.TENANT that hears what happens to the tasks of a tenant; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		users, err := natsUsers(workers, tenants)
		if err != nil {
			return err
		}
		writeNATSUsers(cmd.OutOrStdout(), users)
		return nil
	}
	return cmd
}

var workerName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// natsUsers are the users of every mesh, and those of some workers and tenants.
func natsUsers(workers, tenants []string) ([]topology.Permissions, error) {
	all := []topology.Permissions{topology.Admin(), topology.Gateway(), topology.Notifier(), topology.Face(), topology.Caller(), topology.Backup()}
	for _, w := range workers {
		name, list, _ := strings.Cut(w, "=")
		agents := strings.Split(list, ",")
		for _, agent := range agents {
			if !workerName.MatchString(name) || !task.ValidAgent(agent) {
				return nil, cli.Usage("worker is %q, it must be NAME=AGENT,... such as research=research,pricing", w)
			}
		}
		all = append(all, topology.Worker(name, agents...))
	}
	for _, t := range tenants {
		if !task.ValidTenant(t) {
			return nil, cli.Usage("events is %q, it must be the name of a tenant", t)
		}
		all = append(all, topology.Events(t))
	}
	return all, nil
}

// passwordOf is the variable that a server has a user's password in.
func passwordOf(user string) string {
	return "NATS_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(user)) + "_PASSWORD"
}

func writeNATSUsers(w io.Writer, users []topology.Permissions) {
	fmt.Fprint(w, `# The users of a mesh, made by mesh nats-users: change them by running it again.
# Passwords, or their bcrypt hashes (nats server passwd), come from the environment.
accounts {
  MESH {
    jetstream: enabled
    users: [
`)
	for _, u := range users {
		fmt.Fprintf(w, "      { user: %q, password: $%s, permissions {\n", u.User, passwordOf(u.User))
		if len(u.Publish) == 0 {
			fmt.Fprintln(w, `          publish { deny: ">" }`)
		} else {
			writeSubjects(w, "publish", u.Publish)
		}
		writeSubjects(w, "subscribe", u.Subscribe)
		if u.Answers {
			fmt.Fprintln(w, "          allow_responses { max: -1, expires: \"11m\" }")
		}
		fmt.Fprintln(w, "      } }")
	}
	fmt.Fprintf(w, `    ]
  }
  SYS { users: [ { user: "sys", password: $%s } ] }
}
system_account: SYS
`, passwordOf("sys"))
}

func writeSubjects(w io.Writer, what string, subjects []string) {
	fmt.Fprintf(w, "          %s { allow: [\n", what)
	for _, s := range subjects {
		fmt.Fprintf(w, "            %q\n", s)
	}
	fmt.Fprintln(w, "          ] }")
}
