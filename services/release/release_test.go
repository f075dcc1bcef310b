package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

var when = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// TestArchivesTellNothingOfTheMachine packs the same content at another time, under
// another path.
func TestArchivesTellNothingOfTheMachine(t *testing.T) {
	for name, pack := range map[string]func(string, []entry, time.Time) error{"tar": packTar, "zip": packZip} {
		var packed [2][]byte
		for i := range packed {
			dir := t.TempDir()
			binary := filepath.Join(dir, "mesh")
			if err := os.WriteFile(binary, []byte("a program"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(binary, time.Unix(int64(i), 0), time.Unix(int64(i), 0)); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "archive")
			if err := pack(out, []entry{{binary, "mesh_1/mesh", 0o755}}, when); err != nil {
				t.Fatal(err)
			}
			var err error
			if packed[i], err = os.ReadFile(out); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(packed[0], packed[1]) {
			t.Errorf("%s: two archives of the same content differ", name)
		}
		if content := unpack(t, name, packed[0]); content != "mesh_1/mesh: a program" {
			t.Errorf("%s holds %q", name, content)
		}
	}
}

func unpack(t *testing.T, kind string, packed []byte) string {
	t.Helper()
	var name string
	var file io.Reader
	if kind == "zip" {
		archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatal(err)
		}
		name = archive.File[0].Name
		if archive.File[0].Mode() != 0o755 {
			t.Errorf("mode %v, want 0755", archive.File[0].Mode())
		}
		if file, err = archive.File[0].Open(); err != nil {
			t.Fatal(err)
		}
	} else {
		zipped, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(zipped)
		head, err := archive.Next()
		if err != nil {
			t.Fatal(err)
		}
		if head.Mode != 0o755 || head.Uid != 0 || head.Uname != "" || !head.ModTime.Equal(when) {
			t.Errorf("head %+v", head)
		}
		name, file = head.Name, archive
	}
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return name + ": " + string(content)
}

func TestTheBillListsWhatIsLinked(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Deps: []*debug.Module{
		{Path: "github.com/nats-io/nats.go", Version: "v1.55.0", Sum: "h1:" + strings.Repeat("A", 43) + "="},
		{Path: "github.com/old/one", Version: "v1.0.0", Replace: &debug.Module{Path: "github.com/new/one", Version: "v2.0.0+incompatible"}},
	}}
	bill := billOf(info, "1.2.3", platform{"linux", "amd64"}, when)
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).EncodeVersion(bill, cyclonedx.SpecVersion1_6); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"specVersion":"1.6"`, `"purl":"pkg:golang/std@1.26.8"`, `"purl":"pkg:golang/github.com/nats-io/nats.go@v1.55.0"`,
		`"purl":"pkg:golang/github.com/new/one@v2.0.0%2Bincompatible"`, `"version":"1.2.3"`, `"content":"` + strings.Repeat("0", 64) + `"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the bill lacks %s:\n%s", want, out.String())
		}
	}
}

func TestAPlatformIsASystemAndAnArchitecture(t *testing.T) {
	for _, text := range []string{"linux", "/amd64", "linux/", ""} {
		if _, err := parsePlatforms([]string{text}); err == nil {
			t.Errorf("platform %q was taken", text)
		}
	}
	all, err := parsePlatforms(strings.Split(everywhere, ","))
	if err != nil || len(all) != 6 {
		t.Errorf("parsePlatforms(everywhere) = %v, %v", all, err)
	}
}
