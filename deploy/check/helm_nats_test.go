package check

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

var natsChart = flag.String("nats-chart", "", "folder of the official NATS chart: make helm-nats fetches it")

// withNATS is the chart with the official one below it, as helm dependency update makes
// it.
func withNATS(t *testing.T, values string) *chart.Chart {
	t.Helper()
	if *natsChart == "" {
		t.Skip("the official NATS chart is not here: make helm-nats")
	}
	nats, err := loader.Load(*natsChart)
	if err != nil {
		t.Fatal(err)
	}
	c := loadChart(t)
	if want := c.Metadata.Dependencies[0].Version; nats.Metadata.Version != want {
		t.Fatalf("the chart there is %s, ours depends on %s", nats.Metadata.Version, want)
	}
	c.AddDependency(nats)
	given, err := chartutil.ReadValues([]byte(values))
	if err == nil {
		err = chartutil.ProcessDependenciesWithMerge(c, given)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// withoutNulls is a document as Kubernetes reads it: a member that is null is none.
func withoutNulls(t *testing.T, doc string) string {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatal(err)
	}
	var drop func(v any)
	drop = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			maps.DeleteFunc(v, func(_ string, inner any) bool { return inner == nil })
			for _, inner := range v {
				drop(inner)
			}
		case []any:
			for _, inner := range v {
				drop(inner)
			}
		}
	}
	drop(v)
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// object is an object of Kubernetes as far as it is looked at.
type object struct {
	Kind     string
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas int
		Ports    []struct{ Port int }
		Template struct {
			Spec struct {
				Containers []struct {
					Name, Image string
					Env         []struct{ Name, Value string }
				}
			}
		}
	}
}

// NATS by its official chart, with our values: what is rendered is valid, our roles name
// the services that it has, and the server itself reads the configuration as one of three
// servers that lose nothing in a power cut.
func TestHelmNATS(t *testing.T) {
	text, _, err := renderedWith(t, withNATS(t, cases["own nats"]), cases["own nats"])
	if err != nil {
		t.Fatal(err)
	}
	all, ports, urls := map[string]object{}, map[string][]int{}, map[string]bool{}
	var checked strings.Builder
	for _, doc := range strings.Split(text, "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		if o.Metadata.Annotations["helm.sh/hook"] == "test" {
			continue // of the chart's own: helm test runs it
		}
		checked.WriteString(withoutNulls(t, doc) + "\n---\n")
		all[o.Kind+" "+o.Metadata.Name] = o
		for _, p := range o.Spec.Ports {
			ports[o.Metadata.Name] = append(ports[o.Metadata.Name], p.Port)
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			for _, e := range c.Env {
				if e.Name == "NATS_URL" {
					urls[e.Value] = true
				}
			}
		}
	}
	checkObjects(t, conform(t), checked.String())
	if len(urls) != 1 || !urls["nats://prod-nats:4222"] || len(ports["prod-nats"]) != 1 || ports["prod-nats"][0] != 4222 || len(ports["prod-nats-headless"]) != 3 {
		t.Errorf("our roles connect to %v, the services have %v", urls, ports)
	}
	set := all["StatefulSet prod-nats"]
	if set.Spec.Replicas != 3 || set.Spec.Template.Spec.Containers[0].Image != "nats:2.15.2-alpine" || all["PodDisruptionBudget prod-nats"].Kind == "" {
		t.Errorf("%+v", set)
	}
	t.Setenv("SERVER_NAME", "prod-nats-0")
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(all["ConfigMap prod-nats-config"].Data["nats.conf"]), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !o.JetStream || !o.SyncAlways || o.MaxPayload != 4<<20 || o.JetStreamMaxStore != 20<<30 || o.Cluster.Name != "prod-nats" || len(o.Routes) != 3 || o.ServerName != "prod-nats-0" || o.HTTPPort != 8222 {
		t.Errorf("the server reads JetStream %v, sync always %v, payload %d, store %d, cluster %s of %d, name %s, monitoring %d",
			o.JetStream, o.SyncAlways, o.MaxPayload, o.JetStreamMaxStore, o.Cluster.Name, len(o.Routes), o.ServerName, o.HTTPPort)
	}
}
