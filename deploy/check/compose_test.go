package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func composeProject(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	folder := t.TempDir() // the secrets are not in the repository
	source, err := filepath.Abs("../compose")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(source, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(folder, "deploy", "compose")
	if err := os.MkdirAll(filepath.Join(inner, "secrets"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"init", "gateway", "worker", "notifier", "backup", "nats"} {
		if err := os.WriteFile(filepath.Join(inner, "secrets", name+".env"), []byte("NATS_USER="+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(inner, "compose.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := cli.NewProjectOptions([]string{file}, cli.WithProfiles(profiles), cli.WithEnv([]string{}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// compose.yaml is valid by the specification's own library, and is the fleet that it says:
// three servers, two gateways behind one port, workers, two notifiers, each with its own
// secrets alone.
func TestComposeIsTheFleetThatItSays(t *testing.T) {
	p := composeProject(t)
	for name, want := range map[string]int{"nats-1": 1, "nats-2": 1, "nats-3": 1, "gateway": 2, "worker": 2, "notifier": 2, "proxy": 1, "init": 1} {
		s, ok := p.Services[name]
		if !ok || s.GetScale() != want {
			t.Errorf("%s: %v times, want %d", name, s.GetScale(), want)
		}
	}
	published := []string{}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			published = append(published, name+" "+port.HostIP+":"+port.Published)
		}
		if name == "proxy" {
			continue
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%s may write to its root file system, or has capabilities", name)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
		}
	}
	if want := []string{"proxy 127.0.0.1:8080"}; !slices.Equal(published, want) {
		t.Errorf("published are %v, want %v", published, want)
	}
	for _, name := range []string{"gateway", "worker", "notifier"} {
		s := p.Services[name]
		if user := s.Environment["NATS_USER"]; user == nil || *user != name {
			t.Errorf("%s has the secrets of another one", name)
		}
		if s.DependsOn["init"].Condition != types.ServiceConditionCompletedSuccessfully || s.HealthCheck == nil || s.StopGracePeriod == nil {
			t.Errorf("%s: %+v", name, s.DependsOn)
		}
	}
	otel := composeProject(t, "otel").Services["otel"]
	if !slices.ContainsFunc(otel.Volumes, func(v types.ServiceVolumeConfig) bool { return strings.HasSuffix(v.Source, "deploy/dashboards") }) {
		t.Errorf("the dashboards are not loaded: %+v", otel.Volumes)
	}
}

// What compose.yaml mounts from the repository is there.
func TestComposeMountsWhatThereIs(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range composeProject(t, "otel").Services {
		for _, v := range s.Volumes {
			_, inner, ok := strings.Cut(v.Source, "/deploy/")
			if v.Type != types.VolumeTypeBind || !ok || strings.Contains(inner, "secrets") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, "deploy", inner)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
