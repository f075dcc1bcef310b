package services

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// atTheTop is what the repository has at its top, besides dotfiles.
var atTheTop = []string{
	"services", "gateway", "worker", "notifier", "shared", "deploy",
	"go.mod", "go.sum", "Makefile", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md",
}

func TestNothingElseStandsAtTheTop(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Fields(string(raw))
	for _, e := range entries {
		name := e.Name()
		made := slices.ContainsFunc(ignored, func(pattern string) bool {
			ok, _ := filepath.Match(strings.Trim(pattern, "/"), name)
			return ok
		})
		if !made && !strings.HasPrefix(name, ".") && !slices.Contains(atTheTop, name) {
			t.Errorf("%s stands at the top of the repository; there are only %s", name, strings.Join(atTheTop, ", "))
		}
	}
	for _, name := range atTheTop {
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			t.Error(err)
		}
	}
}

// A page to begin with is read to its end.
func TestReadmeIsShort(t *testing.T) {
	if n := strings.Count(page(t, "../README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, at most 150 are read; the manual stands beside the code", n)
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	path   = regexp.MustCompile("`([a-z]+/[A-Za-z0-9_./-]+)`")
	fenced = regexp.MustCompile("(?ms)^```.*?^```$")
	slug   = regexp.MustCompile(`[^\p{L}\p{N} _-]+`)
)

// Every page of the manual leads where it says: links, headings within them, and
// the files that are named.
func TestPagesLeadSomewhere(t *testing.T) {
	var pages []string
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			pages = append(pages, name)
		}
		return nil
	})
	if err != nil || len(pages) < 8 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, name := range pages {
		text := fenced.ReplaceAllString(page(t, name), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") {
				follow(t, name, m[1])
			}
		}
		if name == "../CHANGELOG.md" { // it names what was, too
			continue
		}
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			top, _, _ := strings.Cut(m[1], "/")
			if !slices.Contains(atTheTop, top) {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
}

// follow goes where a link of a page leads.
func follow(t *testing.T, from, to string) {
	t.Helper()
	file, heading, _ := strings.Cut(to, "#")
	target := from
	if file != "" {
		target = filepath.Join(filepath.Dir(from), file)
	}
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s links to %s, which is not there", from, to)
		return
	}
	if heading == "" {
		return
	}
	for line := range strings.Lines(page(t, target)) {
		if title := strings.TrimLeft(line, "#"); title != line && anchor(title) == heading {
			return
		}
	}
	t.Errorf("%s links to %s, where there is no such heading", from, to)
}

// anchor is how a heading is linked to.
func anchor(title string) string {
	return strings.ReplaceAll(slug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
}

func page(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
