package inbox_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentmesh/gateway/client"
	"agentmesh/services/mesh/inbox"
	"agentmesh/shared/signature"
)

// What comes is kept with the key that has signed it, and answered as was chosen.
func TestTheInboxKeepsWhatComesAndAnswersAsToldTo(t *testing.T) {
	secret := signature.NewSecret()
	b := inbox.New(func(context.Context) []inbox.Key {
		return []inbox.Key{{Name: "other", Verify: signature.NewSecret()}, {Name: "callbacks", Verify: secret}}
	})
	h, err := b.Handler()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string, headers http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1:8091"+path, strings.NewReader(body))
		for name, values := range headers {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	signed := http.Header{}
	if err := signature.Sign(signed, "dlv_1", time.Now(), []byte("{}"), secret); err != nil {
		t.Fatal(err)
	}
	if w := ask("POST", "/mine?x=1", "{}", signed); w.Code != 200 {
		t.Errorf("answered %d", w.Code)
	}
	if w := ask("PUT", inbox.API+"/answer", `{"status":503,"delay":"1ms"}`, nil); w.Code != 200 {
		t.Errorf("answer: %d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/mine", "changed", signed); w.Code != 503 {
		t.Errorf("answered %d", w.Code)
	}
	for _, body := range []string{`{"status":99}`, `{"status":200,"delay":"1h"}`, `x`} {
		if w := ask("PUT", inbox.API+"/answer", body, nil); w.Code != 422 {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
	read := func() (c client.InboxContents) {
		if err := json.Unmarshal(ask("GET", inbox.API, "", nil).Body.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := read()
	if len(c.Requests) != 2 || c.Requests[1].SignedBy != "callbacks" || c.Requests[1].Path != "/mine?x=1" || c.Requests[1].Body != "{}" || c.Requests[1].Status != 200 ||
		c.Requests[0].SignedBy != "" || c.Requests[0].Refused == "" || c.Requests[0].Status != 503 || c.Answer.Status != 503 {
		t.Errorf("%+v", c)
	}
	for range 150 {
		ask("POST", "/", "", nil)
	}
	if c := read(); len(c.Requests) != 100 || c.Requests[0].N != 152 {
		t.Errorf("%d are kept, the newest is %d", len(c.Requests), c.Requests[0].N)
	}
	if w := ask("DELETE", inbox.API, "", http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}); w.Code != 403 {
		t.Errorf("a page of another site: %d", w.Code)
	}
	if w := ask("DELETE", inbox.API, "", nil); w.Code != 204 || len(read().Requests) != 0 {
		t.Errorf("cleared: %d, %+v", w.Code, read())
	}
}
