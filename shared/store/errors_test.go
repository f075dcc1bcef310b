package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
)

// An error of a store in trouble is a 503 at the gateway and a wait at the
// worker, never a fault of the request; and a request that no repeat makes better
// is never a wait.
func TestEveryTroubleOfTheStoreHasAName(t *testing.T) {
	api := func(status int, code jetstream.ErrorCode, text string) error {
		return fmt.Errorf("nats: %w", &jetstream.APIError{Code: status, ErrorCode: code, Description: text})
	}
	for _, tt := range []struct {
		err  error
		want error // nil: as it is
	}{
		{api(400, 10071, "wrong last sequence: 7"), task.ErrConflict},
		{api(400, 10164, "wrong last sequence"), task.ErrUnavailable},
		{api(409, 10158, "duplicate message id is in process"), task.ErrUnavailable},
		{api(503, 10163, "expected last sequence per subject temporarily unavailable"), task.ErrUnavailable},
		{api(429, 10167, "too many requests"), task.ErrUnavailable},
		{api(503, 10008, "JetStream system temporarily unavailable"), task.ErrUnavailable},
		{api(400, 10005, "no suitable peers for placement"), task.ErrUnavailable},
		{api(500, 10118, "stream is offline"), task.ErrUnavailable},
		{api(400, 10026, "maximum consumers limit reached"), task.ErrUnavailable},
		{errOther, task.ErrUnavailable},
		{api(404, 10059, "stream not found"), task.ErrUnavailable},
		{api(404, 10014, "consumer not found"), task.ErrUnavailable},
		{api(503, 10077, "write error: no space left on device"), task.ErrUnavailable},
		{api(503, 10077, "maximum bytes exceeded"), task.ErrFull},
		{api(500, 10047, "insufficient storage resources available"), task.ErrFull},
		{api(400, 10054, "message size exceeds maximum allowed"), nil},
		{api(500, 10074, "replicas > 1 not supported in non-clustered mode"), nil},
		{jetstream.ErrMsgNotFound, nil},
		{jetstream.ErrKeyNotFound, nil},
		{nats.ErrMaxPayload, nil},
		{context.Canceled, nil},
		{context.DeadlineExceeded, task.ErrUnavailable},
		{nats.ErrConnectionReconnecting, task.ErrUnavailable},
		{nats.ErrBadSubscription, task.ErrUnavailable},
		{jetstream.ErrServerShutdown, task.ErrUnavailable},
		{jetstream.ErrConsumerDeleted, task.ErrUnavailable},
		{jetstream.ErrNoHeartbeat, task.ErrUnavailable},
		{jetstream.ErrNoStreamResponse, task.ErrUnavailable},
		{io.EOF, task.ErrUnavailable},
		{&nats.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"}, task.ErrUnavailable},
		{nats.ErrStreamNotFound, task.ErrUnavailable},
	} {
		got := classify(fmt.Errorf("do something: %w", tt.err))
		for _, sentinel := range []error{task.ErrConflict, task.ErrFull, task.ErrUnavailable} {
			if errors.Is(got, sentinel) != (sentinel == tt.want) {
				t.Errorf("%v became %v, want %v", tt.err, got, tt.want)
			}
		}
		if !errors.Is(got, tt.err) {
			t.Errorf("%v lost its cause: %v", tt.err, got)
		}
	}
}

// Nobody waits the longer time for what is known to be away, each kind of request
// by itself, and the first answer ends that.
func TestWhoIsKnownToBeAwayIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &core{}
		ask := func(what string, answered bool) time.Duration {
			began := time.Now()
			ctx, cancel := s.bound(t.Context(), what)
			defer cancel()
			if !answered {
				<-ctx.Done()
			}
			return time.Since(began)
		}
		if took := ask("tasks", false); took != requestTimeout {
			t.Errorf("the first took %v", took)
		}
		for _, what := range []string{"tasks", "sessions", writes + "tasks"} {
			if took := ask(what, false); took > awayTimeout {
				t.Errorf("%s took %v while nothing answers", what, took)
			}
		}
		ask("sessions", true)
		if took := ask("tasks", false); took > awayTimeout {
			t.Errorf("a stream without a leader took %v while another answers", took)
		}
		ask("sessions", true)
		ask("tasks", true)
		if took := ask("tasks", false); took != requestTimeout {
			t.Errorf("after an answer it took %v", took)
		}
		own, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		ask("sessions", true)
		ctx, done := s.bound(own, "sessions")
		<-ctx.Done()
		done()
		if took := ask("sessions", false); took != requestTimeout {
			t.Errorf("a caller's own haste was taken for the store's: %v", took)
		}
	})
}

// Somebody who asks for several things, one behind the other, waits for them once: what
// came late has used up the patience of what follows.
func TestOneRequestHasOnePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &core{}
		began := time.Now()
		once := AskedOnce(t.Context())
		for _, what := range []string{"agents", "workers", "tasks"} {
			ctx, cancel := s.bound(once, what)
			late := began.Add(5 * time.Second)
			if err := patiently(ctx, func(try context.Context) error {
				if what == "agents" && time.Now().After(late) {
					return nil
				}
				<-try.Done()
				return try.Err()
			}); (err == nil) != (what == "agents") {
				t.Errorf("%s: %v", what, err)
			}
			cancel()
		}
		if took := time.Since(began); took > requestTimeout+2*awayTimeout {
			t.Errorf("three things took %v", took)
		}
		time.Sleep(silenceKept)
		ctx, cancel := s.bound(once, "agents")
		defer cancel()
		if until, _ := ctx.Deadline(); time.Until(until) != requestTimeout {
			t.Errorf("long after it the patience is %v", time.Until(until))
		}
	})
}
