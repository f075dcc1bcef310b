package check

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// registry knows every image, and notes which are asked for: nothing is fetched.
type registry struct{ asked []string }

// ResolveImageConfig implements llb.ImageMetaResolver.
func (r *registry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	r.asked = append(r.asked, ref)
	config, err := json.Marshal(v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}})
	return ref, digest.FromBytes(config), config, err
}

// plan is what BuildKit would do for a target of a Dockerfile, and what it warns of.
type plan struct {
	image   v1.ImageConfig
	runs    []string // commands
	copies  []string // from to
	fetched []string
	warned  []string
}

// planned plans an image for arm64 on a machine that is amd64. It builds nothing.
func planned(t *testing.T, text, target string) (p plan, err error) {
	t.Helper()
	caps := pb.Caps.CapSet(pb.Caps.All())
	r := &registry{}
	res, err := dockerfile2llb.Dockerfile2LLB(t.Context(), []byte(text), dockerfile2llb.ConvertOpt{
		Config:       dockerui.Config{Target: target, BuildPlatforms: []v1.Platform{{OS: "linux", Architecture: "amd64"}}},
		MetaResolver: r, LLBCaps: &caps, TargetPlatform: &v1.Platform{OS: "linux", Architecture: "arm64"},
		Warn: func(rule, _, _, message string, _ []parser.Range) { p.warned = append(p.warned, rule+": "+message) },
	})
	if err != nil {
		return p, err
	}
	def, err := res.State.Marshal(t.Context())
	if err != nil {
		return p, err
	}
	for _, raw := range def.Def {
		var op pb.Op
		if err := op.Unmarshal(raw); err != nil {
			return p, err
		}
		if run := op.GetExec(); run != nil {
			p.runs = append(p.runs, strings.Join(run.Meta.Args, " ")+" # "+strings.Join(run.Meta.Env, " "))
		}
		for _, a := range op.GetFile().GetActions() {
			if c := a.GetCopy(); c != nil {
				p.copies = append(p.copies, c.Src+" "+c.Dest)
			}
		}
	}
	p.image, p.fetched = res.Image.Config.ImageConfig, r.asked
	return p, nil
}

// BuildKit's own front end reads the Dockerfile without a warning, and plans the image
// that the manual promises: nothing but the binary, certificates and a folder for data,
// for a user who is not root. A binary that was built before is packed without a compiler.
func TestImageIsPlannedByBuildKit(t *testing.T) {
	text, err := os.ReadFile("../image/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]struct{ from, arch string }{
		"":       {"/src/bin/mesh", "TARGETARCH=arm64"},
		"packed": {"/dist/linux_arm64/mesh", ""},
	} {
		p, err := planned(t, string(text), target)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.warned) > 0 || !slices.Equal(p.fetched, []string{"docker.io/library/golang:1.26"}) {
			t.Errorf("%q: warnings %v, images %v", target, p.warned, p.fetched)
		}
		if p.image.User != "65532:65532" || !slices.Equal(p.image.Entrypoint, []string{"/mesh"}) || len(p.image.Cmd) > 0 || len(p.image.ExposedPorts) != 2 || !slices.Contains(p.image.Env, "MESH_DATA=/data") {
			t.Errorf("%q: %+v", target, p.image)
		}
		compiled := slices.IndexFunc(p.runs, func(run string) bool { return strings.Contains(run, "GOOS=$TARGETOS GOARCH=$TARGETARCH make build") })
		if (compiled >= 0) != (want.arch != "") || compiled >= 0 && !strings.Contains(p.runs[compiled], want.arch) {
			t.Errorf("%q runs %q", target, p.runs)
		}
		for _, c := range []string{want.from + " /mesh", "/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt", "/data /data"} {
			if !slices.Contains(p.copies, c) {
				t.Errorf("%q copies %q, not %q", target, p.copies, c)
			}
		}
	}
}

// What is planned without a fault proves something only where faults are seen.
func TestImageFaultsAreSeen(t *testing.T) {
	text, err := os.ReadFile("../image/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, now, want string }{
		{"HEALTHCHECK", "HEALTCHECK", "unknown instruction: HEALTCHECK"},
		{`ENTRYPOINT ["/mesh"]`, "ENTRYPOINT /mesh", "JSONArgsRecommended"},
		{"FROM base AS build", "FROM base as build", "FromAsCasing"},
		{"ARG TARGETARCH\nCOPY dist", "COPY dist", "UndefinedVar"},
		{"--from=build", "--from=biuld", "docker.io/library/biuld"},
		{"ARG TARGETARCH\nCOPY dist", "ARG TARGETARCH=amd64\nCOPY dist", "/dist/linux_amd64/mesh"},
	} {
		broken := strings.Replace(string(text), tt.old, tt.now, 1)
		if broken == string(text) {
			t.Fatalf("%s: there is nothing to break", tt.old)
		}
		var all []string
		for _, target := range []string{"", "packed"} {
			p, err := planned(t, broken, target)
			all = append(all, fmt.Sprint(p.warned, p.fetched, p.copies, err))
		}
		if !strings.Contains(strings.Join(all, "\n"), tt.want) {
			t.Errorf("%s: %q, want %s", tt.now, all, tt.want)
		}
	}
}
