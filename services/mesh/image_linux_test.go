package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
)

// instruction is a line of a Dockerfile.
type instruction struct {
	word string
	args []string
}

// lastStage reads what the last stage of deploy/image/Dockerfile has, with the stages that
// it builds on.
func lastStage(t *testing.T) []instruction {
	t.Helper()
	text, err := os.ReadFile("../../deploy/image/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages, name := map[string][]instruction{}, ""
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" || strings.HasPrefix(line, " ") {
			continue
		}
		if fields[0] != "FROM" {
			stages[name] = append(stages[name], instruction{fields[0], fields[1:]})
			continue
		}
		from := slices.DeleteFunc(fields[1:], func(s string) bool { return strings.HasPrefix(s, "--") })
		name = "last"
		if len(from) == 3 {
			name = from[2]
		}
		stages[name] = slices.Clone(stages[from[0]])
	}
	return stages["last"]
}

// The image is what an engine would make of its Dockerfile: from scratch, not root, and
// nothing in it but the program, the roots of trust and a folder for data.
func TestImageHoldsTheProgramAlone(t *testing.T) {
	var to []string
	user := ""
	for _, i := range lastStage(t) {
		switch i.word {
		case "COPY":
			to = append(to, i.args[len(i.args)-1])
		case "USER":
			user = i.args[0]
		case "HEALTHCHECK":
			if !slices.Contains(i.args, `"healthcheck"]`) {
				t.Errorf("it is asked by %v", i.args)
			}
		}
	}
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/data", "/mesh"}; !slices.Equal(to, want) || user != "65532:65532" {
		t.Errorf("it holds %v, of user %s", to, user)
	}
}

// built is the program as an image has it.
func built(t *testing.T) string {
	t.Helper()
	if !*meshtest.Chaos {
		t.Skip("it builds the program: make image-test")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may chroot")
	}
	file := filepath.Join(t.TempDir(), "mesh")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// The files of the image in a chroot of their own, as its user and as process 1: the mesh
// starts, is healthy, does a task and ends on SIGTERM. It reaps what programs of agents
// leave behind.
func TestImageRuns(t *testing.T) {
	if exec.CommandContext(t.Context(), "docker", "info").Run() == nil {
		runInDocker(t)
		return
	}
	program := built(t)
	t.Run("in a chroot", func(t *testing.T) { runInChroot(t, program) })
	t.Run("reaps orphans", func(t *testing.T) { reaps(t, program) })
}

func runInDocker(t *testing.T) {
	const name = "agentmesh:image-test"
	for _, args := range [][]string{
		{"build", "-f", "../../deploy/image/Dockerfile", "-t", name, "../.."},
		{"run", "--rm", "--read-only", name, "version"},
	} {
		if out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func runInChroot(t *testing.T, program string) {
	root := t.TempDir()
	for _, i := range lastStage(t) {
		if i.word == "COPY" {
			unpack(t, program, i.args[len(i.args)-1], root)
		}
	}
	_ = os.Chmod(filepath.Dir(root), 0o711)
	_ = os.Chmod(root, 0o555)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/mesh", args...)
		cmd.Env, cmd.Dir = []string{"MESH_DATA=/data", "MESH_ADMIN=off", "MESH_NATS=off"}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
			Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		return cmd
	}
	mesh := inside("up", "--http", address, "--log-format", "json")
	said := &meshtest.Transcript{}
	mesh.Stdout, mesh.Stderr = said, said
	if err := mesh.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mesh.Process.Kill() }()
	natstest.Until(t, "it is healthy", func() bool { return inside("healthcheck", "--gateway", "http://"+address).Run() == nil })
	c, err := client.New("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "echo", Instruction: "x"}, client.CreateOptions{Wait: 20 * time.Second})
	if err != nil || v.Status != "completed" {
		t.Errorf("%+v, %v\n%s", v, err, said)
	}
	_ = mesh.Process.Signal(syscall.SIGTERM)
	if err := mesh.Wait(); err != nil {
		t.Errorf("as process 1 it ends with %v\n%s", err, said)
	}
	if err := inside("healthcheck", "--gateway", "http://"+address).Run(); err == nil {
		t.Error("a mesh that has ended is healthy")
	}
}

// unpack puts into root what a COPY would put there.
func unpack(t *testing.T, program, to, root string) {
	t.Helper()
	at := filepath.Join(root, to)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	switch to {
	case "/data":
		if err = os.Mkdir(at, 0o755); err == nil {
			err = os.Chown(at, 65532, 65532)
		}
	case "/mesh":
		var text []byte
		if text, err = os.ReadFile(program); err == nil {
			err = os.WriteFile(at, text, 0o755)
		}
	default:
		text, missing := os.ReadFile(to)
		if missing != nil {
			text = nil // this machine has no roots of trust
		}
		err = os.WriteFile(at, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func reaps(t *testing.T, program string) {
	dir := t.TempDir()
	agents := filepath.Join(dir, "agents.yaml")
	if err := os.WriteFile(agents, []byte(`agents: [{name: leaves, exec: {command: [sh, -c, '(env -i setsid sh -c "sleep 0.3" >/dev/null 2>&1 </dev/null &); echo left']}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--mount-proc", "true").Run(); err != nil {
		t.Skipf("no processes of one's own here: %v", err)
	}
	// As in a container process 1 has a /proc of its own: it finds there what it adopts.
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", program, "up", "--http", address, "--admin", "off", "--nats", "off", "--data", filepath.Join(dir, "data"), "--agents", agents, "--log-format", "json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	c, err := client.New("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the mesh is up", func() bool { _, err := c.Agents.List(t.Context()); return err == nil })
	for range 5 {
		if v, err := c.Tasks.Create(t.Context(), client.Request{Agent: "leaves", Instruction: "x"}, client.CreateOptions{Wait: 20 * time.Second}); err != nil || v.Status != "completed" {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	natstest.Until(t, "nothing is left below process 1", func() bool { return left(t, cmd.Process.Pid) == 0 })
}

// left counts what agents have left below the child of a process, which is process 1 of its
// own, alive or not reaped. The mesh's own guard of programs is none of it.
func left(t *testing.T, outer int) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	parents, suspects := map[string]string{}, map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		name, rest, _ := strings.Cut(string(text), ") ")
		f, pid := strings.Fields(rest), filepath.Base(filepath.Dir(file))
		if len(f) < 2 {
			continue
		}
		parents[pid] = f[1]
		if f[0] == "Z" || strings.HasSuffix(name, "(sleep") {
			suspects[pid] = f[1]
		}
	}
	for _, parent := range suspects {
		if parents[parent] == strconv.Itoa(outer) {
			n++
		}
	}
	return n
}
