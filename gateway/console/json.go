package console

import (
	"bytes"
	"encoding/json"
	"html/template"
	"slices"
	"strconv"
	"strings"
)

// maxInline is how much of a value a page shows.
const maxInline = 256 << 10

// showJSON is a value of JSON as it was sent, indented and with its parts told apart;
// long ones can be folded. Numbers are texts here: none is changed on the way.
func showJSON(raw []byte) template.HTML {
	if len(raw) == 0 {
		return `<span class="none">nothing</span>`
	}
	var b bytes.Buffer
	var out strings.Builder
	if len(raw) <= maxInline && json.Indent(&b, raw, "", "  ") == nil && b.Len() <= 4*maxInline {
		folded(&out, b.Bytes())
		return template.HTML(out.String()) //nolint:gosec // every text is escaped by colour
	}
	colour(&out, []byte(strings.ToValidUTF8(cut(string(raw), maxInline), "�")))
	if len(raw) > maxInline {
		out.WriteString("\n…")
	}
	return template.HTML(out.String()) //nolint:gosec // every text is escaped by colour
}

// colour writes JSON with its parts in spans. What is no JSON comes out as text.
func colour(out *strings.Builder, src []byte) {
	for i := 0; i < len(src); {
		start := i
		switch c := src[i]; {
		case c == '"':
			i = endOfString(src, i)
			kind := "js"
			if next := bytes.TrimLeft(src[i:], " \n\t\r"); len(next) > 0 && next[0] == ':' {
				kind = "jk"
			}
			token(out, kind, src[start:i])
		case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			for i++; i < len(src) && !bytes.ContainsRune([]byte(" \n\t\r,:{}[]\""), rune(src[i])); i++ {
			}
			token(out, "jn", src[start:i])
		default:
			for i++; i < len(src) && bytes.IndexByte([]byte(" \n\t\r,:{}[]"), src[i]) >= 0; i++ {
			}
			template.HTMLEscape(escaped{out}, src[start:i])
		}
	}
}

// escaped writes what HTMLEscape has made.
type escaped struct{ *strings.Builder }

func token(out *strings.Builder, kind string, text []byte) {
	out.WriteString(`<span class="` + kind + `">`)
	template.HTMLEscape(escaped{out}, text)
	out.WriteString("</span>")
}

// endOfString is the place behind the string that begins at i.
func endOfString(src []byte, i int) int {
	for i++; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(src)
}

// Bounds of what is folded.
const (
	foldLeast = 3   // lines within: fewer are not worth a fold
	foldShut  = 60  // lines within: more are shut at first
	foldsMost = 150 // each is a stop of the Tab key
)

// fold is an object or a list, by its lines.
type fold struct{ begin, end, members, depth int }

// folded writes indented JSON with its objects and lists in parts that a reader opens
// and shuts, without a script. The outermost is none: it is the value.
func folded(out *strings.Builder, src []byte) {
	lines := bytes.SplitAfter(src, []byte("\n"))
	folds, ends := foldsOf(lines), map[int]bool{}
	for i, line := range lines {
		f, ok := folds[i]
		if !ok {
			if ends[i] { // the line belongs to its beginning
				line = bytes.TrimSuffix(line, []byte("\n"))
			}
			if colour(out, line); ends[i] {
				out.WriteString("</details>")
			}
			continue
		}
		open := " open"
		if f.end-i > foldShut {
			open = ""
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		shut := byte('}')
		if line[len(line)-1] == '[' {
			shut = ']'
		}
		out.WriteString(`<details class="fold"` + open + `><summary data-more="` + strconv.Itoa(f.members) + " " + string(shut) + `">`)
		colour(out, line)
		out.WriteString("</summary>")
		ends[f.end] = true
	}
}

// foldsOf finds the folds of JSON that json.Indent has written, by the line that each
// begins at: the outer ones where there are too many.
func foldsOf(lines [][]byte) map[int]fold {
	var all, open []fold
	for i, line := range lines {
		line = bytes.TrimRight(bytes.TrimLeft(line, " "), "\n")
		if c := line[0]; (c == '}' || c == ']') && len(open) > 0 {
			f := open[len(open)-1]
			open = open[:len(open)-1]
			if f.end = i; f.depth > 0 && i-f.begin > foldLeast {
				all = append(all, f)
			}
			continue
		}
		if len(open) > 0 {
			open[len(open)-1].members++
		}
		if c := line[len(line)-1]; c == '{' || c == '[' {
			open = append(open, fold{begin: i, depth: len(open)})
		}
	}
	slices.SortStableFunc(all, func(a, b fold) int { return a.depth - b.depth })
	folds := map[int]fold{}
	for _, f := range all[:min(len(all), foldsMost)] {
		folds[f.begin] = f
	}
	return folds
}
