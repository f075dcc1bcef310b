package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/auth"
)

// visit is one request of a browser.
type visit struct {
	c   *Console
	w   http.ResponseWriter
	r   *http.Request
	api *client.Client
	me  *client.WhoAmI // nil: nobody has logged in, or it is not known

	heard heard // of the task that the page follows

	status int  // of the page; 0: 200
	secret bool // the page has a new secret: it is not compressed
}

// errNoPage is that of a path that leads nowhere.
var errNoPage = errors.New("there is no such page")

// errReadOnly is that of a change in a console that changes nothing.
var errReadOnly = errors.New("this console is read-only: --console on lets people change things here")

// ctx carries who asks to the API.
func (v *visit) ctx() context.Context { return v.r.Context() }

// q is a parameter of the URL.
func (v *visit) q(name string) string { return strings.TrimSpace(v.r.URL.Query().Get(name)) }

// id is the parameter of the path that names what the page is about.
func (v *visit) id() string { return v.r.PathValue("id") }

// form is a field of a form that was sent.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

// depthOf is the way from a page to the console's root.
func depthOf(path string) int { return max(strings.Count(path, "/")-1, 0) }

// root is the way from the page to the console's root, "./" or "../".
func (v *visit) root() string { return rootAt(depthOf(v.r.URL.Path)) }

func rootAt(depth int) string {
	if depth == 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// may reports whether the visitor has a scope. A page shows what may be tried; the API
// decides.
func (v *visit) may(scope string) bool {
	if v.me == nil {
		return false
	}
	own := auth.Scope(scope)
	return slices.Contains(v.me.Scopes, scope) || own != auth.Admin && slices.Contains(v.me.Scopes, string(auth.All))
}

// mayChange is may, in a console that changes things.
func (v *visit) mayChange(scope string) bool { return !v.readOnly() && v.may(scope) }

func (v *visit) readOnly() bool { return v.c.o.Console == ReadOnly }

// maxForm bounds what a form may send.
const maxForm = 4 << 20

// open serves what nobody needs to be known for.
func (c *Console) open(do func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		shown := c.credentials(r)
		v := &visit{c: c, w: w, r: r.WithContext(auth.Carry(r.Context(), shown)), api: c.o.API}
		if err := do(v); err != nil {
			v.fail(err)
		}
	})
}

// known serves whom the API knows, and leads others to the login.
func (c *Console) known(do func(*visit) error) http.Handler {
	return c.open(func(v *visit) (err error) {
		if v.me, err = v.api.WhoAmI(v.ctx()); err != nil {
			return err
		}
		return do(v)
	})
}

// action serves a form that changes something, and then leads back.
func (c *Console) action(do func(*visit) (to string, err error)) http.Handler {
	return c.known(func(v *visit) error {
		if v.readOnly() {
			v.status = http.StatusForbidden
			return errReadOnly
		}
		if err := v.r.ParseForm(); err != nil {
			v.status = http.StatusBadRequest
			return errors.New("the form is too large, or broken")
		}
		to, err := do(v)
		if err != nil || to == "" {
			return err
		}
		redirect(v.w, v.root()+to)
		return nil
	})
}

// credentials are what a browser shows: what its login is kept as, a certificate, and
// where it is.
func (c *Console) credentials(r *http.Request) (shown auth.Credentials) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		shown.Certs = r.TLS.VerifiedChains[0]
	}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		shown.Addr = at.Addr()
	}
	if carried, yes := auth.Carried(r.Context()); yes { // the gateway knows better, behind proxies
		shown.Addr = carried.Addr
	}
	if c.o.Sealer == nil {
		return shown
	}
	if kept, ok := c.openLogin(r); ok {
		kept.into(&shown)
	}
	return shown
}

// fail shows what went wrong: the login to those who are not known, else the refusal.
func (v *visit) fail(err error) {
	var p *client.Problem
	isProblem := errors.As(err, &p)
	switch {
	case isProblem && p.Status == http.StatusUnauthorized && v.c.o.Sealer != nil:
		if wantsStream(v.r) || v.r.Method != http.MethodGet {
			v.w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next := strings.TrimPrefix(v.r.URL.Path, "/") + queryOf(v.r)
		redirect(v.w, v.root()+"login?"+url.Values{"next": {next}}.Encode())
		return
	case isProblem:
		v.status = p.Status
	case errors.Is(err, errNoPage):
		v.status = http.StatusNotFound
	case errors.Is(err, context.Canceled):
		return // nobody reads it
	case v.status == 0:
		v.status = http.StatusBadGateway
	}
	if wantsStream(v.r) {
		v.w.WriteHeader(v.status)
		return
	}
	v.show(&page{Screen: "problem", Title: titleOf(err), Body: failure{Err: err.Error(), Problem: p, Lost: errors.Is(err, errNoPage)}})
}

// failure is what the page of an error shows.
type failure struct {
	Err     string
	Problem *client.Problem
	Lost    bool // there is no such page
}

func titleOf(err error) string {
	var p *client.Problem
	switch {
	case errors.As(err, &p):
		return p.Title
	case errors.Is(err, errNoPage):
		return "No such page"
	case errors.Is(err, errReadOnly):
		return "Read-only"
	}
	return "That did not work"
}

// notFound reports whether the API does not know something.
func notFound(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// refused reports whether the caller may not, or the gateway has no such route: the
// page then goes without.
func refused(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && (p.Status == http.StatusForbidden || p.Code == "not_found" || p.Status == http.StatusMethodNotAllowed)
}

// optional is what a page can do without: nil where the caller may not read it.
func optional[T any](v T, err error) (T, error) {
	if refused(err) {
		var none T
		return none, nil
	}
	return v, err
}

func wantsStream(r *http.Request) bool { return r.URL.Query().Get("live") != "" }

// age is how long ago something was, for the pages.
func (v *visit) now() time.Time { return v.c.now() }
