package inspect

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// unknownTask is a task that no agent has: what is asked about it changes nothing.
const unknownTask = "inspect-00000000-0000-7000-8000-000000000000"

// refusal is an error of A2A, in either binding.
type refusal struct {
	ok      bool // it is one, of the right form
	code    int  // of JSON-RPC; of HTTP+JSON its status
	reasons []string
}

// wanted is what must be refused, and how.
type wanted struct {
	check, method, path, version string
	code, status                 int
	reason                       string
}

var refusals = []wanted{
	{"unknown task", "GetTask", "/tasks/" + unknownTask, "1.0", -32001, http.StatusNotFound, "TASK_NOT_FOUND"},
	{"unknown version", "GetTask", "/tasks/" + unknownTask, "99.0", -32009, http.StatusBadRequest, "VERSION_NOT_SUPPORTED"},
	{"unknown method", "InspectNothing", "", "1.0", -32601, 0, ""},
}

// ask asks an interface for what it must refuse.
func (t Target) ask(ctx context.Context, r *Report, i iface) {
	check := i.at + " " + i.binding
	if hostOf(i.url) != hostOf(t.URL) {
		r.skip(check, "it is on another host, %s, and was not asked: agents.yaml names such hosts in allow_hosts", hostOf(i.url))
		return
	}
	for _, w := range refusals {
		if i.binding != "JSONRPC" && w.path == "" {
			continue
		}
		if !t.refused(ctx, r, check+": "+w.check, i, w) {
			return
		}
	}
}

// refused asks for one thing, and reports whether to go on.
func (t Target) refused(ctx context.Context, r *Report, check string, i iface, w wanted) bool {
	header := http.Header{"Accept": {mediaJSON}, "A2a-Version": {w.version}}
	rpc := i.binding == "JSONRPC"
	var a answer
	var err error
	if rpc {
		params := map[string]any{"id": unknownTask}
		if i.tenant != "" {
			params["tenant"] = i.tenant
		}
		a, err = t.do(ctx, http.MethodPost, i.url, map[string]any{"jsonrpc": "2.0", "id": 1, "method": w.method, "params": params}, header)
	} else {
		a, err = t.do(ctx, http.MethodGet, within(i)+w.path, nil, header)
	}
	switch {
	case err != nil:
		r.fault(check, "it is not reached: %v", err)
		return false
	case a.secret() && len(t.Headers) > 0:
		r.fault(check, "it answers %s: the credentials are not taken", a)
		return false
	case a.secret() && !i.secured:
		r.fault(check, "it answers %s, and the card does not say that it asks for credentials", a)
		return false
	case a.secret():
		r.skip(check, "it asks for credentials, as the card says: give them with --header")
		return false
	}
	got := refusalOf(a, rpc)
	code := w.status
	if rpc {
		code = w.code
	}
	switch {
	case !got.ok:
		r.fault(check, "the answer (%s) is no error of %s: %s", a, i.binding, excerpt(a.body))
	case got.code != code:
		r.fault(check, "the error is %d, it must be %d", got.code, code)
	case w.reason != "" && !oneOf(w.reason, got.reasons...):
		r.warn(check, "the error has no ErrorInfo with the reason %s", w.reason)
	default:
		r.good(check, "it is refused with %d", got.code)
	}
	return got.ok
}

// within is the address of an interface, for the tenant that the card names.
func within(i iface) string {
	base := strings.TrimSuffix(i.url, "/")
	if i.tenant != "" {
		base += "/" + url.PathEscape(i.tenant)
	}
	return base
}

func refusalOf(a answer, rpc bool) (got refusal) {
	var e struct {
		JSONRPC string `json:"jsonrpc"`
		ID      any    `json:"id"`
		Error   *struct {
			Code    int                       `json:"code"`
			Status  string                    `json:"status"`
			Data    []struct{ Reason string } `json:"data"`
			Details []struct{ Reason string } `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(a.body, &e) != nil || e.Error == nil {
		return got
	}
	got.code = e.Error.Code
	if got.ok = e.JSONRPC == "2.0" && e.ID == 1.0; !rpc {
		got.ok = e.Error.Code == a.status && e.Error.Status != ""
	}
	for _, d := range append(e.Error.Data, e.Error.Details...) {
		got.reasons = append(got.reasons, d.Reason)
	}
	return got
}

// excerpt is the beginning of a body.
func excerpt(body []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), 200)]), "?")), " ")
	if s == "" {
		return "it is empty"
	}
	return s
}
