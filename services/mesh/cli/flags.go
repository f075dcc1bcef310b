package cli

import (
	"cmp"
	"encoding/json"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"agentmesh/gateway/client"
)

// clientFlags are those of every command that calls a gateway.
type clientFlags struct {
	gateway string
	context string
	output  string
	curl    bool

	apiKey string // as the flag has it
	tenant string

	secure secure

	beside   string // the gateway that is asked when nothing names one; empty: the default
	key      string // of the API; empty: none
	resolved bool
}

func (f *clientFlags) bind(cmd *cobra.Command) *cobra.Command {
	p := cmd.PersistentFlags()
	p.StringVar(&f.gateway, "gateway", "", "URL of the gateway (env MESH_GATEWAY_URL); that of the current context, or "+defaultGateway+", when left out")
	p.StringVar(&f.context, "context", "", "a mesh of mesh context list, in place of the current one (env MESH_CONTEXT)")
	p.StringVar(&f.apiKey, "api-key", "", "API key; @file to read it from a file (env MESH_API_KEY, which other users of this machine do not see); that of the context when left out")
	p.StringVar(&f.tenant, "tenant", "", "act for this tenant, as an admin may (env MESH_TENANT)")
	f.secure.bind(p)
	p.StringVarP(&f.output, "output", "o", "text", "text, or json for scripts")
	p.BoolVar(&f.curl, "curl", false, "print the request as a curl command instead of sending it")
	completeFlag(cmd, "context", someContexts)
	completeFlag(cmd, "output", words("text", "json"))
	return cmd
}

// Connect binds the flags of a command outside of this package that calls a gateway,
// and returns what makes its client and says where the gateway is.
func Connect(cmd *cobra.Command) func() (c *client.Client, url string, err error) {
	f := &clientFlags{output: "text"}
	f.bind(cmd)
	return func() (*client.Client, string, error) {
		c, err := f.client()
		return c, f.gateway, err
	}
}

// OutputFlag adds --output to a command that calls no gateway.
func OutputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "text, or json for scripts")
	completeFlag(cmd, "output", words("text", "json"))
}

// Write writes an answer of such a command as output says.
func Write[T any](out io.Writer, output string, answer T, show func(io.Writer, T) error) error {
	if err := CheckOutput(output); err != nil {
		return err
	}
	return write(out, output, answer, show)
}

// CheckOutput refuses what --output must not be, before anything is done.
func CheckOutput(output string) error {
	if output != "text" && output != "json" {
		return Usage("output is %q, allowed are text and json", output)
	}
	return nil
}

// client makes a client of the gateway that the flags choose.
func (f *clientFlags) client() (*client.Client, error) {
	if err := CheckOutput(f.output); err != nil {
		return nil, err
	}
	if err := f.resolve(); err != nil {
		return nil, err
	}
	through, err := f.secure.http()
	if err != nil {
		return nil, err
	}
	c, err := client.New(f.gateway, append(f.options(), client.WithHTTPClient(through))...)
	if err != nil {
		return nil, Misuse(err)
	}
	return c, nil
}

// options are what every request to the gateway carries.
func (f *clientFlags) options() []client.Option {
	var all []client.Option
	if f.key != "" {
		all = append(all, client.WithKey(f.key))
	}
	if f.tenant != "" {
		all = append(all, client.WithTenant(f.tenant))
	}
	return all
}

// defaultGateway is that of a mesh on this machine.
const defaultGateway = "http://127.0.0.1:8080"

// resolve finds the gateway, its key and its certificates: a flag goes before the
// environment, and that before the current context. The key and the certificate of
// a context are shown to its own URL only.
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
	var files secure
	if f.gateway == "" {
		all, err := readMeshes()
		if err != nil {
			return err
		}
		if name = cmp.Or(name, all.Current); name != "" {
			one, err := all.of(name)
			if err != nil {
				return err
			}
			f.gateway, f.key, files = one.URL, one.Key, one.secure
		}
	}
	f.gateway = cmp.Or(f.gateway, f.beside, defaultGateway)
	f.secure.or(files)
	key, err := textFlag("api-key", f.apiKey, nil)
	if err != nil {
		return err
	}
	environment := os.Getenv("MESH_API_KEY")
	if len(key) == 0 && strings.HasPrefix(environment, "@") {
		return Usage("MESH_API_KEY is %s, and must be the key itself: --api-key %s reads the file", environment, environment)
	}
	f.key = cmp.Or(strings.TrimSpace(string(key)), environment, f.key)
	f.tenant = cmp.Or(f.tenant, os.Getenv("MESH_TENANT"))
	f.resolved = true
	return nil
}

// keyValues reads the values of a flag that is repeated, each key=value.
func keyValues(pairs []string) (map[string]string, error) {
	m := map[string]string{}
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, Usage("label %q: it must be key=value", p)
		}
		m[k] = v
	}
	return m, nil
}

// Credential is the API key that a flag of a command outside of this package names,
// else that of the environment.
func Credential(flag, value string) (string, error) {
	key, err := textFlag(flag, value, nil)
	if err != nil {
		return "", err
	}
	return cmp.Or(strings.TrimSpace(string(key)), os.Getenv("MESH_API_KEY")), nil
}

// jsonFlag reads a flag that is JSON, a file of it or standard input.
func jsonFlag(name, value string, stdin io.Reader) (json.RawMessage, error) {
	raw, err := textFlag(name, value, stdin)
	if err != nil || raw == nil {
		return nil, err
	}
	if !json.Valid(raw) {
		return nil, Usage("--%s is no JSON; a text needs quotes: --%s '\"text\"'", name, name)
	}
	return raw, nil
}

// textFlag reads a flag that is a text, a file of it or standard input; nil when
// it is empty.
func textFlag(name, value string, stdin io.Reader) (raw []byte, err error) {
	switch {
	case value == "":
		return nil, nil
	case value == "-" && stdin != nil:
		raw, err = io.ReadAll(stdin)
	case strings.HasPrefix(value, "@"):
		raw, err = os.ReadFile(value[1:])
	default:
		raw = []byte(value)
	}
	if err != nil {
		return nil, Usage("--%s: %w", name, err)
	}
	return raw, nil
}

// filled refuses a flag that was given without a value, such as that of a variable that
// was not set: left out it chooses everything.
func filled(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if f := flags.Lookup(name); f.Changed && (f.Value.String() == "" || f.Value.String() == "[]") {
			return Usage("--%s is empty: give it a value or leave it out", name)
		}
	}
	return nil
}
