//go:build unix

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"agentmesh/shared/pause"
)

// Talk is one session and what was said in it.
type Talk struct {
	load *Load
	id   string
	said []string // what was answered, in order
	open string   // what was sent last, while its answer is unknown
}

// maxTexts stays below what a session may hold.
const maxTexts = 900

// Talk says one text after the other in a session of its own, until ctx is done.
func (l *Load) Talk(ctx context.Context, name string, rnd *rand.Rand) *Talk {
	t := &Talk{load: l}
	for t.id == "" {
		status, raw, err := l.do(ctx, rnd, "POST", "/sessions", name, `{"agent":"echo"}`)
		var got struct {
			SessionID string `json:"session_id"`
		}
		if err == nil && status == http.StatusCreated && json.Unmarshal(raw, &got) == nil {
			t.id = got.SessionID
		} else if !pause.For(ctx, 100*time.Millisecond) {
			return t
		}
	}
	for i := 0; i < maxTexts && pause.For(ctx, time.Duration(rnd.IntN(300))*time.Millisecond); i++ {
		t.open = fmt.Sprintf("%s-%d", name, i)
		if !t.say(ctx, rnd) {
			break
		}
	}
	return t
}

// say sends the open text until its reply has come, or ctx is done.
func (t *Talk) say(ctx context.Context, rnd *rand.Rand) bool {
	for {
		status, raw, err := t.load.do(ctx, rnd, "POST", "/sessions/"+t.id+"/messages", t.open, fmt.Sprintf(`{"text":%q}`, t.open), "Prefer", "wait=5")
		var got struct {
			Message *string         `json:"message"`
			Status  string          `json:"status"`
			Error   json.RawMessage `json:"error"`
		}
		switch {
		case err == nil && status == http.StatusOK && json.Unmarshal(raw, &got) == nil:
			if got.Message == nil || *got.Message != t.open {
				t.load.Ledger.fault("session %s: %q was answered by %s", t.id, t.open, raw)
			}
			t.said = append(t.said, t.open)
			t.open = ""
			return true
		case err == nil && status < 500 && status != http.StatusAccepted && status != http.StatusConflict && status != http.StatusTooManyRequests:
			t.load.Ledger.fault("session %s: %q: %d %s", t.id, t.open, status, raw)
			return false
		case !pause.For(ctx, 100*time.Millisecond):
			return false
		}
	}
}

// Check compares the transcript with what was said: each text once, in order,
// with its reply (I7).
func (t *Talk) Check(ctx context.Context, rnd *rand.Rand) error {
	if t.id == "" {
		return nil
	}
	if t.open != "" {
		t.say(ctx, rnd)
	}
	type message struct{ Role, Text string }
	status, raw, err := t.load.do(ctx, rnd, "GET", "/sessions/"+t.id+"/messages", "", "")
	var got struct{ Messages []message }
	if err != nil || status != http.StatusOK || json.Unmarshal(raw, &got) != nil {
		return fmt.Errorf("read session %s: %d %s %w", t.id, status, raw, err)
	}
	said := t.said
	for _, m := range got.Messages[min(1, len(got.Messages)):] { // after the greeting
		if len(said) == 0 || m.Text != said[0] {
			return fmt.Errorf("session %s: %s %q stands where %q was said", t.id, m.Role, m.Text, said[:min(1, len(said))])
		}
		if m.Role == "agent" {
			said = said[1:]
		}
	}
	if len(said) > 0 {
		return fmt.Errorf("session %s: %d texts from %q on are not in the transcript", t.id, len(said), said[0])
	}
	return nil
}
