package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// An error has one exit status, however it is wrapped, and what was explained once
// stays as it was said.
func TestAnErrorHasOneExitStatus(t *testing.T) {
	f := &clientFlags{gateway: "http://mesh"}
	late := &ExitError{ExitTimedOut, errors.New("it goes on: mesh task watch tsk_1")}
	for _, tt := range []struct {
		err  error
		code int
		says string
	}{
		{nil, ExitOK, ""},
		{errors.New("odd"), ExitFailed, "get task: odd"},
		{&client.Problem{Problem: api.Problem{Status: 404, Code: "task_not_found", Title: "none"}}, ExitFailed, "get task: "},
		{&client.Problem{Problem: api.Problem{Status: 401, Code: "unauthenticated", Title: "none"}}, ExitFailed, "--api-key"},
		{fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), ExitFailed, "no gateway at http://mesh; is `mesh up` running?"},
		{fmt.Errorf("read: %w", context.Canceled), exitInterrupted, ""},
		{Usage("limit is %d", 0), ExitUsage, "limit is 0"},
		{Misuse(errors.New("no such file")), ExitUsage, "no such file"},
		{late, ExitTimedOut, late.Error()},
		{fmt.Errorf("wrapped: %w", late), ExitTimedOut, "wrapped: it goes on"},
		{f.explain("wait for task tsk_1", errors.New("odd")), ExitFailed, "wait for task tsk_1: odd"},
		{failedIf(true), ExitFailed, ""},
		{failedIf(false), ExitOK, ""},
	} {
		err := f.explain("get task", tt.err)
		if ExitCode(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: exit %d, %v; want %d with %q", tt.err, ExitCode(err), err, tt.code, tt.says)
		}
		if tt.code != ExitOK && tt.says == "" && err.Error() != "" {
			t.Errorf("%v says %q, there was nothing more to say", tt.err, err)
		}
	}
}
