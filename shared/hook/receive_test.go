package hook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/manualtest"
)

// vector is one request that differs from a sample, and what becomes of it. The clients
// in other languages verify the same ones.
type vector struct {
	Of      string   `json:"of"`
	What    string   `json:"what"`
	Body    *string  `json:"body,omitempty"`
	Secrets []string `json:"secrets,omitzero"` // of the sample: its own
	Header  string   `json:"header,omitempty"` // that has these values
	Values  []string `json:"values,omitempty"`
	Huge    bool     `json:"huge,omitempty"` // 10 KiB of the letter a
	Late    int      `json:"late,omitempty"` // seconds of the receiver's clock
	Want    string   `json:"want"`           // ok, or the reason
}

// goldenSample is a sample as the vectors have it.
type goldenSample struct {
	Verify hook.Verify       `json:"verify"`
	Secret string            `json:"secret"`
	At     int64             `json:"at"`
	Header map[string]string `json:"headers"`
	Body   string            `json:"body"`
	ID     string            `json:"id"`
	Signed int64             `json:"signed_at"` // 0: no time is
	Event  json.RawMessage   `json:"event"`
}

// Receivers read what they verify, and the vectors of all languages are those that the
// mesh itself believes or does not.
func TestGoldenRequestsToReceivers(t *testing.T) {
	golden := struct {
		Samples map[string]goldenSample `json:"samples"`
		Cases   []vector                `json:"cases"`
	}{Samples: map[string]goldenSample{}}
	form := samples["slack, of its docs"]
	form.header = maps.Clone(form.header)
	form.header["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
	all := maps.Clone(samples)
	all["slack, of its docs"] = form
	all["everything"] = sample{hook.Verify{Style: hook.HMAC, Header: "X-Sig", ID: "X-Id", Encoding: "base64", Algorithm: "sha512", Key: "base64", Prefix: "v9=", Timestamp: "X-Time", Content: "{id}|{timestamp}|{body}{"},
		"c29tZSBzZWNyZXQgb2YgMjQgYnl0ZXMu", 1614265330, `{"{id}":"{body}"}`,
		map[string]string{"X-Id": "{timestamp}", "X-Time": "1614265330", "X-Sig": "v9=pBw6gG40XA8322VuQytl+v5kgeoUYjRh4zy83kCRZ0Gj100BgCWceUjkCY8jhE4fLMH+dit9Mg2jxFEJ9LalSg=="}}
	delete(all, "standard") // it has vectors of its own
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		r, err := s.verify.Receive(http.Header(s.headers()), []byte(s.body), []string{s.secret}, time.Unix(s.at, 0))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g := goldenSample{Verify: s.verify, Secret: s.secret, At: s.at, Header: s.header, Body: s.body, ID: r.ID, Event: r.Body}
		if !r.At.IsZero() {
			g.Signed = r.At.Unix()
		}
		golden.Samples[name] = g
		for _, v := range s.variants(name) {
			h := s.headers()
			if v.Header != "" {
				h[v.Header] = v.Values
			}
			if v.Huge {
				h[v.Header] = []string{strings.Repeat("a", 10<<10)}
			}
			body, secrets := s.body, v.Secrets
			if v.Body != nil {
				body = *v.Body
			}
			if secrets == nil {
				secrets = []string{s.secret}
			}
			_, err := s.verify.Receive(http.Header(h), []byte(body), secrets, time.Unix(s.at+int64(v.Late), 0))
			v.Want = reasonOf(t, err)
			golden.Cases = append(golden.Cases, v)
		}
	}
	manualtest.File(t, "testdata/requests.json", written(golden.Samples, golden.Cases))
}

// written is the file of the vectors, a line each.
func written(samples map[string]goldenSample, cases []vector) string {
	line := func(v any) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v)
		return strings.TrimSuffix(b.String(), "\n")
	}
	var lines, more []string
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		lines = append(lines, fmt.Sprintf("  %s: %s", line(name), line(samples[name])))
	}
	for _, c := range cases {
		more = append(more, "  "+line(c))
	}
	return "{\"samples\": {\n" + strings.Join(lines, ",\n") + "\n}, \"cases\": [\n" + strings.Join(more, ",\n") + "\n]}\n"
}

func reasonOf(t *testing.T, err error) string {
	for reason, kind := range map[string]error{"missing": hook.ErrMissing, "malformed": hook.ErrMalformed, "timestamp": hook.ErrTimestamp, "mismatch": hook.ErrMismatch} {
		if errors.Is(err, kind) {
			return reason
		}
	}
	if err != nil {
		t.Error(err)
	}
	return "ok"
}

// variants are the requests that differ from a sample in one thing.
func (s sample) variants(name string) (all []vector) {
	add := func(what string, v vector) {
		v.Of, v.What = name, what
		all = append(all, v)
	}
	text := func(s string) *string { return &s }
	other := s.secret[:len(s.secret)-2] + "4w"
	add("with the secret of before", vector{Secrets: []string{other, s.secret}})
	add("with another secret", vector{Secrets: []string{other}})
	add("without a secret", vector{Secrets: []string{}})
	add("a bit of the body", vector{Body: text(string(s.body[0]^1) + s.body[1:])})
	add("a line behind the body", vector{Body: text(s.body + "\n")})
	add("no body", vector{Body: text("")})
	for _, late := range []int{300, -300, 301, -301} {
		add(fmt.Sprint(late, " s late"), vector{Late: late})
	}
	for _, header := range slices.Sorted(maps.Keys(s.header)) {
		if header == "Content-Type" {
			continue
		}
		value := s.header[header]
		add("missing", vector{Header: header})
		for what, values := range map[string][]string{
			"empty": {""}, "twice": {value, value}, "a blank behind": {value + " "}, "a line end": {value + "\n"}, "the first of two is empty": {"", value},
			"a bit of it": {value[:len(value)-1] + string(value[len(value)-1]^1)}, "another beginning": {"x" + value}, "in upper case": {strings.ToUpper(value)},
		} {
			add(what, vector{Header: header, Values: values})
		}
		add("huge", vector{Header: header, Huge: true})
		for _, stamp := range []string{"+1614265330", "01614265330", "1.6e9", "-1", "0", "", " 1614265330", "1614265330000", "99999999999999999999"} {
			if was := fmt.Sprint(s.at); strings.Contains(value, was) {
				add("time "+stamp, vector{Header: header, Values: []string{strings.Replace(value, was, stamp, 1)}})
			}
		}
		if s.verify.Style == hook.Stripe {
			for _, n := range []int{15, 16} {
				add(fmt.Sprint(n, " more signatures"), vector{Header: header, Values: []string{strings.Replace(value, ",", strings.Repeat(",v1=00", n)+",", 1)}})
			}
			add("of tests", vector{Header: header, Values: []string{strings.Replace(value, "v1=", "v0=", 1)}})
			add("two times", vector{Header: header, Values: []string{"t=1614265330," + value}})
			add("no signature", vector{Header: header, Values: []string{"t=1614265330"}})
		}
	}
	slices.SortStableFunc(all, func(a, b vector) int { return strings.Compare(a.Header+a.What, b.Header+b.What) })
	return all
}

// What is wrong with a style or a secret is told, whatever came.
func TestAReceiverIsToldWhatIsWrongWithItsStyle(t *testing.T) {
	for want, v := range map[string]hook.Verify{
		"style: it must be": {Style: "gitlab"}, "header: the style says it": {Style: hook.GitHub, Header: "X"}, "header: ": {Style: hook.Token},
		"content: it has {body} once": {Style: hook.HMAC, Header: "X", Content: "{id}"}, "timestamp: name the header": {Style: hook.HMAC, Header: "X", Content: "{timestamp}{body}"},
	} {
		if _, err := v.Receive(http.Header{}, nil, []string{"s"}, time.Now()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := (hook.Verify{Style: hook.GitHub}).Receive(http.Header{}, nil, []string{" "}, time.Now()); err == nil || !strings.Contains(err.Error(), "secret: it is empty") {
		t.Error(err)
	}
}
