package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// meshes are the meshes that the operator has named, each with its URL and key,
// and the one that commands talk to. They are kept in a file of the user's.
type meshes struct {
	Current string               `json:"current,omitempty"`
	Named   map[string]namedMesh `json:"contexts"`
}

type namedMesh struct {
	URL string `json:"url"`
	Key string `json:"key,omitempty"`
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// meshesFile is where they are kept.
func meshesFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of settings: %w", err)
	}
	return filepath.Join(dir, "agentmesh", "contexts.json"), nil
}

// readMeshes reads the file; without one there are none.
func readMeshes() (meshes, error) {
	m := meshes{Named: map[string]namedMesh{}}
	file, err := meshesFile()
	if err != nil {
		return m, nil // a user without a home has named none
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read contexts: %s: %w; mend or remove the file", file, err)
	}
	if m.Named == nil {
		m.Named = map[string]namedMesh{}
	}
	return m, nil
}

// save replaces the file. It holds keys: nobody else may read it.
func (m meshes) save() error {
	file, err := meshesFile()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep contexts: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(file), "contexts-*") // with 0600
	if err != nil {
		return fmt.Errorf("keep contexts: %w", err)
	}
	_, err = next.Write(append(text, '\n'))
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return fmt.Errorf("keep contexts: %w", err)
	}
	return nil
}

// of finds a mesh by its name.
func (m meshes) of(name string) (namedMesh, error) {
	one, ok := m.Named[name]
	if !ok {
		return one, Usage("there is no context %q; there are: %s. mesh context add makes one", name, cmp.Or(strings.Join(m.names(), ", "), "none"))
	}
	return one, nil
}

func (m meshes) names() []string { return slices.Sorted(maps.Keys(m.Named)) }

// defaultGateway is that of a mesh on this machine.
const defaultGateway = "http://127.0.0.1:8080"

// resolve finds the gateway and its key: a flag goes before the environment,
// and that before the current context. The key of a context is sent to its own
// URL only.
func (f *clientFlags) resolve() error {
	if f.resolved {
		return nil
	}
	if f.gateway != "" && f.context != "" {
		return Usage("choose one of --gateway and --context")
	}
	name := f.context
	if f.gateway == "" && name == "" {
		if f.gateway = os.Getenv("MESH_GATEWAY_URL"); f.gateway == "" {
			name = os.Getenv("MESH_CONTEXT")
		}
	}
	if f.gateway == "" {
		all, err := readMeshes()
		if err != nil {
			return err
		}
		if name == "" {
			name = all.Current
		}
		if name != "" {
			one, err := all.of(name)
			if err != nil {
				return err
			}
			f.gateway, f.key = one.URL, one.Key
		}
	}
	f.gateway = cmp.Or(f.gateway, defaultGateway)
	f.key = cmp.Or(os.Getenv("MESH_API_KEY"), f.key)
	f.resolved = true
	return nil
}

func contextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", Short: "Keep URL and key of several meshes",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usage("there is no command %q; mesh context --help lists what there is", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(contextAddCommand(), contextUseCommand(), contextListCommand(), contextDeleteCommand())
	return cmd
}

func contextAddCommand() *cobra.Command {
	var gateway, key string
	cmd := &cobra.Command{
		Use: "add NAME [URL]", Short: "Name a mesh; the first one is used from now on",
		Example: "  mesh context add prod https://mesh.example.com --key @prod.key",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return Usage("%s takes a name and a URL, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
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
			all, err := readMeshes()
			if err != nil {
				return err
			}
			all.Named[args[0]] = namedMesh{URL: strings.TrimSuffix(gateway, "/"), Key: strings.TrimSpace(string(secret))}
			all.Current = cmp.Or(all.Current, args[0])
			return all.save()
		},
	}
	cmd.Flags().StringVar(&gateway, "gateway", "", "URL of its gateway, in place of the argument")
	cmd.Flags().StringVar(&key, "key", "", "API key; @file to read it from a file, - from standard input")
	return cmd
}

func contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Talk to this mesh from now on", Args: anID("context name"),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := readMeshes()
			if err == nil {
				_, err = all.of(args[0])
			}
			if err != nil {
				return err
			}
			all.Current = args[0]
			return all.save()
		},
	}
}

func contextDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Forget a mesh and its key", Args: anID("context name"),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := readMeshes()
			if err == nil {
				_, err = all.of(args[0])
			}
			if err != nil {
				return err
			}
			delete(all.Named, args[0])
			if all.Current == args[0] {
				all.Current = ""
			}
			return all.save()
		},
	}
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
			type line struct {
				Name    string `json:"name"`
				URL     string `json:"url"`
				Current bool   `json:"current"`
				HasKey  bool   `json:"has_key"`
			}
			lines := []line{}
			for _, name := range all.names() {
				one := all.Named[name]
				lines = append(lines, line{name, one.URL, name == all.Current, one.Key != ""})
			}
			switch output {
			case "json":
				return WriteJSON(cmd.OutOrStdout(), lines)
			case "text":
				mark := map[bool]string{true: "yes"}
				t := newTable(cmd.OutOrStdout(), "NAME", "CURRENT", "KEY", "URL")
				for _, l := range lines {
					t.row(l.Name, mark[l.Current], mark[l.HasKey], l.URL)
				}
				return t.flush()
			}
			return Usage("output is %q, allowed are text and json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, or json for scripts")
	return cmd
}

// options are what every request to the gateway carries.
func (f *clientFlags) options() []client.Option {
	if f.key == "" {
		return nil
	}
	return []client.Option{client.WithHeader("Authorization", "Bearer "+f.key)}
}

// reachable makes a client for a moment, as completion does.
func (f *clientFlags) reachable(ctx context.Context) (context.Context, context.CancelFunc, *client.Client, error) {
	c, err := f.client()
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	return ctx, cancel, c, err
}
