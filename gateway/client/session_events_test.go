package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionEventsResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := func(turn, status string) string {
			return fmt.Sprintf("event: status\ndata: {\"task_id\":%q,\"status\":%q,\"done\":%v}\n\n", turn, status, status == "completed")
		}
		output := func(turn string, offset int, text string) string {
			return fmt.Sprintf("event: output\ndata: {\"task_id\":%q,\"offset\":%d,\"text\":%q}\n\n", turn, offset, text)
		}
		reply := func(turn, id, text string) string {
			return event("reply", id, fmt.Sprintf(`{"turn_id":%q,"message":%q}`, turn, text))
		}
		c, s := scripted(t,
			answer(200, asStream, "retry: 1000\nid: 1\n\n"+status("trn_1", "processing")+output("trn_1", 0, "hel")),
			answer(200, asStream, "retry: 1000\nid: 1\n\n"+output("trn_1", 0, "hello")+status("trn_1", "completed")+reply("trn_1", "3", "hello")+"event: later\ndata: {}\n\n"),
			cut,
			answer(200, asStream, "retry: 1000\nid: 3\n\n"+reply("trn_1", "3", "hello")+status("trn_2", "pending")+output("trn_2", 0, "two")+
				reply("trn_2", "5", "two")+"event: closed\ndata: {\"reason\":\"deleted\"}\n\n"+status("trn_3", "never")))
		var got []string
		for e, err := range c.Sessions.Events(t.Context(), "ses_1") {
			switch {
			case err != nil:
				t.Fatal(err)
			case e.Task != nil:
				got = append(got, e.TurnID+" "+e.Task.Status)
			case e.Type == "reply":
				got = append(got, e.TurnID+" reply "+e.ID+" "+e.Reply)
			default:
				got = append(got, e.TurnID+e.Output+e.Reason)
			}
		}
		want := []string{"trn_1 processing", "trn_1hel", "trn_1lo", "trn_1 completed", "trn_1 reply 3 hello", "trn_2 pending", "trn_2two", "trn_2 reply 5 two", "deleted"}
		if !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
		if want := []string{"GET /sessions/ses_1/events ", "GET /sessions/ses_1/events 1", "GET /sessions/ses_1/events 3", "GET /sessions/ses_1/events 3"}; !slices.Equal(s.requests, want) {
			t.Errorf("requests %q, want %q", s.requests, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, err := range c.Sessions.Events(ctx, "ses_1") {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
	})
}
