package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"agentmesh/shared/task"
)

// The client of a store that is away reads what to do, and the operator's log says what
// was not answered.
func TestTheLogSaysWhyTheStoreIsAway(t *testing.T) {
	var log bytes.Buffer
	f := &front{log: slog.New(slog.NewTextHandler(&log, nil))}
	answer := httptest.NewRecorder()
	err := (&route{method: "GET"}).adviseWhenAway(fmt.Errorf("read the registry: %w", task.ErrUnavailable))
	f.writeProblem(answer, httptest.NewRequest("GET", "/agents", nil), err)
	if !strings.Contains(log.String(), "read the registry") {
		t.Errorf("the log says %s", log.String())
	}
	if answer.Code != 503 || strings.Contains(answer.Body.String(), "registry") {
		t.Errorf("the client reads %d %s", answer.Code, answer.Body)
	}
}
