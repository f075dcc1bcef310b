//go:build unix

package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"agentmesh/shared/pause"
)

// Events is a reader of all events that comes back where it stopped.
type Events struct {
	mu   sync.Mutex
	seen map[string]int // by task and type
	cuts int            // times that the stream ended
}

// Follow reads GET /events of a gateway until ctx is done.
func (e *Events) Follow(ctx context.Context, gateway string) {
	e.seen = map[string]int{}
	for last := "0"; ; {
		err := e.read(ctx, gateway, &last)
		if !pause.For(ctx, 100*time.Millisecond) {
			return
		}
		e.mu.Lock()
		if e.cuts++; err != nil {
			e.seen["error "+err.Error()]++
		}
		e.mu.Unlock()
	}
}

func (e *Events) read(ctx context.Context, gateway string, last *string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/events", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Last-Event-ID", *last)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil // the gateway is away
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /events: %s", resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	kind, id := "", ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			e.note(kind, value)
		case "": // an event is complete
			if id != "" {
				*last, id = id, ""
			}
		}
	}
	return nil
}

func (e *Events) note(kind, data string) {
	var v struct {
		TaskID    string          `json:"task_id"`
		ActionID  string          `json:"action_id"`
		Attempt   int             `json:"attempt"`
		Milestone json.RawMessage `json:"milestone"`
	}
	_ = json.Unmarshal([]byte(data), &v) // an event that does not parse is one of no task
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[fmt.Sprint(kind, " ", v.TaskID, v.ActionID, " ", v.Attempt, " ", string(v.Milestone))]++
}

// Report is how many events came, how many of them more than once, and how often
// the stream ended; the first few that came more than once.
func (e *Events) Report() (all, twice, cuts int, first []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for what, n := range e.seen {
		all++
		if n > 1 {
			if twice++; len(first) < 5 {
				first = append(first, fmt.Sprint(what, " ", n, " times"))
			}
		}
	}
	return all, twice, e.cuts, first
}
