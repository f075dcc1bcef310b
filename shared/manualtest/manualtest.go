// Package manualtest keeps the pages of the manual and the golden files true: a
// test writes the tables and forms that come from code, and runs the blocks of
// code that readers copy. It is imported by tests only, and does not know what
// the pages say.
package manualtest

import (
	"flag"
	"os"
	"strings"
	"testing"

	"agentmesh/shared/task"
)

// update has the tests write what they compare: make golden.
var update = flag.Bool("update", false, "rewrite the golden files")

// File fails when the text of a file is not content: a form that others rely on.
// With -update it writes the file instead.
func File(t *testing.T, file, content string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != content {
		t.Errorf("%s has changed: others rely on it. Run make golden and read the diff.\ngot:\n%s", file, task.Clip(content, 8<<10))
	}
}

// Table fails when the table between the marks of name in file is not content.
// With -update it writes the table instead.
func Table(t *testing.T, file, name, content string) {
	t.Helper()
	page := read(t, file)
	begin, end := "<!-- "+name+":begin, written by make golden -->\n", "<!-- "+name+":end -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table of %s: the marks are %q and %q", file, name, begin, end)
	}
	want := before + begin + content + end + after
	if want == page {
		return
	}
	if !*update {
		t.Fatalf("the table of %s in %s is old: run make golden and read the diff", name, file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Snippets returns the blocks of code of a language in file, in their order. It
// fails when there are none.
func Snippets(t *testing.T, file, language string) (blocks []string) {
	t.Helper()
	for _, rest := range strings.Split(read(t, file), "\n```"+language+"\n")[1:] {
		code, _, ok := strings.Cut(rest, "\n```\n")
		if !ok {
			t.Fatalf("a block of %s in %s does not end", language, file)
		}
		blocks = append(blocks, code)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no code in %s", file, language)
	}
	return blocks
}

// Shown fails unless every block of Go in the page is a part of a source file,
// whatever its indentation: what the compiler and the examples check there holds
// for the page. A line of three dots stands for lines that are left out.
func Shown(t *testing.T, page, source string) {
	t.Helper()
	code := flat(read(t, source))
	for _, block := range Snippets(t, page, "go") {
		at := 0
		for _, part := range strings.Split("\n"+flat(block)+"\n", "\n...\n") {
			part = strings.Trim(part, "\n")
			i := strings.Index(code[at:], part)
			if i < 0 {
				t.Errorf("%s shows Go that %s does not have:\n%s", page, source, part)
				break
			}
			at += i + len(part)
		}
	}
}

// flat is code without indentation.
func flat(code string) string {
	lines := strings.Split(strings.ReplaceAll(code, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
