package console

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// call is a request to the API, as programs send it.
type call struct {
	Method, Path string
	Body         json.RawMessage // nil: none
	Headers      [][2]string
	Command      string   // of the terminal client; empty: there is none
	Create       *created // nil: it makes no task
}

// snippet is a call in one language.
type snippet struct{ Name, Text string }

// base is where programs reach the API.
func (v *visit) base() string {
	if v.c.o.Callers != "" {
		return v.c.o.Callers
	}
	scheme := "http://"
	if secure(v.r) {
		scheme = "https://"
	}
	host := v.r.Host
	if strings.ContainsAny(host, " '\"\\$`\r\n<>") {
		host = "localhost"
	}
	return scheme + host
}

// snippets are a call as curl, in the terminal and in three languages.
func snippetsOf(v *visit, c call) []snippet {
	url, asks := v.base()+c.Path, v.me != nil && v.me.Auth != "off"
	all := []snippet{{"curl", c.curl(url, asks)}}
	if c.Command != "" {
		all = append(all, snippet{"CLI", c.Command})
	}
	if c.Create != nil {
		return append(all, c.clients(v.base(), asks)...)
	}
	return append(all, snippet{"Go", c.golang(url, asks)}, snippet{"Python", c.python(url, asks)}, snippet{"TypeScript", c.typescript(url, asks)})
}

// shell quotes a text for a shell.
func shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (c call) curl(url string, asks bool) string {
	b := &strings.Builder{}
	b.WriteString("curl -s " + shell(url))
	if c.Method != http.MethodGet && (c.Method != http.MethodPost || c.Body == nil) {
		b.WriteString(" -X " + c.Method)
	}
	if asks {
		b.WriteString(" \\\n  -H \"Authorization: Bearer $MESH_API_KEY\"")
	}
	for _, h := range c.Headers {
		b.WriteString(" \\\n  -H " + shell(h[0]+": "+h[1]))
	}
	if c.Body != nil {
		b.WriteString(" \\\n  -H 'Content-Type: application/json' \\\n  -d " + shell(string(c.Body)))
	}
	return b.String()
}

func (c call) golang(url string, asks bool) string {
	b := &strings.Builder{}
	body := "nil"
	if c.Body != nil {
		body = "strings.NewReader(" + strconv.Quote(string(c.Body)) + ")"
	}
	b.WriteString("req, _ := http.NewRequest(" + strconv.Quote(c.Method) + ", " + strconv.Quote(url) + ", " + body + ")\n")
	if c.Body != nil {
		b.WriteString("req.Header.Set(\"Content-Type\", \"application/json\")\n")
	}
	for _, h := range c.Headers {
		b.WriteString("req.Header.Set(" + strconv.Quote(h[0]) + ", " + strconv.Quote(h[1]) + ")\n")
	}
	if asks {
		b.WriteString("req.Header.Set(\"Authorization\", \"Bearer \"+os.Getenv(\"MESH_API_KEY\"))\n")
	}
	b.WriteString("resp, err := http.DefaultClient.Do(req)")
	return b.String()
}

func (c call) python(url string, asks bool) string {
	b := &strings.Builder{}
	if b.WriteString("import urllib.request"); asks {
		b.WriteString(", os")
	}
	b.WriteString("\n\nreq = urllib.request.Request(" + quotedJSON(url) + ", method=" + quotedJSON(c.Method))
	if c.Body != nil {
		b.WriteString(",\n    data=" + quotedJSON(string(c.Body)) + ".encode()")
	}
	b.WriteString(",\n    headers={")
	var all []string
	if c.Body != nil {
		all = append(all, `"Content-Type": "application/json"`)
	}
	for _, h := range c.Headers {
		all = append(all, quotedJSON(h[0])+": "+quotedJSON(h[1]))
	}
	if asks {
		all = append(all, `"Authorization": "Bearer " + os.environ["MESH_API_KEY"]`)
	}
	b.WriteString(strings.Join(all, ", ") + "})\nprint(urllib.request.urlopen(req).read().decode())")
	return b.String()
}

func (c call) typescript(url string, asks bool) string {
	b := &strings.Builder{}
	b.WriteString("const answer = await fetch(" + quotedJSON(url) + ", {\n  method: " + quotedJSON(c.Method) + ",\n  headers: { ")
	var all []string
	if c.Body != nil {
		all = append(all, `"Content-Type": "application/json"`)
	}
	for _, h := range c.Headers {
		all = append(all, quotedJSON(h[0])+": "+quotedJSON(h[1]))
	}
	if asks {
		all = append(all, "Authorization: `Bearer ${process.env.MESH_API_KEY}`")
	}
	b.WriteString(strings.Join(all, ", ") + " },\n")
	if c.Body != nil {
		b.WriteString("  body: " + quotedJSON(string(c.Body)) + ",\n")
	}
	b.WriteString("});\nconsole.log(await answer.json());")
	return b.String()
}

// quotedJSON quotes a text as JSON, Python and TypeScript take it.
func quotedJSON(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string
	return strings.TrimSpace(b.String())
}
