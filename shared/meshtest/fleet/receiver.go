//go:build unix

package fleet

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/signature"
)

// Receiver is an endpoint of webhooks and callbacks that enters what it gets into
// a ledger. It refuses some once, to be asked again.
type Receiver struct {
	*httptest.Server

	ledger *Ledger
	mu     sync.Mutex
	key    signature.Secret
	rnd    *rand.Rand
	known  map[string]bool // webhook-ids that have come before
}

// NewReceiver listens on loopback.
func NewReceiver(l *Ledger, rnd *rand.Rand) *Receiver {
	r := &Receiver{ledger: l, rnd: rnd, known: map[string]bool{}}
	r.Server = httptest.NewServer(r)
	return r
}

// Trust sets the secret of the webhook.
func (r *Receiver) Trust(key signature.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key = key
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	id := req.Header.Get("webhook-id")
	key, refuse := r.key, r.rnd.IntN(20) == 0 && !r.known[id]
	r.known[id] = true
	r.mu.Unlock()
	if err != nil || refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	hook := req.URL.Path == "/webhook"
	if hook {
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{key}}).Verify(req.Header, body, time.Now()); err != nil {
			r.ledger.fault("delivery %s: %v", id, err)
		}
	}
	var e struct {
		Type     string `json:"type"`
		TaskID   string `json:"task_id"`
		ActionID string `json:"action_id"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		r.ledger.fault("delivery %s: %v", id, err)
	}
	_, what, _ := strings.Cut(e.Type, ".")
	taskID := e.TaskID
	if taskID == "" {
		taskID = e.ActionID
	}
	r.ledger.received(id, teller{taskID, !hook}, body, what)
	w.WriteHeader(http.StatusNoContent)
}
