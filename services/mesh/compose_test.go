//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

const composeFolder = "../../deploy/compose"

// composed is a service of deploy/compose/compose.yaml.
type composed struct {
	Image       string
	Command     []string
	EnvFile     []string `yaml:"env_file"`
	Environment map[string]string
	Healthcheck struct{ Test []string }
}

func composeServices(t *testing.T) map[string]composed {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeFolder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services map[string]composed }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// ours reports whether a service runs the mesh.
func (c composed) ours() bool { return strings.Contains(c.Image, "agentmesh") }

// Each command and health check of compose.yaml is one that the program has, and each
// variable one that this command reads.
func TestComposeRunsCommandsThatExist(t *testing.T) {
	n := 0
	for name, s := range composeServices(t) {
		if !s.ours() {
			continue
		}
		n++
		cmd, rest, err := rootCommand().Find(s.Command)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s runs %v: %v", name, s.Command, err)
			continue
		}
		for variable := range s.Environment {
			if !reads(cmd.Flags(), variable) && !strings.HasPrefix(variable, "OTEL_") && variable != "MESH_REPLICAS" && variable != "MESH_ADMIN" {
				t.Errorf("%s sets %s, which mesh %s does not read", name, variable, cmd.Name())
			}
		}
		if check := s.Healthcheck.Test; len(check) > 0 {
			if cmd, rest, err := rootCommand().Find(check[2:]); err != nil || check[1] != "/mesh" || cmd.ParseFlags(rest) != nil {
				t.Errorf("%s asks %v: %v", name, check, err)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d services run the mesh", n)
	}
}

// The chart's golden manifests run commands that the program has, with variables that
// they read.
func TestHelmRunsCommandsThatExist(t *testing.T) {
	files, err := filepath.Glob("../../deploy/check/testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(text), "\n---\n") {
			var o struct {
				Spec struct {
					Template struct {
						Spec struct {
							Containers []struct {
								Args []string
								Env  []struct{ Name string }
							}
						}
					}
				}
			}
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				continue // of another form
			}
			for _, c := range o.Spec.Template.Spec.Containers {
				n++
				cmd, rest, err := rootCommand().Find(c.Args)
				if err != nil || cmd.ParseFlags(rest) != nil || !cmd.Runnable() {
					t.Errorf("%s runs %v: %v", file, c.Args, err)
					continue
				}
				for _, e := range c.Env {
					if !reads(cmd.Flags(), e.Name) && !strings.HasPrefix(e.Name, "OTEL_") && cmd.Name() != "init" {
						t.Errorf("%s sets %s, which mesh %s does not read", file, e.Name, cmd.Name())
					}
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("%d containers", n)
	}
}

func reads(flags *pflag.FlagSet, variable string) (found bool) {
	flags.VisitAll(func(f *pflag.Flag) { found = found || strings.HasSuffix(f.Usage, "(env "+variable+")") })
	return found
}

// The fleet of compose.yaml as processes, with the secrets of its script: three servers
// with TLS and users, the streams with three copies, and a task that an admin's key asks
// for. It takes some seconds: make compose-test.
func TestComposeFleetWorks(t *testing.T) {
	if !*meshtest.Chaos {
		t.Skip("it takes some seconds: make compose-test")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl on this machine: deploy/compose/prepare.sh was not run")
	}
	secrets := filepath.Join(t.TempDir(), "secrets")
	prepare := exec.CommandContext(t.Context(), filepath.Join(composeFolder, "prepare.sh"))
	prepare.Env = append(os.Environ(), "DIR="+secrets, "MESH="+os.Args[0], "MESH_TEST_MAIN=1")
	if out, err := prepare.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	servers := composeServers(t, secrets)
	services := composeServices(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) *meshtest.Process {
		s := services[name]
		env := []string{"MESH_TEST_MAIN=1"}
		for _, file := range s.EnvFile {
			env = append(env, lines(t, filepath.Join(secrets, filepath.Base(file)))...)
		}
		for k, v := range s.Environment {
			env = append(env, k+"="+strings.ReplaceAll(interpolated(v), "/run/mesh", secrets))
		}
		env = append(env, "NATS_URL="+servers, "MESH_HTTP="+address, "MESH_ADMIN=off", "MESH_GATEWAY_URL=http://"+address)
		p, output := meshtest.Spawn(t, env, s.Command...)
		go p.Drain(output)
		return p
	}
	making := start("init")
	<-making.Done
	if code := making.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("init ended with %d:\n%s", code, making.Output)
	}
	gateway := start("gateway")
	start("worker")
	start("notifier")
	key := ""
	for _, line := range lines(t, filepath.Join(secrets, "gateway.env")) {
		if k, ok := strings.CutPrefix(line, "MESH_ADMIN_KEY="); ok {
			key = k
		}
	}
	c, err := client.New("http://"+address, client.WithKey(key))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the worker serves:\n"+gateway.Output.String(), func() bool {
		agents, err := c.Agents.List(t.Context())
		return err == nil && len(agents) == 3
	})
	v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Instruction: "x"}, client.CreateOptions{})
	if err == nil {
		v, err = c.Tasks.Wait(t.Context(), v.TaskID)
	}
	if err != nil || v.Status != "completed" {
		t.Errorf("%+v, %v", v, err)
	}
}

// composeServers starts the three servers of nats.conf on loopback, and returns their
// URLs.
func composeServers(t *testing.T, secrets string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeFolder, "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	common, err := filepath.Abs("../../deploy/nats/server.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines(t, filepath.Join(secrets, "nats.env")) {
		k, v, _ := strings.Cut(line, "=")
		t.Setenv(k, v)
	}
	var clients, routes [3]string
	for i := range 3 {
		if clients[i], err = freeAddress(); err != nil {
			t.Fatal(err)
		}
		if routes[i], err = freeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		changed := strings.NewReplacer("/run/mesh", secrets, "0.0.0.0:4222", clients[i], "0.0.0.0:6222", routes[i], "http: 0.0.0.0:8222", "",
			"nats-1:6222", routes[0], "nats-2:6222", routes[1], "nats-3:6222", routes[2], "../nats/server.conf", relative(t, secrets, common)).Replace(string(text))
		file := filepath.Join(secrets, fmt.Sprintf("n%d.conf", i+1))
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NATS_NAME", fmt.Sprintf("nats-%d", i+1))
		t.Setenv("NATS_STORE", t.TempDir())
		opts, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatal(err)
		}
		opts.NoSigs, opts.NoLog = true, true
		srv, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		clients[i] = "tls://" + clients[i]
	}
	return strings.Join(clients[:], ",")
}

func relative(t *testing.T, from, to string) string {
	t.Helper()
	path, err := filepath.Rel(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return line == "" })
}

var variable = regexp.MustCompile(`\$\{[A-Z_]+(?::-([^}]*))?\}`)

// interpolated is a value of compose.yaml where nothing is set.
func interpolated(value string) string { return variable.ReplaceAllString(value, "$1") }
