package cli

import (
	"io"
	"os"
	"strings"
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

// IsTerminal reports whether v is the file of a terminal.
func IsTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// canDraw reports whether lines can be drawn over on out.
func canDraw(out io.Writer) bool { return IsTerminal(out) && os.Getenv("TERM") != "dumb" }

// columns is the width of a terminal, 140 where out is none.
func columns(out io.Writer) int {
	if w, _ := terminalSize(out); w > 0 {
		return w
	}
	return 140
}

// terminalSize is the size of a terminal, 0 where out is none.
func terminalSize(out io.Writer) (width, height int) {
	f, ok := out.(*os.File)
	if !ok {
		return 0, 0
	}
	return windowSize(f)
}
