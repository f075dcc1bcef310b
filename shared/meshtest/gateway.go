package meshtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"agentmesh/gateway/client"
	"agentmesh/worker/agent"
)

// Says is a handler that always answers text.
func Says(text string) agent.Handler {
	return func(context.Context, *agent.Job) (any, error) { return text, nil }
}

// Code of a problem.
func Code(t *testing.T, w interface{ Result() *http.Response }) string {
	t.Helper()
	return Decode[client.Problem](t, w.Result().Body).Code
}

// Problem reads an answer that must be a problem.
func Problem(t *testing.T, w *httptest.ResponseRecorder) client.Problem {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q, body %s", ct, Clipped(w.Body.Bytes()))
	}
	return Decode[client.Problem](t, w.Body)
}
