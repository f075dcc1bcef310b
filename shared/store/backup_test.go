package store

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/natstest"
)

// The server that takes a copy is not known yet on the one that we ask: the first piece
// waits for it. One that goes away later is an error at once.
func TestACopyWaitsUntilSomebodyTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := natstest.Start(t)
		s, err := newCore(srv.Connect(t))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			ended <- sendPieces(t.Context(), s, "restore.here", bytes.NewReader(make([]byte, copyPiece+7)))
		}()
		time.Sleep(time.Second)
		got, nc := 0, srv.Connect(t)
		sub, err := nc.Subscribe("restore.here", func(msg *nats.Msg) {
			got += len(msg.Data)
			_ = msg.Respond(nil)
		})
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil || got != copyPiece+7 {
			t.Errorf("%d bytes came, %v", got, err)
		}
		_ = sub.Unsubscribe()
		_ = nc.Flush()
		began := time.Now()
		if err := sendPieces(t.Context(), s, "restore.here", bytes.NewReader([]byte("x"))); !errors.Is(err, nats.ErrNoResponders) || time.Since(began) < time.Second {
			t.Errorf("nobody is there: %v after %v", err, time.Since(began))
		}
	})
}
