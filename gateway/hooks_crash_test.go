package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/gateway/api"
	"agentmesh/shared/hook"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// A sender whose delivery a gateway took with it when it died repeats it at another one:
// whatever a delivery does, it is done once, wherever between its writes and its 202 the
// gateway was killed.
func TestADeliveryIsDoneOnceWhereverItsGatewayDies(t *testing.T) {
	natstest.Long(t)
	for name, does := range map[string]string{
		"task":    `"task":{"agent":"once"}`,
		"session": `"session":{"agent":"once","key":"/k","text":"/t"}`,
		"signal":  `"signal":{"task":"/task","name":"paid"}`,
	} {
		t.Run(name, func(t *testing.T) {
			for cut, whole := 1, false; !whole; cut++ {
				for _, after := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) { whole = deliverOver(t, does, cut, after) })
				}
				if cut > 10 {
					t.Fatal("a delivery takes more than 10 writes")
				}
			}
		})
	}
}

// deliverOver sends a delivery to a gateway that dies at a write, and again to another;
// whole: it did not come to that write.
func deliverOver(t *testing.T, does string, cut int, after bool) (whole bool) {
	m := meshtest.New(t)
	runs := 0
	m.Work(meshtest.Named("once", func(context.Context, *agent.Job) (any, error) { runs++; return "x", nil }),
		meshtest.Named("waits", func(ctx context.Context, job *agent.Job) (any, error) {
			_, err := agent.WaitEvent[any](ctx, job, "paid", time.Hour)
			if err == nil {
				runs++
			}
			return nil, err
		}))
	k := newHook(m, hook.GitHub, does)
	waiting := m.Create(`{"agent":"waits","instruction":"x"}`)
	time.Sleep(time.Minute)
	body := `{"k":"a","t":"hi","task":"` + waiting + `"}`
	wire := &meshtest.Wire{Server: m.Server.Server, Cut: cut, After: after}
	st, hangUp, err := m.StoreOver(wire)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	dying := m.NewGateway(st).Handler()
	w := meshtest.Call(dying, "POST", "/hooks/"+k.HookID, body, k.signed("d1", body)...)
	taken := w.Code == http.StatusAccepted // also where what is behind the deciding write is missing
	if whole = !wire.Dead(); whole && !taken {
		t.Errorf("cut %d %v: %d %s", cut, after, w.Code, w.Body)
	}
	var answered string
	for try := range 2 {
		w := k.deliver("d1", body)
		a := meshtest.Decode[api.HookAccepted](t, w.Body)
		if w.Code != 200 && (w.Code != 202 || try > 0 || taken) || a.TaskID == "" || answered != "" && a.TaskID != answered {
			t.Errorf("cut %d %v, repeat %d: %d %+v, before it %s", cut, after, try, w.Code, a, answered)
		}
		answered = a.TaskID
	}
	time.Sleep(time.Minute)
	if !strings.Contains(does, "signal") {
		m.End(answered)
	} else if v := m.End(waiting); v.Status != "completed" {
		t.Errorf("cut %d %v: %+v", cut, after, v)
	}
	if runs != 1 {
		t.Errorf("cut %d %v: it was done %d times", cut, after, runs)
	}
	return whole
}
