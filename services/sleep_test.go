package services

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A test that sleeps on the real clock is slow, or flaky on a busy machine: only a
// file that uses fake time may sleep, since there it costs nothing.
func TestTestsSleepInFakeTimeOnly(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			if imp.Path.Value == `"testing/synctest"` || strings.HasSuffix(imp.Path.Value, `/meshtest"`) {
				return nil
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
				if of, ok := sel.X.(*ast.Ident); ok && of.Name == "time" {
					t.Errorf("%s sleeps on the real clock: wait for what it waits for", set.Position(n.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
