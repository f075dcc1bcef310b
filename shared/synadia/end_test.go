package synadia_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"agentmesh/shared/natstest"
	"agentmesh/shared/synadia"
)

// However many speak, fail and end at once: the answer ends once, nothing comes after its
// end, and an error comes right before it.
func TestAnAnswerEndsOnceWhoeverEndsIt(t *testing.T) {
	srv := natstest.Start(t)
	prompts := make(chan *synadia.Prompt)
	s, err := synadia.New(srv.Connect(t), "").Serve(synadia.Spec{Agent: "a", Owner: "o", Name: "n"}, func(p *synadia.Prompt) { go func() { prompts <- p }() })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	nc := srv.Connect(t)
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.SampledFrom([]func(*synadia.Prompt){
			(*synadia.Prompt).End,
			func(p *synadia.Prompt) { p.Fail(&synadia.Error{Code: 500, Name: "x", Message: "no\r\nluck"}) },
			func(p *synadia.Prompt) { _ = p.Response("text") },
			func(p *synadia.Prompt) { _ = p.Ack() },
		}), 1, 12).Draw(rt, "acts")
		sub, err := nc.SubscribeSync(nc.NewInbox())
		if err == nil {
			err = nc.PublishRequest(synadia.PromptSubject("a", "o", "n"), sub.Subject, []byte("x"))
		}
		if err != nil {
			rt.Fatal(err)
		}
		p := <-prompts
		var all sync.WaitGroup
		for _, act := range acts {
			all.Go(func() { act(p) })
		}
		all.Wait()
		p.End()
		_ = p.Response("late")
		end(rt, nc, sub)
	})
}

// end reads an answer to its end, and fails if anything follows.
func end(rt *rapid.T, nc *nats.Conn, sub *nats.Subscription) {
	failed := false
	for {
		msg, err := sub.NextMsg(time.Minute)
		if err != nil {
			rt.Fatal(err)
		}
		if len(msg.Data) == 0 && len(msg.Header) == 0 {
			break
		}
		if failed {
			rt.Fatalf("after the error comes %q", msg.Data)
		}
		if failed = msg.Header.Get("Nats-Service-Error-Code") != ""; failed && strings.ContainsAny(msg.Header.Get("Nats-Service-Error"), "\r\n") {
			rt.Fatal("the error has a line break")
		}
	}
	if err := nc.Publish(sub.Subject, []byte("mark")); err != nil {
		rt.Fatal(err)
	}
	if msg, err := sub.NextMsg(time.Minute); err != nil || string(msg.Data) != "mark" {
		rt.Fatalf("after the end comes %v, %v", msg, err)
	}
}
