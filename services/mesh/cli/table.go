package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table lays text out in columns. It cleans every cell: whatever a cell holds,
// it stays in its column.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer, heads ...any) *table {
	t := &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	if len(heads) > 0 {
		t.row(heads...)
	}
	return t
}

// row writes a line of cells.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = oneLine(fmt.Sprint(c), 0)
	}
	fmt.Fprintln(t.w, strings.Join(texts, "\t"))
}

// field writes a name and its value, which may have several lines; nothing when
// the value is empty.
func (t *table) field(name, value string) {
	for _, line := range strings.Split(strings.TrimRight(clean(value), "\n"), "\n") {
		if line != "" || name == "" {
			fmt.Fprintf(t.w, "%s\t%s\n", oneLine(name, 0), strings.ReplaceAll(line, "\t", "    "))
			name = ""
		}
	}
}

func (t *table) flush() error { return t.w.Flush() }
