package console

import (
	"bytes"
	"html/template"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

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
