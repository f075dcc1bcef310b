package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The bell that is one for all ends each try when its own time is over, and no other.
func TestEachTryEndsAtItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q requests
		caller, leave := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer leave()
		for _, tt := range []struct {
			ctx         context.Context
			limit, ends time.Duration
		}{
			{t.Context(), 10 * time.Second, tryTimeout},
			{t.Context(), 300 * time.Millisecond, 300 * time.Millisecond},
			{t.Context(), 5 * time.Second, tryTimeout},
			{caller, 5 * time.Second, 500 * time.Millisecond}, // of which 200 ms are over
		} {
			r, over := q.begin(tt.ctx, "", tt.limit)
			began, try := time.Now(), tryOf(r)
			go func() {
				defer over()
				<-try.Done()
				if took := time.Since(began); took != tt.ends || !errors.Is(try.Err(), context.DeadlineExceeded) {
					t.Errorf("a try of %v ends after %v, %v", tt.limit, took, try.Err())
				}
				try.over()
				if left := tt.limit > tt.ends && tt.ctx.Err() == nil; left != (r.Err() == nil) {
					t.Errorf("after a try of %v the request is %v", tt.limit, r.Err())
				} else if left {
					again := tryOf(r)
					<-again.Done()
					if took := time.Since(began); took != tt.ends+tryTimeout {
						t.Errorf("the second try of %v ends after %v", tt.limit, took)
					}
					again.over()
				}
			}()
			if tt.ends == 300*time.Millisecond {
				time.Sleep(200 * time.Millisecond)
			}
		}
		time.Sleep(20 * time.Second)
		answered, over := q.begin(t.Context(), "", time.Second)
		try := tryOf(answered)
		try.over()
		over()
		if err := try.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("a try that was answered is %v", err)
		}
	})
}

// What a server answers to a message is read in every form.
func TestTheAnswerToAMessageIsRead(t *testing.T) {
	for answer, want := range map[string]stored{
		`{"stream":"S","seq":5}`:                                           {Stream: "S", Sequence: 5},
		`{"stream":"S","domain":"hub","seq":7,"duplicate": true}`:          {Stream: "S", Domain: "hub", Sequence: 7, Duplicate: true},
		`{"stream":"S", "seq":22}`:                                         {Stream: "S", Sequence: 22},
		`{"type":"x","seq":18446744073709551615,"stream":"S","batch":"b"}`: {Stream: "S", Sequence: 1<<64 - 1},
		"{\n \"stream\": \"S\",\n \"seq\": 1, \"val\": \"3\"\n}":           {Stream: "S", Sequence: 1},
	} {
		if got, err := readStored([]byte(answer)); err != nil || *got != want {
			t.Errorf("%s is %+v, %v", answer, got, err)
		}
	}
	for _, none := range []string{``, `{}`, `{"seq":5}`, `{"stream":"S","seq":"x"}`, `-ERR`} {
		if got, err := readStored([]byte(none)); !errors.Is(err, jetstream.ErrInvalidJSAck) {
			t.Errorf("%s is %+v, %v", none, got, err)
		}
	}
	_, err := readStored([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"S","seq":0}`))
	if api := answerOf(err); api == nil || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence || api.Code != 400 || api.Description != "wrong last sequence: 5" {
		t.Errorf("a refusal is %v", err)
	}
}
