package gateway

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// above are the files that put the handlers together.
var above = []string{"gateway.go", "routes.go", "router.go"}

// The files of this package have three storeys: what all operations share, the
// handlers, one noun each (the file that declares its routes, and those that are
// named after it, as tasks_list.go), and what puts them together. An arrow goes
// down only, and none from noun to noun.
func TestNoHandlerFileNeedsAnother(t *testing.T) {
	sources := map[string]string{}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sources[path] = string(text)
	}
	faults, nouns := arrows(t, sources)
	for _, f := range faults {
		t.Error(f)
	}
	if len(nouns) < 10 {
		t.Errorf("the nouns are %v: others are not seen", nouns)
	}
}

// A rule that nothing breaks proves nothing.
func TestForbiddenArrowsAreSeen(t *testing.T) {
	const (
		cats   = "package g; type cats struct{}; type catID string; func (cats) routes() []int { return nil }; func (cats) feed() {}"
		dogs   = "package g; type dogs struct{ n int }; func (dogs) routes() []int { return nil }; "
		shared = "package g; type params struct{}; "
	)
	for name, tt := range map[string]struct {
		sources map[string]string
		want    int
	}{
		"none":                           {map[string]string{"cats.go": cats, "dogs.go": dogs + "var _ params", "params.go": shared}, 0},
		"a second file of a noun":        {map[string]string{"cats.go": cats, "cats_list.go": "package g; func (cats) list() catID { return `` }"}, 0},
		"the top":                        {map[string]string{"cats.go": cats, "routes.go": "package g; var _ = cats{}.routes()"}, 0},
		"a type of another noun":         {map[string]string{"cats.go": cats, "dogs.go": dogs + "var _ catID"}, 1},
		"a method of another noun":       {map[string]string{"cats.go": cats, "dogs.go": dogs + "func f(p params) { p.c.feed() }", "params.go": "package g; type params struct{ c interface{ feed() } }"}, 0},
		"a method by a value":            {map[string]string{"cats.go": cats, "dogs.go": dogs + "func (d dogs) f() { var x = cats{}; x.feed() }"}, 2},
		"what is shared needs a noun":    {map[string]string{"cats.go": cats, "params.go": shared + "var _ catID"}, 1},
		"what is shared needs the top":   {map[string]string{"gateway.go": "package g; type Gateway struct{}", "params.go": shared + "var _ Gateway"}, 1},
		"a handler needs the top":        {map[string]string{"gateway.go": "package g; type Gateway struct{ n int }", "dogs.go": dogs + "func (g Gateway) f() int { return g.n }"}, 2},
		"a field of another noun's type": {map[string]string{"dogs.go": dogs, "cats.go": cats + "; func f() { _ = dogs{}.n }"}, 2},
	} {
		if faults, _ := arrows(t, tt.sources); len(faults) != tt.want {
			t.Errorf("%s: %d faults, want %d: %v", name, len(faults), tt.want, faults)
		}
	}
}

// arrows finds the uses of what is declared where it must not be used. Other
// packages are not looked at, so that this takes no time.
func arrows(t *testing.T, sources map[string]string) (faults, nouns []string) {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	for _, path := range slices.Sorted(maps.Keys(sources)) {
		file, err := parser.ParseFile(set, path, sources[path], parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if hasRoutes(file) {
			nouns = append(nouns, strings.TrimSuffix(path, ".go"))
		}
		files = append(files, file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	check := types.Config{Importer: nowhere{importer.Default()}, Error: func(error) {}}
	pkg, _ := check.Check("gateway", set, files, info) // with errors: other packages are empty
	for use, what := range info.Uses {
		if what.Pkg() != pkg || !what.Pos().IsValid() {
			continue
		}
		from, to := set.Position(use.Pos()).Filename, set.Position(what.Pos()).Filename
		if why := wrongWay(storey(from, nouns), storey(to, nouns)); why != "" {
			faults = append(faults, from+" uses "+what.Name()+" of "+to+": "+why)
		}
	}
	slices.Sort(faults)
	return faults, nouns
}

// nowhere has no packages.
type nowhere struct{ types.Importer }

func (nowhere) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}

// hasRoutes says whether a file declares the routes of a noun.
func hasRoutes(file *ast.File) bool {
	return slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Recv != nil && f.Name.Name == "routes" && f.Type.Results.NumFields() == 1 && isSlice(f.Type.Results.List[0].Type)
	})
}

func isSlice(t ast.Expr) bool {
	_, ok := t.(*ast.ArrayType)
	return ok
}

// storey is the noun of a handler file, "above", or empty for what is shared.
func storey(path string, nouns []string) string {
	if slices.Contains(above, path) {
		return "above"
	}
	noun, _, _ := strings.Cut(strings.TrimSuffix(path, ".go"), "_")
	if slices.Contains(nouns, noun) {
		return noun
	}
	return ""
}

func wrongWay(from, to string) string {
	switch {
	case to == from, to == "", from == "above":
		return ""
	case to == "above":
		return "only what puts the gateway together may"
	case from == "":
		return "what is shared knows no noun"
	}
	return "a noun knows no other: move what both need to what is shared"
}
