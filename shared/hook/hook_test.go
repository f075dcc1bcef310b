package hook_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"agentmesh/shared/hook"
	"agentmesh/shared/signature"
)

// sample is a request that is verified.
type sample struct {
	verify hook.Verify
	secret string
	at     int64
	body   string
	header map[string]string
}

const slackCommand = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

// samples are the vectors: those of the providers' own documents, and others that
// were computed with another program.
var samples = map[string]sample{
	"standard": {hook.Verify{Style: hook.Standard}, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330, `{"test": 2432232314}`,
		map[string]string{"Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp": "1614265330", "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}},
	"github, of its docs": {hook.Verify{Style: hook.GitHub}, "It's a Secret to Everybody", 1614265330, "Hello, World!",
		map[string]string{"X-Github-Delivery": "d1", "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}},
	"github": {hook.Verify{Style: hook.GitHub}, "mesh-github-secret", 1614265330, `{"action":"opened","number":7}`,
		map[string]string{"X-Github-Delivery": "d1", "X-Hub-Signature-256": "sha256=4a328fcc2715df3950740d48b9d9ab79f202afcd67866471e2dee1328c5d8f04"}},
	"stripe": {hook.Verify{Style: hook.Stripe}, "whsec_test_secret_for_agentmesh", 1614265330, `{"id":"evt_1","type":"charge.succeeded"}`,
		map[string]string{"Stripe-Signature": "t=1614265330,v1=f12ff0b14b985e68c669e539554cb6236db2864b35c17ca6f32896c762e8306f"}},
	"slack, of its docs": {hook.Verify{Style: hook.Slack}, "8f742231b10e8888abcd99yyyzzz85a5", 1531420618, slackCommand,
		map[string]string{"X-Slack-Request-Timestamp": "1531420618", "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"}},
	"slack": {hook.Verify{Style: hook.Slack}, "mesh-slack-secret", 1614265330, `{"type":"event_callback","event_id":"Ev1"}`,
		map[string]string{"X-Slack-Request-Timestamp": "1614265330", "X-Slack-Signature": "v0=12f79010ee6e4b41c925c6d4412db8c2dd5078aa98239b921d9be52b64d9bda5"}},
	"shopify": {hook.Verify{Style: hook.HMAC, Header: "X-Shopify-Hmac-Sha256", Encoding: "base64", ID: "X-Shopify-Event-Id"}, "mesh-shopify-secret", 1614265330, `{"id":1}`,
		map[string]string{"X-Shopify-Event-Id": "e1", "X-Shopify-Hmac-Sha256": "obzgQLKmTGfnhDlxfGsp4M5GexfIoknSI01EsK1uOqU="}},
	"linear": {hook.Verify{Style: hook.HMAC, Header: "Linear-Signature", ID: "Linear-Delivery"}, "mesh-linear-secret", 1614265330, `{"action":"create"}`,
		map[string]string{"Linear-Delivery": "l1", "Linear-Signature": "fe05288b4654e051f207efe6f0edb3adcbab655f30a7f951f170ee86ae550dbd"}},
	"gitlab": {hook.Verify{Style: hook.Token, Header: "X-Gitlab-Token", ID: "X-Gitlab-Event-Uuid"}, "mesh-gitlab-token", 1614265330, `{}`,
		map[string]string{"X-Gitlab-Event-Uuid": "u1", "X-Gitlab-Token": "mesh-gitlab-token"}},
	"basic": {hook.Verify{Style: hook.Token, Username: "ann", ID: hook.IDNone}, "pass:word", 1614265330, `{}`,
		map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:pass:word"))}},
}

func (s sample) headers() hook.Headers {
	h := hook.Headers{}
	for name, value := range s.header {
		h[name] = []string{value}
	}
	return h
}

func (s sample) filled() *hook.Verify {
	v := hook.Spec{Verify: s.verify}.WithDefaults().Verify
	return &v
}

func (s sample) check(h hook.Headers, body string, secrets []string, late time.Duration) error {
	return s.filled().Authentic(h, []byte(body), secrets, time.Unix(s.at, 0).Add(late))
}

// signs reports whether a style signs the body.
func (s sample) signs() bool { return s.verify.Style != hook.Token }

func TestTheRequestsOfEachProviderAreBelieved(t *testing.T) {
	for name, s := range samples {
		if f := s.filled().CheckSecrets([]string{s.secret}); len(f) > 0 {
			t.Errorf("%s: %v", name, f)
		}
		if err := s.check(s.headers(), s.body, []string{s.secret}, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		other := s.secret[:len(s.secret)-1] + "_"
		if s.verify.Style == hook.Standard {
			other = signature.NewSecret().Reveal()
		}
		if err := s.check(s.headers(), s.body, []string{other, s.secret}, 0); err != nil {
			t.Errorf("%s, with the secret of before: %v", name, err)
		}
		if err := s.check(s.headers(), s.body, []string{other}, 0); !errors.Is(err, hook.ErrMismatch) {
			t.Errorf("%s, with another secret: %v", name, err)
		}
		if err := s.check(s.headers(), s.body, nil, 0); !errors.Is(err, hook.ErrMismatch) {
			t.Errorf("%s, without a secret: %v", name, err)
		}
	}
}

func TestOneChangedBitIsNotBelieved(t *testing.T) {
	for name, s := range samples {
		if s.signs() {
			for i := range len(s.body) {
				changed := []byte(s.body)
				changed[i] ^= 1
				if err := s.check(s.headers(), string(changed), []string{s.secret}, 0); err == nil {
					t.Errorf("%s: byte %d of the body", name, i)
				}
			}
			for _, body := range []string{"", s.body + "\n", s.body + s.body} {
				if err := s.check(s.headers(), body, []string{s.secret}, 0); err == nil {
					t.Errorf("%s: body %q", name, body)
				}
			}
		}
		for header, value := range s.header {
			if s.filled().ID == http.CanonicalHeaderKey(header) && s.verify.Style != hook.Standard || strings.HasSuffix(strings.ToLower(header), "delivery") || strings.HasSuffix(strings.ToLower(header), "uuid") || header == "X-Shopify-Event-Id" {
				continue // no provider but that of Standard Webhooks signs it
			}
			for i := range len(value) {
				changed := []byte(value)
				changed[i] ^= 1
				h := s.headers()
				h[header] = []string{string(changed)}
				if strings.EqualFold(string(changed), value) {
					continue // upper-case hex is the same number
				}
				if err := s.check(h, s.body, []string{s.secret}, 0); err == nil {
					t.Errorf("%s: byte %d of %s", name, i, header)
				}
			}
		}
	}
}

// Each header is there once, and says one thing.
func TestHeadersOfAnotherShapeAreNotBelieved(t *testing.T) {
	for name, s := range samples {
		for _, header := range slices.Sorted(maps.Keys(s.header)) {
			value := s.header[header]
			for what, values := range map[string][]string{
				"missing": nil, "empty": {""}, "twice": {value, value}, "blank": {" "}, "a blank before": {" " + value}, "a blank behind": {value + " "},
				"a line end": {value + "\n"}, "huge": {strings.Repeat("a", 10<<10)}, "first of two is empty": {"", value},
			} {
				if strings.HasPrefix(what, "a ") && (strings.Contains(header, "Delivery") || strings.Contains(header, "Uuid") || strings.Contains(header, "Event-Id")) && what != "a line end" {
					continue // an id may have blanks
				}
				if what == "blank" && !strings.Contains(header, "Signature") && !strings.Contains(header, "Token") {
					continue
				}
				if s.verify.Style == hook.Standard && header == "Webhook-Signature" && strings.HasPrefix(what, "a ") {
					continue // it is a list with blanks between
				}
				h := s.headers()
				if h[header] = values; values == nil {
					delete(h, header)
				}
				err := s.check(h, s.body, []string{s.secret}, 0)
				if err == nil {
					t.Errorf("%s: %s %s", name, header, what)
				}
				if what == "missing" && !errors.Is(err, hook.ErrMissing) {
					t.Errorf("%s: %s %s: %v", name, header, what, err)
				}
			}
		}
	}
}

func TestUpperCaseHexIsTheSameNumber(t *testing.T) {
	for name, header := range map[string]string{"github": "X-Hub-Signature-256", "slack": "X-Slack-Signature", "linear": "Linear-Signature"} {
		s := samples[name]
		h := s.headers()
		scheme, digits, ok := strings.Cut(h[header][0], "=")
		if h[header] = []string{scheme + "=" + strings.ToUpper(digits)}; !ok {
			h[header] = []string{strings.ToUpper(scheme)}
		}
		if err := s.check(h, s.body, []string{s.secret}, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARequestIsBelievedForFiveMinutes(t *testing.T) {
	for _, name := range []string{"standard", "stripe", "slack"} {
		s := samples[name]
		for late, ok := range map[time.Duration]bool{300 * time.Second: true, -300 * time.Second: true, 301 * time.Second: false, -301 * time.Second: false, 24 * time.Hour: false} {
			err := s.check(s.headers(), s.body, []string{s.secret}, late)
			if (err == nil) != ok || !ok && !errors.Is(err, hook.ErrTimestamp) {
				t.Errorf("%s, %v late: %v", name, late, err)
			}
		}
	}
}

// A timestamp has one form, whatever is signed with it: seconds since 1970, of no
// zone and without a sign.
func TestATimestampHasOneForm(t *testing.T) {
	now := time.Unix(1614265330, 0)
	hmac := hook.Verify{Style: hook.HMAC, Header: "X-Sig", Timestamp: "X-Time", Content: "{timestamp}.{body}", ID: hook.IDNone}
	for _, stamp := range []string{"+1614265330", "01614265330", "1.614265330e9", "1614265330.0", "0x60379e72", "-1", "0", "", " 1614265330", "1614265330000", "99999999999999999999", "2021-02-25T15:02:10Z", "2021-02-25T16:02:10+01:00", "Thu, 25 Feb 2021 15:02:10 GMT"} {
		for _, v := range []hook.Verify{{Style: hook.Stripe}, {Style: hook.Slack}, hmac} {
			h := http.Header{}
			if err := v.Sign(h, "secret", "", now, nil); err != nil {
				t.Fatal(err)
			}
			for name, values := range h {
				h[name] = []string{strings.ReplaceAll(values[0], "1614265330", stamp)}
			}
			full := hook.Spec{Verify: v}.WithDefaults().Verify
			if err := full.Authentic(hook.Headers(h), nil, []string{"secret"}, now); errors.Is(err, hook.ErrMismatch) || err == nil {
				t.Errorf("%s with %q: %v", v.Style, stamp, err)
			}
		}
	}
}

func TestManySignaturesAreNotTried(t *testing.T) {
	stripe, standard := samples["stripe"], samples["standard"]
	for n, ok := range map[int]bool{15: true, 16: false, 10_000: false} {
		h := stripe.headers()
		h["Stripe-Signature"] = []string{strings.Replace(h["Stripe-Signature"][0], ",", strings.Repeat(",v1=00", n)+",", 1)}
		if err := stripe.check(h, stripe.body, []string{stripe.secret}, 0); (err == nil) != ok || !ok && !errors.Is(err, hook.ErrMalformed) {
			t.Errorf("stripe with %d more: %v", n, err)
		}
		h = standard.headers()
		h["Webhook-Signature"] = []string{strings.Repeat("v1,AA== ", n) + h["Webhook-Signature"][0]}
		if err := standard.check(h, standard.body, []string{standard.secret}, 0); (err == nil) != ok || !ok && !errors.Is(err, hook.ErrMalformed) {
			t.Errorf("standard with %d more: %v", n, err)
		}
	}
}

func TestOnlyTheSchemesOfAStyleCount(t *testing.T) {
	s := samples["stripe"]
	h := s.headers()
	h["Stripe-Signature"] = []string{strings.Replace(h["Stripe-Signature"][0], "v1=", "v0=", 1)}
	if err := s.check(h, s.body, []string{s.secret}, 0); err == nil {
		t.Error("v0 of Stripe was believed")
	}
	decoded, _ := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(s.secret, "whsec_"))
	if err := s.check(s.headers(), s.body, []string{string(decoded) + "x"}, 0); err == nil {
		t.Error("a secret of Stripe that was decoded was believed")
	}
	g := samples["github"]
	old := hook.Headers{"X-Github-Delivery": {"d"}, "X-Hub-Signature": {"sha1=" + strings.Repeat("0", 40)}}
	if err := g.check(old, g.body, []string{g.secret}, 0); !errors.Is(err, hook.ErrMissing) {
		t.Errorf("sha1 of GitHub: %v", err)
	}
	for name, s := range samples { // the same value in other bytes
		if !s.signs() || !json.Valid([]byte(s.body)) {
			continue
		}
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(s.body), "", "  "); err != nil {
			t.Fatal(err)
		}
		if err := s.check(s.headers(), b.String(), []string{s.secret}, 0); !errors.Is(err, hook.ErrMismatch) {
			t.Errorf("%s, encoded again: %v", name, err)
		}
	}
	dotted := samples["standard"].headers()
	dotted["Webhook-Id"] = []string{"msg.1"}
	if err := samples["standard"].check(dotted, "x", []string{samples["standard"].secret}, 0); !errors.Is(err, hook.ErrMalformed) {
		t.Errorf("an id with a dot: %v", err)
	}
}

func TestAStandardHookTrustsAPublicKey(t *testing.T) {
	key, h, now := signature.NewPrivateKey(), http.Header{}, time.Now()
	if err := signature.Sign(h, "msg_1", now, []byte("{}"), key); err != nil {
		t.Fatal(err)
	}
	v := hook.Spec{Verify: hook.Verify{Style: hook.Standard}}.WithDefaults().Verify
	if err := v.Authentic(hook.Headers(h), []byte("{}"), []string{key.Public().String()}, now); err != nil {
		t.Error(err)
	}
}

// Sign is what a sender does: each style believes it, with each option.
func TestWhatIsSignedIsBelieved(t *testing.T) {
	now := time.Unix(1614265330, 0)
	for _, v := range []hook.Verify{
		{Style: hook.Standard}, {Style: hook.GitHub}, {Style: hook.Stripe}, {Style: hook.Slack},
		{Style: hook.HMAC, Header: "X-Sig", ID: "X-Id", Encoding: "base64", Algorithm: "sha512", Key: "base64", Prefix: "v9=", Timestamp: "X-Time", Content: "{id}|{timestamp}|{body}"},
		{Style: hook.Token, Header: "X-Token", ID: hook.IDNone}, {Style: hook.Token, Username: "u", ID: hook.IDNone},
	} {
		secret, h := base64.StdEncoding.EncodeToString([]byte("some secret of 24 bytes.")), http.Header{}
		if v.Style == hook.Standard {
			secret = "whsec_" + secret
		}
		if err := v.Sign(h, secret, "dlv_1", now, []byte(`{"id":"e"}`)); err != nil {
			t.Errorf("%s: %v", v.Style, err)
		}
		full := hook.Spec{Verify: v, Task: &hook.Work{}}.WithDefaults()
		if f := full.Check(); len(f) > 0 {
			t.Errorf("%s: %v", v.Style, f)
		}
		if err := full.Verify.Authentic(hook.Headers(h), []byte(`{"id":"e"}`), []string{secret}, now); err != nil {
			t.Errorf("%s: %v", v.Style, err)
		}
	}
	if err := (hook.Verify{Style: hook.GitHub}).Sign(http.Header{}, "", "d", now, nil); err == nil {
		t.Error("an empty secret signs")
	}
	for name, s := range samples { // the vectors, byte for byte
		h := http.Header{}
		if err := s.verify.Sign(h, s.secret, cmpID(s), time.Unix(s.at, 0), []byte(s.body)); err != nil {
			t.Fatal(err)
		}
		for header, want := range s.header {
			if got := h.Get(header); got != want {
				t.Errorf("%s: %s is %s, want %s", name, header, got, want)
			}
		}
	}
}

func cmpID(s sample) string {
	for name, value := range s.header {
		if strings.EqualFold(name, s.filled().ID) {
			return value
		}
	}
	return ""
}
