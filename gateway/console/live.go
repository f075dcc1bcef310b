package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/shared/pause"
)

// screen is one page of the console.
type screen struct {
	name  string // of its template
	path  string // below Path
	title string
	nav   string // the name of the screen that the menu marks; empty: its own
	chart bool

	load  func(*visit) (any, error)
	named func(body any) string // a title that the body has; nil: title

	live  []string // the parts that are kept up to date: names of templates, and ids of what they are in
	every time.Duration
	// hears calls wake when something may have changed, until ctx ends; nil: every does.
	hears func(ctx context.Context, v *visit, wake func())
	// pours sends what the stream of the page has by itself; nil: the parts, as they change.
	pours func(ctx context.Context, v *visit, out stream) error
	// over reports whether nothing will change any more; nil: never.
	over func(body any) bool
}

// page serves a screen, and the stream that keeps it up to date.
func (c *Console) page(s screen) http.Handler {
	return c.known(func(v *visit) error {
		if len(s.live) > 0 && wantsStream(v.r) {
			return v.follow(s)
		}
		body, err := s.load(v)
		if err != nil {
			return err
		}
		p := s.page(v, body)
		if len(s.live) > 0 && (s.over == nil || !s.over(body)) {
			p.Live = with(v.r.URL.Query(), "live", "1")
			if l, ok := body.(interface{ liveQuery(string) string }); ok {
				p.Live = l.liveQuery(p.Live)
			}
		}
		v.show(p)
		return nil
	})
}

func (s screen) page(_ *visit, body any) *page {
	p := &page{Screen: s.name, Title: s.title, Nav: s.nav, Body: body, Chart: s.chart}
	if p.Nav == "" {
		p.Nav = s.name
	}
	if s.named != nil {
		p.Title = s.named(body)
	}
	return p
}

const (
	heartbeat = 15 * time.Second
	slow      = 10 * time.Second // within which an event must be gone
	lookAgain = 2 * time.Second  // whether the visitor is still known
)

// stream writes server-sent events to a browser.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newStream(w http.ResponseWriter) stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return stream{w, http.NewResponseController(w)}
}

// send writes one event; the name is empty for what is swapped into the page. A line
// break of any kind in the data would end its line, so each begins a new one.
func (s stream) send(name, id string, data []byte) error {
	var b bytes.Buffer
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("&#13;"))
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return s.write(b.Bytes())
}

func (s stream) write(b []byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(slow)) // not every writer has one
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}

// partial is a part of a page, and how it gets there.
func partial(target, swap string, html []byte) []byte {
	return append(append([]byte(`<hx-partial hx-target="#`+target+`" hx-swap="`+swap+`">`), html...), "</hx-partial>"...)
}

// follow keeps the parts of a page up to date until the browser, the console or what
// it shows ends. Each part is sent when it has changed: a browser that comes again gets
// them as they are, so that nothing is missed and nothing comes twice.
func (v *visit) follow(s screen) error {
	ctx, cancel := context.WithCancel(v.r.Context())
	defer cancel()
	defer context.AfterFunc(v.c.closing, cancel)()
	v.r = v.r.WithContext(ctx)
	body, err := s.load(v)
	if err != nil {
		return err
	}
	out := newStream(v.w)
	if s.pours != nil {
		v.pour(ctx, cancel, s, out)
		return nil
	}
	changed := make(chan struct{}, 1)
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer cancel()
	if s.hears != nil {
		hearing.Go(func() {
			s.hears(ctx, v, func() {
				select {
				case changed <- struct{}{}:
				default:
				}
			})
		})
	}
	f := &following{v: v, screen: s, out: out, sent: map[string][32]byte{}, known: time.Now(), spoke: time.Now()}
	for {
		if over, err := f.tell(body); err != nil || over {
			return nil // the browser has gone, or has all
		}
		if !f.wait(ctx, changed) {
			return nil
		}
		if body, err = s.load(v); err != nil && ctx.Err() == nil {
			if _, err = v.api.WhoAmI(ctx); err != nil {
				return nil // the browser comes again, and is told
			}
			body = nil
		}
	}
}

// pour has a screen send by itself, for as long as the visitor is known.
func (v *visit) pour(ctx context.Context, end context.CancelFunc, s screen, out stream) {
	var looks sync.WaitGroup
	defer looks.Wait()
	defer end()
	looks.Go(func() {
		for pause.For(ctx, lookAgain) {
			if _, err := v.api.WhoAmI(ctx); err != nil {
				end()
			}
		}
	})
	if out.write([]byte(": begun\n\n")) != nil {
		return
	}
	if err := s.pours(ctx, v, out); err != nil && ctx.Err() == nil {
		v.c.o.Log.Debug("a stream of a page ended", "screen", s.name, "error", err)
	}
}

// following is one browser that follows a page.
type following struct {
	v      *visit
	screen screen
	out    stream
	sent   map[string][32]byte
	known  time.Time // the visitor was known then
	spoke  time.Time
}

// tell sends the parts that differ from what was sent, and whether these are the last.
// A nil body tells nothing.
func (f *following) tell(body any) (over bool, err error) {
	if body == nil {
		return false, nil
	}
	p := f.screen.page(f.v, body)
	f.v.fill(p)
	p.Live = with(f.v.r.URL.Query(), "live", "1") // its lamp stays where it is
	var all []byte
	for _, name := range f.screen.live {
		html, err := f.v.region(p, name)
		if err != nil {
			f.v.c.o.Log.Error("a part of a page was not rendered", "part", name, "error", err)
			return false, err
		}
		if sum := sha256.Sum256(html); f.sent[name] != sum {
			f.sent[name] = sum
			all = append(all, partial(name, "innerMorph", html)...)
		}
	}
	if len(all) > 0 {
		f.spoke = time.Now()
		if err := f.out.send("", "", all); err != nil {
			return false, err
		}
	}
	if f.screen.over != nil && f.screen.over(body) {
		return true, f.out.send("close", "", []byte("over"))
	}
	return false, nil
}

// wait waits until something may have changed, at least for the pace of the console;
// false: the stream is over. The visitor must be known all the while.
func (f *following) wait(ctx context.Context, changed <-chan struct{}) bool {
	pace := time.NewTimer(f.v.c.pace)
	defer pace.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pace.C:
	}
	tick := time.NewTimer(f.screen.every)
	defer tick.Stop()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		if time.Since(f.known) >= lookAgain {
			if _, err := f.v.api.WhoAmI(ctx); err != nil {
				return false
			}
			f.known = time.Now()
		}
		if time.Since(f.spoke) >= heartbeat {
			if f.out.write([]byte(": heartbeat\n\n")) != nil {
				return false
			}
			f.spoke = time.Now()
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
			return true
		case <-tick.C:
			return true
		case <-look.C:
		}
	}
}

// hearsTasks wakes a page with each event of a task of the mesh, where the visitor may
// hear them.
func hearsTasks(ctx context.Context, v *visit, wake func()) {
	if !v.may("events:read") {
		return
	}
	for _, err := range v.api.MeshEvents(ctx, client.MeshFilter{}) {
		if err != nil {
			return // every tick looks, too
		}
		wake()
	}
}
