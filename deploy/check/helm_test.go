package check

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden manifests")

const chartFolder = "../helm/agentmesh"

// cases are values that people install with; each has a golden file.
var cases = map[string]string{
	"least": `connection: {url: "tls://nats.example:4222"}`,
	"whole": `
connection: {url: "tls://nats.example:4222", caSecret: nats-ca, secrets: {admin: mesh-admin, gateway: mesh-gateway, notifier: mesh-notifier}}
secretKeySecret: mesh-secret-key
gateway:
  adminKeySecret: mesh-admin-key
  publicURL: https://mesh.example
  trustedProxies: 10.0.0.0/8
  autoscaling: {enabled: true, minReplicas: 2, maxReplicas: 6, cpuPercent: 70}
workers:
  - name: research
    replicas: 1
    image: registry.example/research:1
    agents: |
      agents:
        - name: research
          exec: {command: [python3, /app/research.py]}
    natsSecret: mesh-worker-research
    drainSeconds: 300
    envFrom: [{secretRef: {name: model-keys}}]
    keda: {enabled: true, agents: [research], minReplicas: 0, maxReplicas: 20, lagThreshold: 10}
  - name: samples
    replicas: 3
    agents: ""
    drainSeconds: 60
    keda: {enabled: false}
keda: {monitoringEndpoint: "nats.example:8222", account: MESH}
ingress: {enabled: true, className: nginx, host: mesh.example, tlsSecret: mesh-tls}
httpRoute: {enabled: true, parentRefs: [{name: public}], hostnames: [mesh.example]}
networkPolicy: {enabled: true, clients: [{namespaceSelector: {}}], monitoring: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}
podMonitor: {enabled: true, labels: {release: prometheus}, interval: 30s}
telemetry: {endpoint: "http://otel:4318"}
extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-more"}, data: {a: b}}]
`,
	"one": `
connection: {url: "nats://nats:4222"}
replicas: 1
gateway: {replicas: 1, auth: "keys,oidc", drainSeconds: 10}
notifier: {replicas: 1, drainSeconds: 10}
networkPolicy: {enabled: false}
serviceAccount: {create: false}
`,
	"own nats": `nats: {enabled: true}`,
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rendered is the chart with values, as one text, and its notes.
func rendered(t *testing.T, values string) (manifests, notes string, err error) {
	t.Helper()
	return renderedWith(t, loadChart(t), values)
}

// renderedWith renders a chart that has its dependencies.
func renderedWith(t *testing.T, c *chart.Chart, values string) (manifests, notes string, err error) {
	t.Helper()
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "prod", Namespace: "mesh", Revision: 1, IsInstall: true}, caps)
	if err != nil {
		return "", "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", "", err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch text := strings.TrimSpace(files[name]); {
		case strings.HasSuffix(name, "NOTES.txt"):
			notes = files[name]
		case text != "" && !strings.HasSuffix(name, ".tpl"):
			fmt.Fprintf(&b, "---\n# %s\n%s\n", strings.TrimPrefix(name, "agentmesh/templates/"), strings.TrimPrefix(text, "---\n"))
		}
	}
	return b.String(), notes, nil
}

// The chart renders to golden manifests, and each object of them is one that Kubernetes
// takes, member by member.
func TestHelmChartIsGoldenAndValid(t *testing.T) {
	v := conform(t)
	for name, values := range cases {
		t.Run(name, func(t *testing.T) {
			got, notes, err := rendered(t, values)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || string(want) != got {
				t.Errorf("the chart renders other manifests than %s (%v): run with -update and read the diff", golden, err)
			}
			if !strings.Contains(notes, "port-forward svc/prod-agentmesh 8080:8080") {
				t.Errorf("notes:\n%s", notes)
			}
			checkObjects(t, v, got)
		})
	}
}

func checkObjects(t *testing.T, v validator.Validator, manifests string) {
	t.Helper()
	n := map[validator.Status]int{}
	for _, r := range v.Validate("chart", readCloser{strings.NewReader(manifests)}) {
		n[r.Status]++
		sig, _ := r.Resource.Signature()
		switch r.Status {
		case validator.Invalid, validator.Error:
			t.Errorf("%+v: %v", sig, r.Err)
		case validator.Skipped:
			t.Logf("NOT CHECKED, its module was not obtained: %s", sig.Kind)
		}
	}
	if n[validator.Valid] < 5 {
		t.Errorf("%v objects", n)
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// A validator that takes everything proves nothing.
func TestHelmValidatorSeesFaults(t *testing.T) {
	v := conform(t)
	for what, change := range map[string][2]string{
		"a misspelled member":      {"readOnlyRootFilesystem", "readOnlyRootFileSystem"},
		"a text for a number":      {"containerPort: 8080", "containerPort: http"},
		"a member that is missing": {"  selector:\n    matchLabels:\n      app.kubernetes.io/name: agentmesh\n      app.kubernetes.io/instance: prod\n      app.kubernetes.io/component: gateway\n  strategy", "  strategy"},
	} {
		text, _, err := rendered(t, cases["least"])
		if err != nil {
			t.Fatal(err)
		}
		broken := strings.Replace(text, change[0], change[1], 1)
		if broken == text {
			t.Fatalf("%s: nothing to break", what)
		}
		found := false
		for _, r := range v.Validate("chart", readCloser{strings.NewReader(broken)}) {
			found = found || r.Status == validator.Invalid || r.Status == validator.Error
		}
		if !found {
			t.Errorf("%s is not seen", what)
		}
	}
}

// Values that are wrong are refused by name, and defaults are what the schema allows.
func TestHelmValuesAreChecked(t *testing.T) {
	for values, want := range map[string]string{
		``:                              "set connection.url",
		`connection: {url: "http://x"}`: "url",
		`{connection: {url: "nats://x"}, replicas: 2}`:              "replicas",
		`{connection: {url: "nats://x"}, gatway: {}}`:               "gatway",
		`{connection: {url: "nats://x"}, gateway: {auth: none}}`:    "auth",
		`{connection: {url: "nats://x"}, workers: [{name: "A b"}]}`: "workers",
		`{connection: {url: "nats://x"}, workers: [{name: a, replicas: 1, agents: "", drainSeconds: 5, keda: {enabled: true, agents: []}}]}`: "keda",
	} {
		if _, _, err := rendered(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", values, err, want)
		}
	}
}

// A pod lives longer than its drain, and every role's budget leaves room for a node to be
// drained.
func TestHelmDrainsAndBudgets(t *testing.T) {
	text, _, err := rendered(t, cases["whole"])
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range strings.Split(text, "\n---\n") {
		var o struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct {
						TerminationGracePeriodSeconds int
						Containers                    []struct {
							Args []string
							Env  []struct{ Name, Value string }
						}
					}
				}
				MaxUnavailable int
			}
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		if o.Kind == "PodDisruptionBudget" && o.Spec.MaxUnavailable != 1 {
			t.Errorf("budget %+v", o)
		}
		if o.Kind != "Deployment" {
			continue
		}
		c := o.Spec.Template.Spec.Containers[0]
		drain := 0
		for _, e := range c.Env {
			if e.Name == "MESH_DRAIN" {
				_, _ = fmt.Sscanf(e.Value, "%ds", &drain)
			}
		}
		if grace := o.Spec.Template.Spec.TerminationGracePeriodSeconds; drain == 0 || grace < drain+5+3 {
			t.Errorf("%v has %d s for a drain of %d s", c.Args, grace, drain)
		}
	}
}

// conform is kubeconform with the schemas that Go modules have: Kubernetes' own API, and custom resources from the modules that define them.
func conform(t *testing.T) validator.Validator {
	t.Helper()
	dir := t.TempDir()
	writeCore(t, dir, filepath.Join(moduleDir(t, "k8s.io/kubernetes@v1.34.1"), "api/openapi-spec/swagger.json"))
	for module, files := range map[string][]string{
		"sigs.k8s.io/gateway-api@v1.4.0":                             {"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
		"github.com/kedacore/keda/v2@v2.21.0":                        {"config/crd/bases/keda.sh_scaledobjects.yaml"},
		"github.com/prometheus-operator/prometheus-operator@v0.85.0": {"example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"},
	} {
		where := moduleDir(t, module)
		for _, file := range files {
			if where == "" {
				continue // it was not obtained: objects of that kind are skipped, and said to be
			}
			writeCustom(t, dir, filepath.Join(where, file))
		}
	}
	v, err := validator.New([]string{filepath.Join(dir, "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json")},
		validator.Opts{Strict: true, IgnoreMissingSchemas: true, KubernetesVersion: "master"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// moduleDir is where the files of a module are, which is fetched as data; empty: it could
// not be.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module).Output()
	if err != nil {
		t.Logf("%s was not obtained: %v", module, err)
		return ""
	}
	var got struct{ Dir string }
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	return got.Dir
}

// writeCore makes a strict schema file for each kind of an OpenAPI document.
func writeCore(t *testing.T, dir, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for name, d := range doc.Definitions {
		switch {
		case strings.HasSuffix(name, "util.intstr.IntOrString"):
			doc.Definitions[name] = map[string]any{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, "api.resource.Quantity"):
			doc.Definitions[name] = map[string]any{"type": []string{"string", "number"}}
		default:
			strict(d)
		}
	}
	for _, d := range doc.Definitions {
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue
		}
		k := kinds[0].(map[string]any)
		group := cmp.Or(k["group"].(string), k["version"].(string)) // as kubeconform names the core
		one := maps.Clone(d)
		one["definitions"] = doc.Definitions
		write(t, dir, k["kind"].(string), group, k["version"].(string), one)
	}
}

// writeCustom makes one for a custom resource.
func writeCustom(t *testing.T, dir, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		t.Fatal(err)
	}
	for _, v := range crd.Spec.Versions {
		strict(v.Schema.OpenAPIV3Schema)
		properties := v.Schema.OpenAPIV3Schema["properties"].(map[string]any)
		delete(properties, "metadata") // of Kubernetes itself
		v.Schema.OpenAPIV3Schema["properties"] = properties
		properties["metadata"] = map[string]any{"type": "object"}
		write(t, dir, crd.Spec.Names.Kind, crd.Spec.Group, v.Name, v.Schema.OpenAPIV3Schema)
	}
}

func write(t *testing.T, dir, kind, group, version string, schema map[string]any) {
	t.Helper()
	raw, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.json", strings.ToLower(kind), group, version)), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// strict has objects take no member that they do not name.
func strict(schema map[string]any) {
	if properties, ok := schema["properties"].(map[string]any); ok {
		if _, open := schema["additionalProperties"]; !open && schema["x-kubernetes-preserve-unknown-fields"] != true {
			schema["additionalProperties"] = false
		}
		for _, p := range properties {
			if p, ok := p.(map[string]any); ok {
				strict(p)
			}
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[key].(map[string]any); ok {
			strict(inner)
		}
	}
	if schema["x-kubernetes-int-or-string"] == true {
		delete(schema, "type")
	}
}
