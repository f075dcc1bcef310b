package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"

	"agentmesh/shared/auth"
)

// Inside is a way to a handler of this process, for http.Client: no socket, and a
// stream comes as it is written. Who asks is in the context (auth.Carry); nothing from
// outside can put it there.
func Inside(h http.Handler) http.RoundTripper { return inside{h} }

type inside struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper. The handler goes on until it ends, or its
// reader closes the body.
func (t inside) RoundTrip(req *http.Request) (*http.Response, error) {
	// What else the context of the page has, such as where its own router is, is not for
	// the router of the API.
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(req.Context(), cancel)
	who, ok := auth.Carried(req.Context())
	if ok {
		ctx = auth.Carry(ctx, who)
	}
	r := req.Clone(ctx)
	r.RequestURI = r.URL.RequestURI()
	r.RemoteAddr = "127.0.0.1:0"
	if ok && who.Addr.IsValid() {
		r.RemoteAddr = netip.AddrPortFrom(who.Addr, 0).String()
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, in := io.Pipe()
	w := &answer{header: http.Header{}, in: in, begun: make(chan struct{})}
	go func() {
		defer stop()
		defer cancel()
		defer func() {
			if p := recover(); p != nil { // also the deliberate abort of a broken answer
				w.begin(http.StatusInternalServerError)
				_ = in.CloseWithError(fmt.Errorf("the answer broke off: %v", p))
			}
		}()
		t.handler.ServeHTTP(w, r)
		w.begin(http.StatusOK)
		_ = in.Close()
	}()
	select {
	case <-w.begun:
	case <-ctx.Done():
		select {
		case <-w.begun: // it ended with its handler
		default:
			_ = body.CloseWithError(ctx.Err())
			return nil, context.Cause(req.Context())
		}
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &reading{body, cancel}, ContentLength: -1, Request: req,
	}, nil
}

// reading is the body of an answer; closing it ends the request.
type reading struct {
	*io.PipeReader
	end context.CancelFunc
}

// Close implements io.Closer.
func (b *reading) Close() error {
	b.end()
	return b.CloseWithError(errors.New("the reader has gone"))
}

// answer is what a handler writes.
type answer struct {
	header, sent http.Header
	in           *io.PipeWriter
	status       int
	once         sync.Once
	begun        chan struct{}
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status >= 200 { // the others are not the answer
		a.begin(status)
	}
}

func (a *answer) begin(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

// Write implements io.Writer.
func (a *answer) Write(b []byte) (int, error) {
	a.begin(http.StatusOK)
	return a.in.Write(b)
}

// Flush implements http.Flusher: nothing is held back.
func (a *answer) Flush() { a.begin(http.StatusOK) }
