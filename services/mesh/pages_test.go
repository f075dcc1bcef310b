package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	fenced   = regexp.MustCompile("(?ms)^```[^\n]*\n(.*?)^```$")
	spanned  = regexp.MustCompile("`mesh ([a-z][^`]*)`")
	shelled  = regexp.MustCompile(`(?:^|\$\(|&& |; |\| )(?:\$ )?(?:[A-Z_]+=\S* +)*(?:sudo )?(?:mesh|go run \./services/mesh) ([a-z][^\n;&|>)]*)`)
	wordLike = regexp.MustCompile(`^[a-z][a-z-]*$`)
	flagLike = regexp.MustCompile(`(?:^| )--([a-z][a-z0-9-]*)`)
)

// commandsOf are the command lines of mesh on a page, without `mesh` itself.
func commandsOf(page string) (all []string) {
	for _, block := range fenced.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", "")) {
			for _, m := range shelled.FindAllStringSubmatch(line, -1) {
				all = append(all, m[1])
			}
		}
	}
	for _, m := range spanned.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		all = append(all, m[1])
	}
	return all
}

// unknownIn is what of a command line the program does not know; empty: it knows it.
func unknownIn(root *cobra.Command, line string) string {
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(line)
	if strings.Contains(words[len(words)-1], "|") && len(words) == 2 { // keys create|list
		for _, each := range strings.Split(words[1], "|") {
			if unknown := unknownIn(root, words[0]+" "+each); unknown != "" {
				return unknown
			}
		}
		return ""
	}
	c, rest, err := root.Find(words)
	if err != nil || c == root {
		return "the command"
	}
	if len(rest) > 0 && c.HasSubCommands() && wordLike.MatchString(rest[0]) {
		return "the command " + rest[0]
	}
	for _, f := range flagLike.FindAllStringSubmatch(line, -1) {
		if c.Flags().Lookup(f[1]) == nil && c.InheritedFlags().Lookup(f[1]) == nil && f[1] != "help" {
			return "the flag --" + f[1]
		}
	}
	return ""
}

// What the pages tell people to type is there: each command of mesh, and its flags.
func TestTheCommandsOfThePagesExist(t *testing.T) {
	root := rootCommand()
	root.InitDefaultCompletionCmd()
	found := 0
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return cmpError(err, fs.SkipDir)
		}
		if d.IsDir() || !strings.HasSuffix(name, ".md") || d.Name() == "CHANGELOG.md" { // it names what was
			return nil
		}
		page, err := os.ReadFile(name)
		for _, line := range commandsOf(string(page)) {
			found++
			if unknown := unknownIn(root, line); unknown != "" {
				t.Errorf("%s: mesh %s: there is not %s", name, line, unknown)
			}
		}
		return err
	})
	if err != nil || found < 100 {
		t.Errorf("%d commands found, %v", found, err)
	}
	for _, line := range []string{"chat words", "keys forget ID", "task run x --wait-for 3s", "keys create|forget"} {
		if unknownIn(root, line) == "" {
			t.Errorf("mesh %s is taken for a command", line)
		}
	}
}
