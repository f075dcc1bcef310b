package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"agentmesh/gateway/client"
	"agentmesh/shared/meshtest"
	"agentmesh/shared/natstest"
	"agentmesh/worker/agent"
)

// onMesh is a console on a real mesh with agents.
func onMesh(t *testing.T) (*Console, *client.Client) {
	t.Helper()
	return on(t, meshtest.New(t))
}

func on(t *testing.T, m *meshtest.Mesh) (*Console, *client.Client) {
	t.Helper()
	m.Work(
		meshtest.Named("greeter", func(ctx context.Context, job *agent.Job) (any, error) {
			job.Progress(50, "half of it")
			return map[string]string{"hello": "mesh"}, nil
		}),
		meshtest.Named("talker", meshtest.Says("**You said something** and I heard it")),
		meshtest.Named("sleeper", func(ctx context.Context, job *agent.Job) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	)
	api, err := client.New("http://api.internal", client.WithHTTPClient(&http.Client{Transport: Inside(m.Gateway.Handler())}))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Until(t, "the gateway knows the agents", func() bool {
		all, err := api.Agents.List(t.Context())
		return err == nil && len(all) == 3 && all[0].LiveWorkers > 0
	})
	c, err := New(Options{Config: Default(), API: api})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, api
}

// What a browser does by its forms, without one: a task is made, read, and canceled.
func TestFormsMakeReadAndCancelATask(t *testing.T) {
	c, api := onMesh(t)
	w := ask(c, http.MethodPost, "/console/playground/greeter", "view=json&op=run&json=%7B%22n%22%3A12345678901234567890%7D")
	to := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "../tasks/tsk_") {
		t.Fatalf("%d %s %s", w.Code, to, w.Body)
	}
	if w := ask(c, http.MethodPost, "/console/playground/greeter", "view=json&op=run&json=1", "HX-Request", "true"); w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("HX-Redirect"), "../tasks/tsk_") {
		t.Errorf("by htmx: %d %v", w.Code, w.Header())
	}
	id := strings.TrimPrefix(to, "../tasks/")
	if done, err := api.Tasks.Wait(t.Context(), id); err != nil || done.Status != "completed" {
		t.Fatalf("%+v %v", done, err)
	}
	if page := get(c, "/console/tasks/"+id+"?tab=input").Body.String(); !strings.Contains(page, "12345678901234567890") {
		t.Error("a large number is not shown as it was sent")
	}
	made, err := api.Tasks.Create(t.Context(), client.Request{Agent: "sleeper", Input: json.RawMessage(`{}`)}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(c, http.MethodPost, "/console/tasks/"+made.TaskID+"/cancel", "x=1"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "../../tasks/"+made.TaskID+"?said=canceled" {
		t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
	}
	if page := get(c, "/console/tasks/"+made.TaskID+"?said=canceled").Body.String(); !strings.Contains(page, "The task is canceled.") || !strings.Contains(page, "st-canceled") {
		t.Error("the page does not say that the task is canceled")
	}
}

// The story of a task: made in the playground, watched to its end, another one canceled.
func TestATaskIsMadeWatchedAndCanceledInABrowser(t *testing.T) {
	if !*inBrowser {
		t.Skip("stories in a browser are run by: make console-test")
	}
	c, api := onMesh(t)
	b := openBrowser(t, c)
	b.visit("playground/greeter")
	b.do(chromedp.Click("button[value=run]"))
	b.until("location.pathname.includes('/console/tasks/tsk_')")
	b.says("#task-head", "completed")
	b.says("#task-tab", "mesh")
	made, err := api.Tasks.Create(t.Context(), client.Request{Agent: "sleeper", Input: json.RawMessage(`{}`)}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.visit("tasks/" + made.TaskID)
	b.says("#task-head", "running")
	b.do(chromedp.Click("#task-head button.danger"))
	b.until("document.getElementById('ask').open")
	b.do(chromedp.Click("#ask button[value=yes]"))
	b.says("#task-head", "canceled")
}

// A conversation: the reply comes while the page is open, as markdown, and stays there.
func TestAConversationGoesOnInABrowser(t *testing.T) {
	if !*inBrowser {
		t.Skip("stories in a browser are run by: make console-test")
	}
	c, _ := onMesh(t)
	b := openBrowser(t, c)
	b.visit("sessions")
	js[bool](b, "document.querySelector('#n-agent').value = 'talker', document.querySelector('form[method=post][action$=sessions]').requestSubmit(), true")
	b.until("location.pathname.includes('/console/sessions/ses_') && document.querySelector('#lamp')?.dataset.state === 'live'")
	b.do(chromedp.SendKeys("#say", "Hello there"), chromedp.Click(".say button"))
	b.says("#session-chat", "Hello there")
	b.says("#session-chat", "You said something")
	b.until("!!document.querySelector('#session-chat .md strong') && document.querySelector('#say').value === ''")
}

// A delivery that a receiver refused is sent again by its button, and the page shows how it
// goes on; the waterfall of its task has both attempts.
func TestADeliveryIsSentAgainInABrowser(t *testing.T) {
	if !*inBrowser {
		t.Skip("stories in a browser are run by: make console-test")
	}
	m := meshtest.New(t)
	m.Notify()
	receiver := m.Receive(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	c, api := on(t, m)
	made, err := api.Actions.Create(t.Context(), client.Request{Agent: "greeter", Input: json.RawMessage(`{}`), CallbackURL: receiver.URL}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := openBrowser(t, c)
	b.visit("tasks/" + made.TaskID + "?tab=deliveries")
	b.says("#task-tab", "given up")
	receiver.Answer(nil)
	b.do(chromedp.Click("#task-tab td.act button"))
	b.says("#main", "It is sent again.")
	b.says("#task-tab", "delivered")
	b.says("#task-fall", "delivery 2")
}

// A long value is shut at first, is opened by its line, and stays so while the page lives.
func TestJSONIsFoldedInABrowser(t *testing.T) {
	b := openBrowser(t, newFake(t, &fakeAPI{n: 3}, nil))
	b.visit("agents/research")
	b.until("document.querySelectorAll('.payload details.fold[open]').length > 2")
	b.do(chromedp.Click(".payload details.fold > summary"))
	b.until("!document.querySelector('.payload details.fold').open && getComputedStyle(document.querySelector('.payload details.fold > summary'), '::after').content.includes('6 }')")
}

// The form of a hook shows what the chosen kind of it needs, and no more.
func TestTheFormOfAHookFollowsItsChoicesInABrowser(t *testing.T) {
	b := openBrowser(t, newFake(t, &fakeAPI{n: 3}, nil))
	b.visit("hooks")
	b.do(chromedp.Click("details.more > summary"))
	seen := func() string {
		return js[string](b, `['header', 'agent', 'ins', 'key', 'task'].filter(id => document.getElementById('k-' + id).checkVisibility()).join(' ')`)
	}
	for _, one := range []struct{ style, does, want string }{{"github", "task", "agent ins"}, {"hmac", "session", "header agent key"}, {"stripe", "signal", "task"}, {"token", "task", "header agent ins"}} {
		js[bool](b, fmt.Sprintf("document.getElementById('k-style').value = %q, document.getElementById('k-does').value = %q, true", one.style, one.does))
		if got := seen(); got != one.want {
			t.Errorf("%s, %s: it shows %q, want %q", one.style, one.does, got, one.want)
		}
	}
}
