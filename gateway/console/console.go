// Package console is the web console of a mesh: pages by which a person sees,
// understands and steers it, for any browser and below any path.
//
// It is a client of the API and nothing else: it shows what the caller of the page may
// read, and changes what that caller may change. It promises that what agents,
// receivers and clients have written reaches a page as text only, that every page works
// without JavaScript but for its updates, and that nothing is fetched from elsewhere.
package console

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"agentmesh/gateway/client"
)

// Config of a console.
type Config struct {
	Console      string `flag:"console" env:"MESH_CONSOLE" help:"the web console of the gateway at /console: on, off, or read-only"`
	HidePayloads bool   `flag:"hide-payloads" env:"MESH_HIDE_PAYLOADS" help:"the console shows no inputs, results, output, messages and payloads; the API does"`
	// Inbox is the URL of the receiver of callbacks for development; empty: there is none.
	Inbox string
	// SignIn signs people in at an OpenID Connect issuer; nil: nobody does.
	SignIn SignIn
}

// SignIn has people sign in elsewhere. kept is what a browser keeps meanwhile, sealed.
type SignIn interface {
	Begin(redirect string) (to string, kept []byte, err error)
	// Finish returns the tokens that may say who it is: the API is asked.
	Finish(ctx context.Context, kept []byte, came url.Values) (tokens []string, err error)
}

// The ways to have a console.
const (
	On       = "on"
	Off      = "off"
	ReadOnly = "read-only"
)

// Default is the configuration without settings.
func Default() Config { return Config{Console: On} }

// Validate names the first setting that is out of its range.
func (c Config) Validate() error {
	switch c.Console {
	case On, Off, ReadOnly:
		return nil
	}
	return fmt.Errorf("console is %q, allowed are on, off and read-only", c.Console)
}

// Sealer seals what a browser keeps, so that nobody reads or changes it there.
type Sealer interface {
	SealLogin(login []byte) []byte
	OpenLogin(sealed []byte) ([]byte, error)
}

// Options of a console.
type Options struct {
	Config
	// API is the mesh that is shown. It carries who looks at a page by auth.Carry.
	API *client.Client
	// Sealer seals what a browser keeps of a login; nil: nobody logs in, the API is
	// asked with what API itself shows.
	Sealer Sealer
	// Origins are the sites by which browsers know the console beside its host, such as
	// https://mesh.example.com.
	Origins []string
	// Callers is where programs reach the API, for the calls that are shown; empty: by
	// the host of the page.
	Callers string
	Log     *slog.Logger
}

// Path is where the console is mounted.
const Path = "/console"

// Console serves the pages. It is a handler of the paths at and below Path.
type Console struct {
	o       Options
	handler http.Handler
	closing context.Context // done when streams should end
	close   context.CancelFunc
	now     func() time.Time
	pace    time.Duration // between two changes of a page that is followed
}

// New makes a console.
func New(o Options) (*Console, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Console{o: o, now: time.Now, pace: 250 * time.Millisecond}
	c.closing, c.close = context.WithCancel(context.Background())
	cross := http.NewCrossOriginProtection()
	for _, origin := range o.Origins {
		if err := cross.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("console: trust %s: %w", origin, err)
		}
	}
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "The request comes from a page of another site; open the console itself, and try there.", http.StatusForbidden)
	}))
	c.handler = headers(cross.Handler(http.StripPrefix(Path, c.routes())))
	return c, nil
}

// Close ends the streams of open pages.
func (c *Console) Close() { c.close() }

// Run ends the streams of open pages when ctx is done.
func (c *Console) Run(ctx context.Context) error {
	<-ctx.Done()
	c.close()
	return nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// policy is what a page may load and do: nothing but what the console itself serves.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers are those of every answer.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// routes are the pages, below Path.
func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/", serveAsset)
	mux.Handle("GET /{$}", c.page(overviewScreen))
	for _, s := range screens() {
		mux.Handle("GET "+s.path, c.page(s))
	}
	for path, do := range actions() {
		mux.Handle("POST "+path, c.action(do))
	}
	for path, do := range map[string]func(*visit) error{"GET /login": loginPage, "POST /login": login, "POST /logout": logout, "GET /signin": signIn, "GET /signed-in": signedIn, "POST /theme": setTheme, "POST /keys": setKeys} {
		mux.Handle(path, c.open(do))
	}
	for path, do := range answers() {
		mux.Handle("GET "+path, c.known(do))
	}
	mux.Handle("/", c.known(func(*visit) error { return errNoPage }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "" { // relative links need the slash
			redirect(w, strings.TrimPrefix(Path, "/")+"/"+queryOf(r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// queryOf is the query of a request, with its mark.
func queryOf(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + r.URL.RawQuery
}

// redirect leads a browser to a URL that is relative to that of the request: what is
// in front of the console in the path is not known here.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
