package services

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How large things may be: what is larger is split by what it does. Functions are
// counted in nine of ten, since a table or a select may be long and clear.
const (
	maxMethods  = 25
	maxFile     = 450 // lines
	maxFunction = 30  // lines, of nine in ten functions
)

// larger are the types and files that may be larger, with the reason.
var larger = map[string]string{
	"shared/meshtest.Mesh": "it is what the tests of all roles say of a mesh, each in a line",
}

func TestNothingGrowsTooLarge(t *testing.T) {
	s, err := measure("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.faults(larger) {
		t.Error(f)
	}
	for name := range larger {
		if !s.over(name) {
			t.Errorf("%s is not too large any more: take it off the list", name)
		}
	}
	t.Logf("%d of %d functions have at most %d lines: %.1f %%", s.short, s.functions, maxFunction, s.share())
}

// A rule that nothing breaks proves nothing.
func TestEachLimitIsSeen(t *testing.T) {
	methods := &strings.Builder{}
	for i := range maxMethods + 1 {
		fmt.Fprintf(methods, "func (l *large[T]) m%d() {}\n", i)
	}
	long := "func f() {\n" + strings.Repeat("\t_ = 0\n", maxFunction) + "}\n"
	for want, source := range map[string]string{
		"p.large has 26 methods":         "package p\ntype large[T any] struct{}\n" + methods.String(),
		"p/a.go has 452 lines":           "package p\n" + strings.Repeat("\n", maxFile+1),
		"0.0 % of the functions (0 of 1": "package p\n" + long,
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "p"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "p", "a.go"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := measure(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.faults(nil); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%v, want one that begins with %q", got, want)
		}
	}
}

// sizes are what measure has counted: methods by package and type, lines by file.
type sizes struct {
	methods, lines   map[string]int
	functions, short int // of the code that is no test
}

func (s *sizes) share() float64 { return 100 * float64(s.short) / float64(max(s.functions, 1)) }

func (s *sizes) over(name string) bool {
	return s.methods[name] > maxMethods || s.lines[name] > maxFile
}

// faults says what is too large and not excused.
func (s *sizes) faults(excused map[string]string) (faults []string) {
	tooLarge := func(counted map[string]int, most int, what string) {
		for _, name := range slices.Sorted(maps.Keys(counted)) {
			if n := counted[name]; n > most && excused[name] == "" {
				faults = append(faults, fmt.Sprintf("%s has %d %s, allowed are %d: split it by what it does", name, n, what, most))
			}
		}
	}
	tooLarge(s.methods, maxMethods, "methods")
	tooLarge(s.lines, maxFile, "lines")
	if s.functions > 0 && s.share() < 90 {
		faults = append(faults, fmt.Sprintf("%.1f %% of the functions (%d of %d) have at most %d lines, nine in ten must", s.share(), s.short, s.functions, maxFunction))
	}
	return faults
}

// measure reads every Go file below root.
func measure(root string) (*sizes, error) {
	s := &sizes{methods: map[string]int{}, lines: map[string]int{}}
	return s, sources(root, s.add)
}

func (s *sizes) add(of source) {
	s.lines[of.path] = of.set.File(of.file.FileStart).LineCount()
	for _, decl := range of.file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if f.Recv != nil {
			s.methods[of.folder()+"."+receiver(f.Recv.List[0].Type)]++
		}
		if of.test() {
			continue
		}
		s.functions++
		if of.set.Position(f.End()).Line-of.set.Position(f.Pos()).Line+1 <= maxFunction {
			s.short++
		}
	}
}

// receiver is the name of the type that has a method.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
