// Command release builds what is handed out of the mesh: for each platform a
// binary, an archive with it, and its bill of materials (CycloneDX 1.6), and the
// SHA-256 sums of them all. The same commit gives the same bytes wherever it is
// built: paths are trimmed, and the files have the time of the commit.
//
//	go run ./services/release -out dist -platforms linux/amd64,windows/arm64
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const everywhere = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

func main() {
	out := flag.String("out", "dist", "folder for the files; it is made anew")
	version := flag.String("version", "", "version of the release; none: as git describes the commit")
	platforms := flag.String("platforms", everywhere, "list of GOOS/GOARCH")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := release(ctx, os.Stdout, *out, *version, strings.Split(*platforms, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// platform is a target of the Go compiler.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

func (p platform) binary() string {
	if p.os == "windows" {
		return "mesh.exe"
	}
	return "mesh"
}

func parsePlatforms(list []string) (all []platform, err error) {
	for _, text := range list {
		system, arch, ok := strings.Cut(text, "/")
		if !ok || system == "" || arch == "" {
			return nil, fmt.Errorf("platform %q: write GOOS/GOARCH, like linux/amd64", text)
		}
		all = append(all, platform{system, arch})
	}
	return all, nil
}

func release(ctx context.Context, say io.Writer, out, version string, list []string) error {
	platforms, err := parsePlatforms(list)
	if err != nil {
		return err
	}
	if version == "" {
		if version, err = describe(ctx); err != nil {
			return err
		}
	}
	when, err := commitTime(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		return err
	}
	var files []string
	for _, p := range platforms {
		made, err := buildOne(ctx, out, version, p, when)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		files = append(files, made...)
		_, _ = fmt.Fprintln(say, made[0])
	}
	return writeSums(filepath.Join(out, "SHA256SUMS"), files)
}

// buildOne makes the archive and the bill of materials of one platform.
func buildOne(ctx context.Context, out, version string, p platform, when time.Time) (files []string, err error) {
	dir := filepath.Join(out, p.String())
	binary := filepath.Join(dir, p.binary())
	if err := compile(ctx, binary, version, p); err != nil {
		return nil, err
	}
	name := "mesh_" + version + "_" + p.String()
	bill := filepath.Join(out, name+".cdx.json")
	if err := writeBill(bill, binary, version, p, when); err != nil {
		return nil, err
	}
	archive := filepath.Join(out, name+".tar.gz")
	pack := packTar
	if p.os == "windows" {
		archive, pack = filepath.Join(out, name+".zip"), packZip
	}
	content := []entry{
		{binary, name + "/" + p.binary(), 0o755},
		{"README.md", name + "/README.md", 0o644},
		{"CHANGELOG.md", name + "/CHANGELOG.md", 0o644},
		{bill, name + "/mesh.cdx.json", 0o644},
	}
	if err := pack(archive, content, when); err != nil {
		return nil, err
	}
	return []string{archive, bill}, nil
}

// compile links the mesh without C, without paths of this machine.
func compile(ctx context.Context, binary, version string, p platform) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w -X main.release="+version, "-o", binary, "./services/mesh")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// describe is the version of the commit: its tag, or the last tag and what came
// after it, or the commit.
func describe(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "", fmt.Errorf("ask git for the version: %w; name it with -version", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), nil
}

// commitTime is the time that the files get: SOURCE_DATE_EPOCH where it is set, else
// that of the commit.
func commitTime(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("ask git for the time of the commit: %w; set SOURCE_DATE_EPOCH", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("time of the commit %q: not a number of seconds", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
