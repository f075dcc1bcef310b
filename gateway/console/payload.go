package console

import (
	"bytes"
	"encoding/json"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// maxInline is how much of a value a page shows.
const maxInline = 256 << 10

// showJSON is a value of JSON as it was sent, indented and with its parts told apart.
// Numbers are texts here: none is changed on the way.
func showJSON(raw []byte) template.HTML {
	if len(raw) == 0 {
		return `<span class="none">nothing</span>`
	}
	cutOff := len(raw) > maxInline
	var b bytes.Buffer
	if cutOff || json.Indent(&b, raw, "", "  ") != nil || b.Len() > 4*maxInline {
		b.Reset()
		b.WriteString(strings.ToValidUTF8(cut(string(raw), maxInline), "�"))
	}
	var out strings.Builder
	colour(&out, b.Bytes())
	if cutOff {
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

// parses reads what an agent says: markdown without HTML.
var parses = goldmark.New(
	goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.TaskList),
	goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(tame{}, 100))),
)

// markdown shows what an agent says. HTML in it is left out, its images are links, and
// its links say nothing of where they were clicked.
func markdown(s string) template.HTML {
	s = plainText(s)
	if len(s) > maxInline {
		return template.HTML("<pre>" + template.HTMLEscapeString(cut(s, maxInline)) + "…</pre>") //nolint:gosec // escaped
	}
	var b bytes.Buffer
	if err := parses.Convert([]byte(s), &b); err != nil {
		return template.HTML("<pre>" + template.HTMLEscapeString(s) + "</pre>") //nolint:gosec // escaped
	}
	return template.HTML(b.String()) //nolint:gosec // without raw HTML; goldmark escapes texts and refuses dangerous links
}

// tame makes links of images, marks links, and shows HTML as the text that it is.
type tame struct{}

// Transform implements parser.ASTTransformer.
func (tame) Transform(doc *ast.Document, reader text.Reader, _ parser.Context) {
	var images, raw []ast.Node
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // it returns no error
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Image:
			images = append(images, n)
		case *ast.RawHTML, *ast.HTMLBlock:
			raw = append(raw, n)
		case *ast.Link:
			outside(n)
		case *ast.AutoLink:
			outside(n)
		case *ast.Heading: // the page has headings of its own
			n.Level = min(n.Level+3, 6)
		}
		return ast.WalkContinue, nil
	})
	for _, n := range images {
		asLink(n.(*ast.Image))
	}
	for _, n := range raw {
		asText(n, reader.Source())
	}
}

func outside(n ast.Node) {
	n.SetAttributeString("rel", []byte("noopener noreferrer nofollow"))
	n.SetAttributeString("target", []byte("_blank"))
}

// asLink puts a link to an image in its place.
func asLink(img *ast.Image) {
	link := ast.NewLink()
	link.Destination, link.Title = img.Destination, img.Title
	outside(link)
	for c := img.FirstChild(); c != nil; {
		next := c.NextSibling()
		link.AppendChild(link, c)
		c = next
	}
	if link.ChildCount() == 0 {
		link.AppendChild(link, ast.NewString([]byte("image")))
	}
	img.Parent().ReplaceChild(img.Parent(), img, link)
}

// asText puts the text of HTML in its place.
func asText(n ast.Node, source []byte) {
	var b bytes.Buffer
	var lines *text.Segments
	var in ast.Node
	if inline, ok := n.(*ast.RawHTML); ok {
		lines = inline.Segments
	} else {
		lines = n.Lines()
		in = ast.NewParagraph()
	}
	for i := range lines.Len() {
		at := lines.At(i)
		b.Write(at.Value(source))
	}
	if block, ok := n.(*ast.HTMLBlock); ok && block.HasClosure() {
		b.Write(block.ClosureLine.Value(source))
	}
	plain := ast.NewString(b.Bytes())
	if in == nil {
		n.Parent().ReplaceChild(n.Parent(), n, plain)
		return
	}
	in.AppendChild(in, plain)
	n.Parent().ReplaceChild(n.Parent(), n, in)
}
