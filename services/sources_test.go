package services

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
)

// source is a Go file, by its path below the folder that is looked at.
type source struct {
	path string // with slashes
	set  *token.FileSet
	file *ast.File
}

func (s source) test() bool     { return strings.HasSuffix(s.path, "_test.go") }
func (s source) folder() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// sources calls each with every Go file below root, but for folders that begin with
// a dot. It parses the files itself: asking the go command would be answered from its
// cache.
func sources(root string, each func(source)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "." && d.Name() != ".." {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err == nil {
			each(source{path: filepath.ToSlash(rel), set: set, file: file})
		}
		return err
	})
}

// calls tells where a file names a function of a package of the standard library or of
// a client, such as time.Sleep.
func (s source) calls(pkg, function string) (at []token.Position) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == function {
			if of, ok := sel.X.(*ast.Ident); ok && of.Name == pkg {
				at = append(at, s.set.Position(n.Pos()))
			}
		}
		return true
	})
	return at
}
