package gateway

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// prefixV1 is where the routes are mounted a second time.
const prefixV1 = "/v1"

func unversioned(path string) string {
	if rest, ok := strings.CutPrefix(path, prefixV1); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// answer is the writer of every answer. A reader that takes nothing for
// slowReader is cut, whatever it reads; links get the prefix by which the request
// came.
type answer struct {
	http.ResponseWriter
	control http.ResponseController
	base    string // before the path of each link
	head    bool   // there is no body
	wrote   bool
}

// piece is what a reader must take within slowReader.
const piece = 16 << 10

// answering wraps the writer of each request, gives the answer its X-Request-Id, and
// has HEAD routed as GET.
func (f *front) answering(next http.Handler) http.Handler {
	public := strings.TrimSuffix(f.cfg.PublicURL, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, control: *http.NewResponseController(w), base: public}
		if strings.HasPrefix(r.URL.Path, prefixV1+"/") {
			a.base += prefixV1
		}
		if r.Method == http.MethodHead {
			a.head, chi.RouteContext(r.Context()).RouteMethod = true, http.MethodGet
		}
		putHeaders(a.Header(), "X-Content-Type-Options", "nosniff", // what agents say is never a page
			"X-Request-Id", requestID(r))
		next.ServeHTTP(a, r)
	})
}

// putHeaders sets headers, by pairs of a canonical name and a value.
func putHeaders(h http.Header, pairs ...string) {
	values := make([]string, 0, len(pairs)/2) // in one piece
	for i := 0; i < len(pairs); i += 2 {
		values = append(values, pairs[i+1])
		n := len(values)
		h[pairs[i]] = values[n-1 : n : n]
	}
}

const varyHeader = "Vary"

// varies says that an answer depends on a header of the request, besides those that
// are named already.
func varies(h http.Header, on string) {
	if !slices.Contains(h[varyHeader], on) {
		h.Add(varyHeader, on)
	}
}

// Unwrap serves http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if h := a.Header(); a.base != "" && !a.wrote {
		if to := h.Get("Location"); strings.HasPrefix(to, "/") {
			h.Set("Location", a.base+to)
		}
		if link := h.Get("Link"); strings.HasPrefix(link, "</") {
			h.Set("Link", "<"+a.base+unversioned(link[1:]))
		}
	}
	a.wrote = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (n int, err error) {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	if a.head { // a stream ends with its header
		return 0, http.ErrBodyNotAllowed
	}
	for {
		part := b[n:min(n+piece, len(b))]
		_ = a.control.SetWriteDeadline(time.Now().Add(slowReader)) // only a server's connection has deadlines
		m, err := a.ResponseWriter.Write(part)
		if n += m; err != nil || n == len(b) {
			return n, err
		}
	}
}

// controlOf is the control of the connection below what middleware has put on a writer.
func controlOf(w http.ResponseWriter) *http.ResponseController {
	if a := answerOf(w); a != nil {
		return &a.control
	}
	return http.NewResponseController(w)
}

// answerOf finds the answer below what middleware has put on it.
func answerOf(w http.ResponseWriter) *answer {
	for {
		switch x := w.(type) {
		case *answer:
			return x
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return nil
		}
	}
}
