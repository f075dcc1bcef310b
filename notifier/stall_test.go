package notifier_test

import (
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/meshtest"
	"agentmesh/worker/agents/echo"
)

// A pull that nobody answers any more, as after a change of leader (nats.go#2063), is
// noticed by its missing heartbeats and made again: by workers and notifiers.
func TestAPullThatStallsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(echo.Agent())
		m.Notify()
		r := m.Receive(nil)
		ask := func() { m.Action(`{"agent":"echo","instruction":"x","callback_url":"` + r.URL + `"}`) }
		ask()
		time.Sleep(5 * time.Second)
		account := m.Server.GlobalAccount()
		if err := account.AddMapping("$JS.API.CONSUMER.MSG.NEXT.>", "lost.>"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // every pull has ended, and the next ones are lost
		ask()
		time.Sleep(time.Minute)
		if n := len(r.All()); n != 1 {
			t.Fatalf("%d outcomes arrived while no pull did, want that of before", n)
		}
		account.RemoveMapping("$JS.API.CONSUMER.MSG.NEXT.>")
		time.Sleep(30 * time.Second)
		if n := len(r.All()); n != 2 {
			t.Errorf("%d outcomes arrived, want 2: the pulls were not made again", n)
		}
	})
}
