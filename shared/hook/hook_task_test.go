package hook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/signature"
	"agentmesh/shared/task"
)

func TestASpecificationIsChecked(t *testing.T) {
	good := func(change func(*hook.Spec)) hook.Spec {
		s := hook.Spec{Verify: hook.Verify{Style: hook.GitHub}, Task: &hook.Work{Work: task.Work{Agent: "echo"}}}
		change(&s)
		return s.WithDefaults()
	}
	long := strings.Repeat("x", 300)
	for pointer, change := range map[string]func(*hook.Spec){
		"/name":          func(s *hook.Spec) { s.Name = long },
		"/verify/style":  func(s *hook.Spec) { s.Verify.Style = "sha1" },
		"/verify/id":     func(s *hook.Spec) { s.Verify = hook.Verify{Style: hook.HMAC, Header: "X"} },
		"/verify/header": func(s *hook.Spec) { s.Verify.Header = "X-Other" },
		"/verify/prefix": func(s *hook.Spec) { s.Verify = hook.Verify{Style: hook.Token, Header: "X", Prefix: long, ID: "none"} },
		"/verify/encoding": func(s *hook.Spec) {
			s.Verify = hook.Verify{Style: hook.HMAC, Header: "X", Encoding: "rot13", ID: "none"}
		},
		"/verify/algorithm": func(s *hook.Spec) {
			s.Verify = hook.Verify{Style: hook.HMAC, Header: "X", Algorithm: "sha1", ID: "none"}
		},
		"/verify/key":     func(s *hook.Spec) { s.Verify = hook.Verify{Style: hook.Token, Header: "X", Key: "base64", ID: "none"} },
		"/verify/content": func(s *hook.Spec) { s.Verify = hook.Verify{Style: hook.HMAC, Header: "X", Content: "{id}", ID: "X"} },
		"/verify/timestamp": func(s *hook.Spec) {
			s.Verify = hook.Verify{Style: hook.HMAC, Header: "X", Timestamp: "X-T", ID: "none"}
		},
		"/verify/username":      func(s *hook.Spec) { s.Verify = hook.Verify{Style: hook.Token, Username: "a:b", ID: "none"} },
		"/accept":               func(s *hook.Spec) { s.Accept = make([]hook.Rule, 17) },
		"/accept/0":             func(s *hook.Spec) { s.Accept = []hook.Rule{{In: []string{"x"}}} },
		"/accept/0/json":        func(s *hook.Spec) { s.Accept = []hook.Rule{{JSON: "action", In: []string{"x"}}} },
		"/accept/0/in":          func(s *hook.Spec) { s.Accept = []hook.Rule{{JSON: "/action"}} },
		"/max_body":             func(s *hook.Spec) { s.MaxBody = hook.MaxBody + 1 },
		"/task":                 func(s *hook.Spec) { s.Task = nil },
		"/task/input/from":      func(s *hook.Spec) { s.Task.Input.From = "env" },
		"/task/input/headers":   func(s *hook.Spec) { s.Task.Input.From = "headers" },
		"/task/input/headers/0": func(s *hook.Spec) { s.Task.Input.Headers = []string{"authorization"} },
		"/task/input/merge":     func(s *hook.Spec) { s.Task.Input.Merge = json.RawMessage(`[]`) },
		"/session/key":          func(s *hook.Spec) { s.Task, s.Session = nil, &hook.Talk{Text: "/text"} },
		"/signal/task":          func(s *hook.Spec) { s.Task, s.Signal = nil, &hook.Signal{Task: "x", Name: "payment"} },
		"/signal/name":          func(s *hook.Spec) { s.Task, s.Signal = nil, &hook.Signal{Task: "/id"} },
	} {
		s := good(change)
		if f := s.Check(); len(f) == 0 || f[0].Pointer != pointer {
			t.Errorf("%s: %v", pointer, f)
		}
	}
	none := good(func(*hook.Spec) {})
	if f := none.Check(); len(f) > 0 {
		t.Error(f)
	}
	own := good(func(s *hook.Spec) {
		s.Verify = hook.Verify{Style: hook.Token, Header: "X-My-Token", ID: "none"}
		s.Task.Input = hook.Input{From: "headers", Headers: []string{"x-my-token"}}
	})
	if f := own.Check(); len(f) != 1 {
		t.Errorf("the token of a hook may reach its agent: %v", f)
	}
	for name, secrets := range map[string][]string{"none": {}, "three": {"a", "b", "c"}, "empty": {""}, "blank": {"  "}, "a line end": {"s\n"}} {
		if f := none.Verify.CheckSecrets(secrets); len(f) == 0 {
			t.Errorf("secrets: %s", name)
		}
	}
	if f := good(func(s *hook.Spec) { s.Verify.Style = hook.Standard }).Verify; len(f.CheckSecrets([]string{"plain"})) == 0 {
		t.Error("a secret of Standard Webhooks without its prefix")
	}
}

func TestWhatAnAgentGetsOfADelivery(t *testing.T) {
	d := &hook.Delivery{
		Headers: hook.Headers{"X-Github-Event": {"push"}, "Authorization": {"Bearer secret"}, "Cookie": {"a=b"}, "X-Other": {"1", "2"}},
		Body:    json.RawMessage(`{"a":{"b~/c":[1,{"id":12345678901234567890}]},"source":"them","n":1e3,"t":true,"z":null}`),
	}
	for want, in := range map[string]hook.Input{
		string(d.Body):                 {From: "body"},
		`{"X-GitHub-Event":"push"}`:    {From: "headers", Headers: []string{"X-GitHub-Event", "Authorization", "Cookie", "X-Absent"}},
		`{"id":12345678901234567890}`:  {From: "/a/b~0~1c/1"},
		`{"body":1,"source":"github"}`: {From: "/a/b~0~1c/0", Merge: json.RawMessage(`{"source":"github"}`)},
		`{"body":` + string(d.Body) + `,"headers":{"x-other":"1, 2"}}`:                               {From: "request", Headers: []string{"x-other"}},
		`{"a":{"b~/c":[1,{"id":12345678901234567890}]},"n":1e3,"source":"github","t":true,"z":null}`: {From: "body", Merge: json.RawMessage(`{"source":"github"}`)},
	} {
		s := hook.Spec{Verify: hook.Verify{Style: hook.GitHub}, Task: &hook.Work{Input: in}}
		if got, ok, err := s.InputOf(d); err != nil || !ok || string(got) != want {
			t.Errorf("%+v:\n got %s, %v, %v\nwant %s", in, got, ok, err, want)
		}
	}
	for _, pointer := range []string{"/nope", "/a/b~0~1c/2", "/a/b~0~1c/01", "/a/b~0~1c/-1", "/n/x", "/a/b"} {
		s := hook.Spec{Task: &hook.Work{Input: hook.Input{From: pointer}}}
		if _, ok, err := s.InputOf(d); ok || err != nil {
			t.Errorf("%s: %v, %v", pointer, ok, err)
		}
	}
	for pointer, want := range map[string]string{"/source": "them", "/n": "1e3", "/t": "true"} {
		if got, ok := d.Text(pointer); !ok || got != want {
			t.Errorf("%s is %q", pointer, got)
		}
	}
	for _, pointer := range []string{"/a", "/z", "/a/b~0~1c"} {
		if got, ok := d.Text(pointer); ok {
			t.Errorf("%s is %q", pointer, got)
		}
	}
}

func TestBodiesOfEachForm(t *testing.T) {
	for contentType, form := range map[string]string{
		"application/json": "json", "application/json; charset=utf-8": "json", "application/cloudevents+json": "json", "application/x-www-form-urlencoded": "form",
		"text/plain": "text", "": "", "text/html": "", "multipart/form-data; boundary=x": "", "application/xml": "", ";": "",
	} {
		if got := hook.FormOf(contentType); got != form {
			t.Errorf("%q is %q", contentType, got)
		}
	}
	for _, tt := range []struct{ form, body, want string }{
		{"json", `{"a":1}`, `{"a":1}`}, {"text", "hi \"you\"", `"hi \"you\""`}, {"form", "a=1&b=2&b=3", `{"a":"1","b":["2","3"]}`},
		{"form", `payload=%7B%22a%22%3A1%7D`, `{"a":1}`}, {"form", "payload=x", `{"payload":"x"}`}, {"form", "", `{}`},
		{"text", "\xff", ""}, {"form", "a=%zz", ""}, {"form", "a=%ff", ""}, {"form", "\xff=1", ""},
	} {
		got, err := hook.AsJSON(tt.form, []byte(tt.body))
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s %q: %s, %v", tt.form, tt.body, got, err)
		}
	}
}

func TestWhichDeliveryItIs(t *testing.T) {
	of := func(v hook.Verify, h hook.Headers, body string) string {
		full := hook.Spec{Verify: v}.WithDefaults().Verify
		id, known, err := full.DeliveryID(&hook.Delivery{Headers: h, Body: json.RawMessage(body)})
		return fmt.Sprintf("%s %v %v", id, known, err != nil)
	}
	github := hook.Headers{"X-Github-Delivery": {"d1"}}
	for _, tt := range []struct {
		v    hook.Verify
		h    hook.Headers
		body string
		want string
	}{
		{hook.Verify{Style: hook.GitHub}, github, `{}`, "d1 true false"},
		{hook.Verify{Style: hook.Stripe}, nil, `{"id":"evt_1"}`, "evt_1 true false"},
		{hook.Verify{Style: hook.Stripe}, nil, `{}`, " false true"},
		{hook.Verify{Style: hook.Stripe}, nil, `{"id":{}}`, " false true"},
		{hook.Verify{Style: hook.Slack}, nil, `{"event_id":"Ev1"}`, "Ev1 true false"},
		{hook.Verify{Style: hook.Slack}, nil, `{"trigger_id":"7"}`, "7 true false"},
		{hook.Verify{Style: hook.Token, Header: "X", ID: "none"}, nil, ``, " false false"},
		{hook.Verify{Style: hook.Token, Header: "X", ID: "/n"}, nil, `{"n":7}`, "7 true false"},
		{hook.Verify{Style: hook.Token, Header: "X", ID: "/n"}, nil, `{"n":"` + strings.Repeat("x", 257) + `"}`, " false true"},
		{hook.Verify{Style: hook.Token, Header: "X", ID: "/n"}, nil, `{"n":"a\u0000"}`, " false true"},
	} {
		if got := of(tt.v, tt.h, tt.body); got != tt.want {
			t.Errorf("%+v %s: %s, want %s", tt.v, tt.body, got, tt.want)
		}
	}
}

func TestALogKeepsWhatCountsWhenItIsFlooded(t *testing.T) {
	var log hook.Recent
	for i := range 40 {
		log.Add(hook.Receipt{At: time.Unix(int64(i), 0), Outcome: hook.Accepted, Delivery: fmt.Sprint(i)})
	}
	var flood hook.Recent
	for i := range 1000 {
		flood.Add(hook.Receipt{At: time.Unix(int64(1000+i), 0), Outcome: hook.Rejected})
	}
	log.Merge(&flood)
	n := map[hook.Outcome]int{}
	for _, r := range log.Receipts {
		n[r.Outcome]++
	}
	if len(log.Receipts) != hook.MaxReceipts || n[hook.Accepted] != 25 || n[hook.Rejected] != 25 || log.Receipts[0].Delivery != "15" {
		t.Errorf("%d receipts: %v", len(log.Receipts), n)
	}
	if log.Counts.Accepted != 40 || log.Counts.Rejected != 1000 {
		t.Errorf("counts %+v", log.Counts)
	}
}

// Nothing that a stranger sends makes a parser panic, and nothing without the
// secret is believed.
func FuzzAuthentic(f *testing.F) {
	for _, s := range samples {
		for _, value := range s.header {
			f.Add(value, s.header["Webhook-Timestamp"], s.body)
		}
	}
	secret := signature.NewSecret().Reveal()
	f.Fuzz(func(t *testing.T, text, stamp, body string) {
		for _, v := range []hook.Verify{{Style: hook.Standard}, {Style: hook.GitHub}, {Style: hook.Stripe}, {Style: hook.Slack},
			{Style: hook.HMAC, Header: "X-Sig", Encoding: "base64", Timestamp: "X-Time", Content: "{id}.{timestamp}.{body}", ID: "X-Id"}, {Style: hook.Token, Username: "u", ID: "X-Id"}} {
			h := hook.Headers{}
			for _, name := range []string{"Webhook-Id", "Webhook-Signature", "X-Github-Delivery", "X-Hub-Signature-256", "Stripe-Signature", "X-Slack-Signature", "X-Sig", "X-Id", "Authorization"} {
				h[name] = []string{text}
			}
			for _, name := range []string{"Webhook-Timestamp", "X-Slack-Request-Timestamp", "X-Time"} {
				h[name] = []string{stamp}
			}
			full := hook.Spec{Verify: v}.WithDefaults().Verify
			if full.Authentic(h, []byte(body), []string{secret}, time.Unix(1614265330, 0)) == nil {
				t.Fatalf("%s believes %q, %q, %q", v.Style, text, stamp, body)
			}
		}
	})
}

// Whatever a verified body is, reading it panics nowhere, and what comes out is
// JSON.
func FuzzDelivery(f *testing.F) {
	f.Add("application/json", `{"a":[1]}`, "/a/0")
	f.Add("application/x-www-form-urlencoded", slackCommand, "/text")
	f.Add("text/plain", "x", "/")
	f.Fuzz(func(t *testing.T, contentType, body, pointer string) {
		form := hook.FormOf(contentType)
		if form == "" {
			return
		}
		raw, err := hook.AsJSON(form, []byte(body))
		if err != nil || !json.Valid(raw) {
			return
		}
		d := &hook.Delivery{Body: raw, Headers: hook.Headers{"X-A": {body}}}
		d.Text(pointer)
		for _, from := range []string{"body", "request", "headers", "/" + pointer} {
			s := hook.Spec{Task: &hook.Work{Input: hook.Input{From: from, Headers: []string{"X-A"}, Merge: json.RawMessage(`{"m":1}`)}}}
			if in, ok, err := s.InputOf(d); ok && err == nil && !json.Valid(in) {
				t.Fatalf("%s of %s is %s", from, raw, in)
			}
		}
	})
}
