package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
)

// commands reports whether a rune can command a terminal, or have text look
// like other text: control characters, of one byte and of two, and those that
// turn the direction of writing around.
func commands(r rune) bool {
	return unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// clean is text of agents, of labels, of whoever else is not the operator,
// without what would command the terminal. Lines and tabs stay.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\r':
			return '\n'
		case commands(r):
			return -1
		}
		return r
	}, s)
}

// oneLine is clean text on one line of at most limit runes; 0: as long as it is.
func oneLine(s string, limit int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	if r := []rune(s); limit > 0 && len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// hanging is clean text whose lines after the first begin at a column.
func hanging(s string, column int) string {
	return strings.ReplaceAll(strings.TrimRight(clean(s), "\n"), "\n", "\n"+strings.Repeat(" ", column))
}

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

// WriteJSON writes a value as a line of JSON.
func WriteJSON(out io.Writer, v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return writeRaw(out, line.Bytes())
}

// writeRaw writes lines of JSON. JSON escapes only some of what commands a
// terminal; the rest, which stands in strings alone, is escaped here.
func writeRaw(out io.Writer, line []byte) error {
	var b strings.Builder
	for _, r := range string(line) {
		if r != '\n' && commands(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
