package gateway

import (
	"context"
	"strconv"
	"strings"

	"agentmesh/gateway/api"
	"agentmesh/shared/auth"
)

// index leads whoever comes to the root: a browser to the console, a program to what
// there is.
type index struct {
	version string
	all     func() []route // the others
	console func() bool    // one is mounted
}

func (h index) routes() []route {
	return []route{
		operation("GET", "/", auth.Public, "getIndex", "List what there is; a browser is led to the console", h.get),
	}
}

// indexed is the answer: what there is, or where the console is.
type indexed struct {
	Body     *api.Index `status:"200"`
	Console  bool       `status:"303" doc:"To the console: the request prefers text/html."`
	Location string     `header:"Location" on:"303" doc:"Where the console is, from here."`
	_        struct{}   `header:"Vary: Accept"`
}

// consolePath is where a console is mounted.
const consolePath = "/console"

// get is GET /.
func (h index) get(_ context.Context, in plain) (out indexed, err error) {
	on := h.console()
	below := strings.HasPrefix(in.r.URL.Path, prefixV1+"/") // where there is no console
	if on && prefersHTML(in.r.Header.Values("Accept")) {
		// From here, whatever is before it: the gateway may be below a path.
		to := strings.TrimPrefix(consolePath, "/") + "/"
		if below {
			to = "../" + to
		}
		return indexed{Console: true, Location: to}, nil
	}
	l := string(in.links())
	v := &api.Index{Name: "agentmesh", Version: h.version, Docs: l + "/docs", OpenAPI: l + "/openapi.json", Problems: l + "/problems", Routes: []api.IndexRoute{}}
	if on {
		if v.Console = l; below {
			v.Console = strings.TrimSuffix(l, prefixV1)
		}
		v.Console += consolePath + "/"
	}
	for _, r := range h.all() {
		v.Routes = append(v.Routes, api.IndexRoute{Method: r.method, Path: r.path, Scope: string(r.scope), Summary: r.summary})
	}
	return indexed{Body: v}, nil
}

// prefersHTML reports whether a request would rather have a page than JSON: it names
// text/html, and JSON not before it. */* names neither.
func prefersHTML(accept []string) bool {
	html, json := 0., 0.
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, rest, _ := strings.Cut(part, ";")
		q := 1.
		for param := range strings.SplitSeq(rest, ";") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
				if n, err := strconv.ParseFloat(text, 64); err == nil {
					q = n
				}
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/html", "application/xhtml+xml":
			html = max(html, q)
		case mediaJSON:
			json = max(json, q)
		}
	}
	return html > json
}
