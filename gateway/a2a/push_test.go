package a2a_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/meshtest"
	"agentmesh/worker/agent"
)

type pushConfig struct {
	ID, TaskID, URL, Token string
	Authentication         *struct{ Scheme, Credentials string }
}

// told is a push notification as its receiver reads it.
type told struct {
	StatusUpdate   *taskView
	ArtifactUpdate *struct {
		TaskID   string
		Artifact struct{ Parts []struct{ Text string } }
	}
}

// states says what a receiver was told.
func states(all []meshtest.Received) string {
	var names []string
	for _, r := range all {
		var one told
		switch _ = json.Unmarshal(r.Body, &one); {
		case one.StatusUpdate != nil:
			names = append(names, strings.TrimPrefix(one.StatusUpdate.Status.State, "TASK_STATE_"))
		case one.ArtifactUpdate != nil:
			names = append(names, one.ArtifactUpdate.Artifact.Parts[0].Text)
		default:
			names = append(names, string(r.Body))
		}
	}
	return strings.Join(names, " ")
}

func withPush(words, url string) string {
	return strings.TrimSuffix(text(words), "}") + `,"configuration":{"taskPushNotificationConfig":{"id":"mine","url":"` + url +
		`","token":"sesame","authentication":{"scheme":"Bearer","credentials":"s3cret"}}}}`
}

func TestAPushConfigurationOfAMessageIsToldAllThatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(agents()...)
		m.Notify()
		r := m.Receive(nil)
		v := sent(t, rpc(m, "says", "SendMessage", withPush("hello", r.URL+"/hook?who=me")))
		time.Sleep(time.Minute)
		all := r.All()
		if got := states(all); !strings.Contains(got, "hello") || !strings.Contains(got, "COMPLETED") || len(all) > 3 {
			t.Fatalf("told %s", got)
		}
		h := all[0].Header
		for name, want := range map[string]string{
			"Content-Type": "application/a2a+json", "Authorization": "Bearer s3cret", "A2a-Notification-Token": "sesame", "X-A2a-Notification-Token": "sesame",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %q, want %q", name, h.Get(name), want)
			}
		}
		if h.Get("Webhook-Id") == "" || h.Get("Webhook-Signature") == "" {
			t.Error("a push notification is not signed")
		}
		list := m.DeliveriesBy("type=a2a.status")
		if len(list) == 0 || list[0].PushID != "mine" || list[0].TaskID != v.ID || strings.Contains(list[0].URL, "me") {
			t.Errorf("deliveries = %+v", list)
		}
		if body := m.Do("GET", "/deliveries", "").Body.String(); strings.Contains(body, "s3cret") || strings.Contains(body, "sesame") {
			t.Error("the list of deliveries shows a secret")
		}
	})
}

func TestAPushNotificationThatFailsComesAgainWithTheSameBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		m.Work(agents()...)
		stop := m.Notify()
		r := m.Receive(meshtest.Answer(500))
		sent(t, rpc(m, "says", "SendMessage", withPush("hello", r.URL)))
		time.Sleep(time.Second)
		first := r.All()
		stop()
		r.Answer(nil)
		m.Notify()
		time.Sleep(time.Hour)
		bodies := map[string][]byte{}
		for _, one := range first {
			bodies[one.ID()] = one.Body
		}
		again := r.All()[len(first):]
		if len(first) < 2 || len(again) != len(first) {
			t.Fatalf("%d notifications, and %d of another notifier", len(first), len(again))
		}
		for _, one := range again {
			if !bytes.Equal(bodies[one.ID()], one.Body) || one.Header.Get("Authorization") != "Bearer s3cret" {
				t.Errorf("%s came again as %s, and was %s", one.ID(), one.Body, bodies[one.ID()])
			}
		}
	})
}

func TestAPushConfigurationHearsOnlyWhatComesAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meshtest.New(t)
		next := make(chan struct{})
		slow := meshtest.Named("slow", func(ctx context.Context, job *agent.Job) (any, error) {
			<-next
			_ = job.Milestone(ctx, "half", "halfway", nil)
			<-next
			return "done", nil
		})
		m.Work(slow)
		m.Notify()
		v := sent(t, rpc(m, "slow", "SendMessage", later("x")))
		time.Sleep(time.Minute)
		r := m.Receive(nil)
		create := fmt.Sprintf(`{"taskId":%q,"id":"late","url":%q}`, v.ID, r.URL)
		if c := decodeResult[pushConfig](t, rpc(m, "slow", "CreateTaskPushNotificationConfig", create)); c.ID != "late" || c.TaskID != v.ID {
			t.Errorf("config = %+v", c)
		}
		next <- struct{}{}
		time.Sleep(time.Minute)
		if got := states(r.All()); got != "WORKING" || !strings.Contains(string(r.All()[0].Body), "halfway") {
			t.Errorf("told %s", got)
		}
		rpc(m, "slow", "DeleteTaskPushNotificationConfig", `{"taskId":"`+v.ID+`","id":"late"}`)
		next <- struct{}{}
		time.Sleep(time.Minute)
		if got := states(r.All()); got != "WORKING" {
			t.Errorf("told after the delete: %s", got)
		}
		after := decodeResult[pushConfig](t, rpc(m, "slow", "CreateTaskPushNotificationConfig", create))
		time.Sleep(time.Minute)
		if after.ID != "late" || len(r.All()) != 1 {
			t.Errorf("a config of a finished task %+v was told %s", after, states(r.All()))
		}
	})
}

func decodeResult[T any](t *testing.T, w interface{ Result() *http.Response }) (v T) {
	t.Helper()
	a := meshtest.Decode[answer](t, w.Result().Body)
	if a.Error != nil || json.Unmarshal(a.Result, &v) != nil {
		t.Fatalf("answer: %s %+v", a.Result, a.Error)
	}
	return v
}

func TestPushConfigurationsAreKeptInBothBindingsAndShowNoSecret(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	v := sent(t, rpc(m, "says", "SendMessage", text("x")))
	path := "/agents/says/a2a/v1/tasks/" + v.ID + "/pushNotificationConfigs"
	do := func(method, path, body string) (int, string) {
		w := m.Do(method, path, body, "A2A-Version", "1.0")
		return w.Code, w.Body.String()
	}
	code, body := do("POST", path, `{"id":"a","url":"http://127.0.0.1:1/x?k=v","token":"tok3n","authentication":{"scheme":"Basic","credentials":"cr3d"}}`)
	if code != 200 || strings.Contains(body, "tok3n") || strings.Contains(body, "cr3d") || strings.Contains(body, "k=v") || !strings.Contains(body, `"scheme":"Basic"`) {
		t.Errorf("created = %d %s", code, body)
	}
	made := decodeResult[pushConfig](t, rpc(m, "says", "CreateTaskPushNotificationConfig", `{"task_id":"`+v.ID+`","url":"http://127.0.0.1:1/y"}`))
	if one := decodeResult[pushConfig](t, rpc(m, "says", "GetTaskPushNotificationConfig", `{"taskId":"`+v.ID+`","id":"`+made.ID+`"}`)); one.URL != "http://127.0.0.1:1/y" {
		t.Errorf("read = %+v", one)
	}
	if code, body := do("GET", path+"/a", ""); code != 200 || strings.Contains(body, "cr3d") {
		t.Errorf("read = %d %s", code, body)
	}
	type list struct {
		Configs       []pushConfig
		NextPageToken *string
	}
	for _, method := range []string{"GetTaskPushNotificationConfig", "DeleteTaskPushNotificationConfig"} {
		if a := meshtest.Decode[answer](t, rpc(m, "says", method, `{"taskId":"`+v.ID+`"}`).Body); a.Error == nil || a.Error.Code != -32602 {
			t.Errorf("%s of no configuration = %s %+v", method, a.Result, a.Error)
		}
	}
	first := decodeResult[list](t, rpc(m, "says", "ListTaskPushNotificationConfigs", `{"taskId":"`+v.ID+`","pageSize":1}`))
	if len(first.Configs) != 1 || first.Configs[0].ID != "a" || first.NextPageToken == nil || *first.NextPageToken == "" {
		t.Fatalf("first page = %+v", first)
	}
	rest := decodeResult[list](t, rpc(m, "says", "ListTaskPushNotificationConfigs", `{"taskId":"`+v.ID+`","pageToken":"`+*first.NextPageToken+`"}`))
	if len(rest.Configs) != 1 || *rest.NextPageToken != "" {
		t.Errorf("second page = %+v", rest)
	}
	for range 2 {
		if code, body := do("DELETE", path+"/a", ""); code != 200 {
			t.Errorf("delete = %d %s", code, body)
		}
	}
	if code, body := do("GET", path+"/a", ""); code != 404 || !strings.Contains(body, "NOT_FOUND") {
		t.Errorf("a deleted one = %d %s", code, body)
	}
	if w := m.Do("GET", "/agents/says/a2a/.well-known/agent-card.json", ""); !strings.Contains(w.Body.String(), `"pushNotifications":true`) {
		t.Errorf("the card does not say so: %s", w.Body)
	}
}

func TestAGatewayWithoutCallbacksTakesNoPushConfigurations(t *testing.T) {
	m := meshtest.New(t)
	m.Work(agents()...)
	g := m.BareGateway(m.Store)
	body := `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":` + withPush("x", "http://127.0.0.1:1/") + `}`
	w := meshtest.Call(g.Handler(), "POST", "/agents/says/a2a/rpc", body, "A2A-Version", "1.0")
	if a := meshtest.Decode[answer](t, w.Body); a.Error == nil || a.Error.Code != -32003 {
		t.Errorf("a push configuration = %+v", a)
	}
	if card := meshtest.Call(g.Handler(), "GET", "/agents/says/a2a/.well-known/agent-card.json", "").Body.String(); strings.Contains(card, "pushNotifications") {
		t.Errorf("card = %s", card)
	}
}

func TestAPushConfigurationThatCannotBeIsRefusedAndNothingAccepted(t *testing.T) {
	m := meshtest.New(t)
	m.Ask(meshtest.Callers{
		"ann": {Tenant: "ann", Subject: "ann", Scopes: []auth.Scope{auth.All}},
		"bob": {Tenant: "bob", Subject: "bob", Scopes: []auth.Scope{auth.All}},
	})
	m.Work(agents()...)
	as := meshtest.As("ann")
	v := sent(t, rpc(m, "says", "SendMessage", text("x"), as...))
	for name, config := range map[string]string{
		"an address of the network": `"url":"https://10.0.0.1/x"`, "no address": `"url":"nowhere"`, "no url": `"id":"x"`, "a bad id": `"url":"http://127.0.0.1:1/","id":"a.b"`,
		"a header in a token": `"url":"http://127.0.0.1:1/","token":"a\r\nb: c"`, "no scheme": `"url":"http://127.0.0.1:1/","authentication":{"credentials":"x"}`,
		"a bad scheme": `"url":"http://127.0.0.1:1/","authentication":{"scheme":"a b"}`,
	} {
		for method, params := range map[string]string{
			"CreateTaskPushNotificationConfig": `{"taskId":"` + v.ID + `",` + config + `}`,
			"SendMessage":                      strings.TrimSuffix(text("x"), "}") + `,"configuration":{"taskPushNotificationConfig":{` + config + `}}}`,
		} {
			if a := meshtest.Decode[answer](t, rpc(m, "says", method, params, as...).Body); a.Error == nil || a.Error.Code != -32602 {
				t.Errorf("%s: %s = %s %+v", name, method, a.Result, a.Error)
			}
		}
	}
	if n := strings.Count(m.Do("GET", "/tasks", "", as...).Body.String(), `"task_id"`); n != 1 {
		t.Errorf("%d tasks, want the first only", n)
	}
	for _, method := range []string{"CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig", "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig"} {
		params := `{"taskId":"` + v.ID + `","id":"x","url":"http://127.0.0.1:1/"}`
		if a := meshtest.Decode[answer](t, rpc(m, "says", method, params, meshtest.As("bob")...).Body); a.Error == nil || a.Error.Code != -32001 {
			t.Errorf("%s of another tenant = %+v", method, a)
		}
	}
	for i := range 17 {
		a := meshtest.Decode[answer](t, rpc(m, "says", "CreateTaskPushNotificationConfig", fmt.Sprintf(`{"taskId":%q,"id":"n%d","url":"http://127.0.0.1:1/"}`, v.ID, i), as...).Body)
		if (a.Error == nil) != (i < 16) {
			t.Errorf("config %d = %+v", i, a.Error)
		}
	}
}
