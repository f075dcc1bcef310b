package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without sockets, for fake time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial() net.Conn {
	here, there := net.Pipe()
	p <- there
	return here
}

// serveOn runs a gateway's server with a handler on a listener.
func serveOn(t *testing.T, cfg Config, l net.Listener, h http.Handler) *Gateway {
	t.Helper()
	g := assemble(cfg, nil, slog.New(slog.DiscardHandler))
	g.listener, g.front.bodies.max = l, cfg.MaxBodies
	if h != nil {
		g.handler = g.front.answering(h)
	}
	srv, door := g.server()
	done := make(chan struct{})
	go func() { defer close(done); _ = serve(srv, door) }()
	t.Cleanup(func() { _ = srv.Close(); <-done; door.telling.Wait() })
	return g
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ask writes a request and reads the answer.
func ask(t *testing.T, c net.Conn, request string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return read(t, c)
}

func read(t *testing.T, c net.Conn) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s, and a broken body: %v", resp.Status, err)
	}
	return resp, string(body)
}

func TestConnectionsBeyondTheLimitAreToldSo(t *testing.T) {
	cfg, l := Default(), loopback(t)
	cfg.MaxConns = 4
	reached, release := make(chan bool), make(chan bool)
	serveOn(t, cfg, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			reached <- true
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var busy []net.Conn
	for range cfg.MaxConns {
		c := dial()
		_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
		<-reached
		busy = append(busy, c)
	}
	resp, body := ask(t, dial(), "GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.HasPrefix(body, `{"type":"/problems/too_many_connections"`) || !strings.Contains(body, `"status":503`) {
		t.Errorf("one too many: %s %s", resp.Status, body)
	}
	close(release)
	for _, c := range busy {
		if resp, body := read(t, c); resp.StatusCode != 200 {
			t.Errorf("%s %s", resp.Status, body)
		}
	}
	// Those that are idle now make room.
	for deadline := time.Now().Add(10 * time.Second); ; {
		if resp, _ := ask(t, dial(), "GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"); resp.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("idle connections keep others out")
		}
	}
}

// An answer that comes before the request is nobody's: http.Client reports a broken
// connection then.
func TestAConnectionTooManyIsAnsweredWhenItHasBegunItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, l := Default(), make(pipes)
		cfg.MaxConns = 1
		reached, release := make(chan bool), make(chan bool)
		serveOn(t, cfg, l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			reached <- true
			<-release
		}))
		defer close(l)
		busy := l.dial()
		go func() { _, _ = io.WriteString(busy, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		<-reached
		for _, says := range []string{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""} {
			c := l.dial()
			heard := make(chan bool, 1)
			in := bufio.NewReader(c)
			go func() { _, err := in.Peek(1); heard <- err == nil }()
			synctest.Wait()
			select {
			case <-heard:
				t.Fatal("answered before the request")
			default:
			}
			begin := time.Now()
			if says != "" {
				go func() { _, _ = io.WriteString(c, says) }()
			}
			if !<-heard {
				t.Fatal("no answer")
			}
			if d := time.Since(begin); (d > 0) != (says == "") || d > tellWithin {
				t.Errorf("%q is answered after %v", says, d)
			}
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%q: %v", says, err)
			}
			_ = c.Close()
		}
		close(release)
		_ = busy.Close()
	})
}

func TestTheLimitLeavesDescriptorsForTheStore(t *testing.T) {
	if n := connectionLimit(7); n != 7 {
		t.Errorf("configured 7: %d", n)
	}
	if n := connectionLimit(0); n < 16 || n > 100_000 {
		t.Errorf("derived: %d", n)
	}
}

func TestAClientThatOnlyListensGetsItsAnswer(t *testing.T) {
	l := loopback(t)
	reached, gone := make(chan bool, 2), make(chan bool, 2)
	serveOn(t, Default(), l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- true
		select {
		case <-r.Context().Done():
			gone <- true
		case <-time.After(200 * time.Millisecond):
			_, _ = io.WriteString(w, "here you are")
		}
	}))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
	} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		<-reached
		if resp, body := read(t, c); resp.StatusCode != 200 || body != "here you are" || len(gone) > 0 {
			t.Errorf("%.4s: %s %q", request, resp.Status, body)
		}
		_ = c.Close()
	}
}

// A refusal that nobody is there to read ends the connection: a 200 without a
// body would be read as an answer.
func TestSilenceIsNoAnswer(t *testing.T) {
	l := loopback(t)
	g := assemble(Default(), nil, slog.New(slog.DiscardHandler))
	g.listener = l
	g.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		g.front.writeProblem(w, r, errors.New("canceled"))
	})
	srv, door := g.server()
	door.patience = time.Millisecond
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(door) }()
	defer func() { _ = srv.Close(); <-done }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("a request that was given up is answered with %q", got)
	}
	_ = c.Close()
}

func TestAnOversizedBodyIsNotAskedFor(t *testing.T) {
	l := loopback(t)
	serveOn(t, Default(), l, nil)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	resp, body := ask(t, c, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 40000000\r\n\r\n")
	if resp.StatusCode != 413 || !strings.Contains(body, "body_too_large") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestAnOversizedBodyThatIsSentIsRefusedReadably(t *testing.T) {
	l := loopback(t)
	serveOn(t, Default(), l, nil)
	for _, head := range []string{"Content-Length: 36000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2255100\r\n"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		resp, body := ask(t, c, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+head+strings.Repeat(" ", 36_000_000)+"\r\n0\r\n\r\n")
		if resp.StatusCode != 413 || !strings.Contains(body, "body_too_large") {
			t.Errorf("%s %s", resp.Status, body)
		}
		_ = c.Close()
	}
}

func TestABodyThatStallsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := make(pipes)
		serveOn(t, Default(), p, nil)
		defer close(p)
		c := p.dial()
		head := "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
		_, _ = io.WriteString(c, head)
		for range 10 { // slow is not stalled
			_, _ = io.WriteString(c, "{")
			time.Sleep(50 * time.Second)
		}
		began := time.Now()
		resp, body := read(t, c)
		if took := time.Since(began); resp.StatusCode != 408 || !strings.Contains(body, "body_stalled") || took > bodyStall {
			t.Errorf("%s %s after %v", resp.Status, body, took)
		}
		// A body that is refused before it is read must not be waited for either.
		c = p.dial()
		_, _ = io.WriteString(c, strings.Replace(head, "application/json", "text/plain", 1))
		began = time.Now()
		if resp, _ := read(t, c); resp.StatusCode != 415 || time.Since(began) > bodyStall {
			t.Errorf("%s after %v", resp.Status, time.Since(began))
		}
	})
}

func TestAReaderThatTakesNothingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ended := make(pipes), make(chan error, 1)
		serveOn(t, Default(), p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := w.Write(make([]byte, 30<<20))
			ended <- err
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}))
		defer close(p)
		slow := p.dial()
		began := time.Now()
		_, _ = io.WriteString(slow, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if err := <-ended; err == nil || time.Since(began) > time.Minute {
			t.Errorf("a reader that takes nothing: %v after %v", err, time.Since(began))
		}
		_ = slow.Close()
		steady := p.dial() // a piece in each window is progress
		go func() {
			_, _ = io.WriteString(steady, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			for buf := make([]byte, 256<<10); ; time.Sleep(slowReader / 32) {
				if _, err := io.ReadFull(steady, buf); err != nil {
					return
				}
			}
		}()
		if err := <-ended; err != nil {
			t.Errorf("a slow reader that goes on: %v", err)
		}
		_ = steady.Close()
	})
}

func TestBodiesTogetherKeepWithinTheirBudget(t *testing.T) {
	cfg := Default()
	cfg.MaxBodies = 1 << 20
	l := loopback(t)
	g := serveOn(t, cfg, l, nil)
	dial := func(length int) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprintf(c, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", length)
		return c
	}
	for range 50 { // announced costs nothing
		_, _ = io.WriteString(dial(32<<20), "{")
	}
	big := dial(2 << 20)
	_, _ = io.WriteString(big, strings.Repeat(" ", 1<<20))
	for deadline := time.Now().Add(10 * time.Second); g.front.bodies.used.Load() < 1<<20-smallBody; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are counted", g.front.bodies.used.Load())
		}
	}
	// All that a client sends is taken before the refusal, so that it can be read.
	resp, body := ask(t, dial(24<<20), strings.Repeat(" ", 24<<20))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "too_many_bodies") {
		t.Errorf("over the budget: %s %s", resp.Status, body)
	}
	if resp, _ := ask(t, dial(2), "[]"); resp.StatusCode != 400 {
		t.Errorf("a small body beside large ones: %s", resp.Status)
	}
	_ = big.Close()
	for deadline := time.Now().Add(10 * time.Second); g.front.bodies.used.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are never given back", g.front.bodies.used.Load())
		}
	}
}
