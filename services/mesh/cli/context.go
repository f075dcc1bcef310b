package cli

import (
	"cmp"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// contextCommand keeps the meshes that commands talk to; it calls none.
func contextCommand() *cobra.Command {
	return group("context", "Keep URL and key of several meshes",
		contextAddCommand(), contextUseCommand(), contextListCommand(), contextDeleteCommand())
}

func contextAddCommand() *cobra.Command {
	var gateway, key string
	var files secure
	cmd := &cobra.Command{
		Use: "add NAME [URL]", Short: "Name a mesh; the first one is used from now on", Args: between(1, 2, "a name and a URL"),
		Example: "  mesh context add prod https://mesh.example.com --key @prod.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				gateway = args[1]
			}
			if !contextName.MatchString(args[0]) {
				return Usage("context name %q: it must match %s", args[0], contextName)
			}
			if _, err := client.New(gateway); err != nil {
				return Misuse(err)
			}
			secret, err := textFlag("key", key, cmd.InOrStdin())
			if err != nil {
				return err
			}
			kept, err := files.absolute()
			if err == nil {
				_, err = kept.config()
			}
			if err != nil {
				return err
			}
			return changeMeshes(func(all *meshes) error {
				all.Named[args[0]] = namedMesh{strings.TrimSuffix(gateway, "/"), strings.TrimSpace(string(secret)), kept}
				all.Current = cmp.Or(all.Current, args[0])
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "URL of its gateway, in place of the argument")
	cmd.Flags().StringVar(&key, "key", "", "API key; @file to read it from a file, - from standard input")
	files.bind(cmd.Flags())
	return cmd
}

func contextUseCommand() *cobra.Command {
	return completes(&cobra.Command{
		Use: "use NAME", Short: "Talk to this mesh from now on", Args: one("context name"),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeMeshes(func(all *meshes) error {
				all.Current = args[0]
				_, err := all.of(args[0])
				return err
			})
		},
	}, someContexts)
}

func contextDeleteCommand() *cobra.Command {
	return completes(&cobra.Command{
		Use: "delete NAME", Short: "Forget a mesh and its key", Args: one("context name"),
		RunE: func(_ *cobra.Command, args []string) error {
			return changeMeshes(func(all *meshes) error {
				_, err := all.of(args[0])
				delete(all.Named, args[0])
				if all.Current == args[0] {
					all.Current = ""
				}
				return err
			})
		},
	}, someContexts)
}

// contextLine is a mesh as mesh context list shows it, without its key.
type contextLine struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Current bool   `json:"current"`
	HasKey  bool   `json:"has_key"`
}

func contextListCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the meshes that have names", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := readMeshes()
			if err != nil {
				return err
			}
			lines := []contextLine{}
			for _, name := range all.names() {
				one := all.Named[name]
				lines = append(lines, contextLine{name, shownURL(one.URL), name == all.Current, one.Key != ""})
			}
			return Write(cmd.OutOrStdout(), output, lines, showContexts)
		},
	}
	OutputFlag(cmd, &output)
	return cmd
}

func showContexts(out io.Writer, lines []contextLine) error {
	mark := map[bool]string{true: "yes"}
	t := newTable(out, "NAME", "CURRENT", "KEY", "URL")
	for _, l := range lines {
		t.row(l.Name, mark[l.Current], mark[l.HasKey], l.URL)
	}
	return t.flush()
}
