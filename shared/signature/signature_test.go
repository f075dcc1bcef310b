package signature_test

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"agentmesh/shared/signature"
)

// The vectors of the specification.
const (
	id      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	stamp   = 1614265330
	body    = `{"test": 2432232314}`
	secret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	private = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA=="
	seed    = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	public  = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
	v1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	v1a     = "v1a,yoUrgEkc12aGqm0n4Sydmdz55xJfTz4AsAgieHFjmkR7LJtqVCZOQYzvvHjI5kAey+r4iaBGxTFRrl2iBQxtDQ=="
)

var at = time.Unix(stamp, 0)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	shared := must(signature.ParseSecret(secret))
	for _, text := range []string{private, seed} {
		key := must(signature.ParsePrivateKey(text))
		if key.Reveal() != private || key.Public().String() != public {
			t.Errorf("%s is read as %s with %s", text, key.Reveal(), key.Public())
		}
		h := http.Header{}
		if err := signature.Sign(h, id, at, []byte(body), shared, key); err != nil {
			t.Fatal(err)
		}
		if h.Get("webhook-id") != id || h.Get("webhook-timestamp") != strconv.Itoa(stamp) || h.Get("webhook-signature") != v1+" "+v1a {
			t.Errorf("headers %v", h)
		}
	}
	const svix = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	if got := must(signature.ParsePrivateKey(svix)).Public().String(); got != "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=" {
		t.Errorf("public key %s", got)
	}
}

func header(id, stamp string, signatures ...string) http.Header {
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": signatures}
}

// vectors are shared with the clients in other languages.
func vectors(t *testing.T) (v struct {
	Body  string
	At    int64
	Cases []struct {
		Name                           string
		ID, Timestamp, Signature, Keys []string
		OffSeconds                     int64 `json:"off_seconds"` // of the receiver's clock
		Body, Want                     string
	}
}) {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil || v.Body != body || v.At != stamp || len(v.Cases) < 20 {
		t.Fatalf("%v, %+v", err, v)
	}
	return v
}

func TestVerify(t *testing.T) {
	shared, trusted := must(signature.ParseSecret(secret)), must(signature.ParsePublicKey(public))
	both := []signature.VerifyingKey{shared, trusted}
	ok := strconv.Itoa(stamp)
	wants := map[string]error{"ok": nil, "missing": signature.ErrMissing, "malformed": signature.ErrMalformed, "timestamp": signature.ErrTimestamp, "mismatch": signature.ErrMismatch}
	for _, tt := range vectors(t).Cases {
		t.Run(tt.Name, func(t *testing.T) {
			var keys []signature.VerifyingKey
			for _, text := range tt.Keys {
				if strings.HasPrefix(text, "whpk_") {
					keys = append(keys, must(signature.ParsePublicKey(text)))
				} else {
					keys = append(keys, must(signature.ParseSecret(text)))
				}
			}
			h := http.Header{"Webhook-Id": tt.ID, "Webhook-Timestamp": tt.Timestamp, "Webhook-Signature": tt.Signature}
			msg, err := signature.Verifier{Keys: keys}.Verify(h, []byte(cmp.Or(tt.Body, body)), at.Add(time.Duration(tt.OffSeconds)*time.Second))
			want, known := wants[tt.Want]
			if !known || !errors.Is(err, want) || err == nil && (msg.ID != id || !msg.At.Equal(at)) {
				t.Errorf("%+v, %v, want %v", msg, err, want)
			}
		})
	}
	empty := []signature.VerifyingKey{signature.Secret{}, signature.PublicKey{}}
	zero := header(id, ok, "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	if _, err := (signature.Verifier{Keys: empty}).Verify(zero, []byte(body), at); !errors.Is(err, signature.ErrMismatch) {
		t.Errorf("empty keys: %v", err)
	}
	for i := range body {
		other := []byte(body)
		other[i] ^= 1
		if _, err := (signature.Verifier{Keys: both}).Verify(header(id, ok, v1), other, at); !errors.Is(err, signature.ErrMismatch) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, err := (signature.Verifier{Keys: both, Tolerance: time.Hour}).Verify(header(id, ok, v1), []byte(body), at.Add(50*time.Minute)); err != nil {
		t.Errorf("within a wider tolerance: %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	key := signature.NewSecret()
	for _, tt := range []struct {
		id   string
		at   time.Time
		keys []signature.SigningKey
	}{
		{"", at, []signature.SigningKey{key}}, {"a.1", at, []signature.SigningKey{key}}, {"a b", at, []signature.SigningKey{key}}, {strings.Repeat("a", 257), at, []signature.SigningKey{key}},
		{"a", time.Time{}, []signature.SigningKey{key}}, {"a", at, nil}, {"a", at, []signature.SigningKey{signature.Secret{}}}, {"a", at, []signature.SigningKey{signature.PrivateKey{}}},
	} {
		h := http.Header{}
		if err := signature.Sign(h, tt.id, tt.at, nil, tt.keys...); err == nil || len(h) > 0 {
			t.Errorf("%q at %v with %v: %v, %v", tt.id, tt.at, tt.keys, h, err)
		}
	}
}

func TestKeys(t *testing.T) {
	encode := func(prefix string, n int) string {
		return prefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n))
	}
	for text, want := range map[string]string{
		"": "must start with whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "must start with whsec_", "whsec_": "24 to 64 bytes, this one 0",
		encode("whsec_", 23): "this one 23", encode("whsec_", 65): "this one 65", "whsec_***": "standard base64", "whsec_-_-_": "standard base64",
		private: "it is a private key (whsk_), wanted is a shared secret (whsec_)", public: "it is a public key (whpk_)",
	} {
		if _, err := signature.ParseSecret(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("secret %q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		encode("whsk_", 33): "32 or 64 bytes", encode("whsk_", 64): "not its own", secret: "it is a shared secret",
	} {
		if _, err := signature.ParsePrivateKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("private key %q: %v, want %q", text, err, want)
		}
	}
	if _, err := signature.ParsePublicKey(encode("whpk_", 31)); err == nil || !strings.Contains(err.Error(), "32 bytes") {
		t.Errorf("public key: %v", err)
	}
	s, p := signature.NewSecret(), signature.NewPrivateKey()
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v", s, s, s), fmt.Sprintf("%v %#v", p, p)} {
		if !strings.Contains(shown, "***") || strings.Contains(shown, s.Reveal()[6:]) || strings.Contains(shown, p.Reveal()[5:]) {
			t.Errorf("shown: %s", shown)
		}
	}
	if again := must(signature.ParseSecret(s.Reveal())); again.Reveal() != s.Reveal() {
		t.Error("a secret does not come back")
	}
}

// The upstream library verifies our signatures, and we verify those of the
// library.
func TestUpstream(t *testing.T) {
	for n := range 50 {
		key := make([]byte, 24+n%41)
		body := make([]byte, n*37)
		_, _ = rand.Read(key)
		_, _ = rand.Read(body)
		text := "whsec_" + base64.StdEncoding.EncodeToString(key)
		theirs, ours := must(standardwebhooks.NewWebhook(text)), must(signature.ParseSecret(text))
		now, id := time.Now(), "dlv_"+strconv.Itoa(n)
		h := http.Header{}
		if err := signature.Sign(h, id, now, body, signature.NewSecret(), ours); err != nil {
			t.Fatal(err)
		}
		if err := theirs.Verify(body, h); err != nil {
			t.Errorf("they refuse ours: %v", err)
		}
		sig, err := theirs.Sign(id, now, body)
		if err != nil {
			t.Fatal(err)
		}
		h.Set("webhook-signature", sig)
		if _, err := (signature.Verifier{Keys: []signature.VerifyingKey{ours}}).Verify(h, body, now); err != nil {
			t.Errorf("we refuse theirs: %v", err)
		}
	}
}

// Nothing is accepted that was not signed.
func FuzzVerify(f *testing.F) {
	f.Add(id, strconv.Itoa(stamp), v1, []byte(body))
	f.Add(id, strconv.Itoa(stamp), v1+" "+v1a, []byte(body))
	f.Add("", "-1", "v1", []byte{})
	f.Add("a.1", "2", "v1,", []byte("x"))
	keys := []signature.VerifyingKey{must(signature.ParseSecret(secret)), must(signature.ParsePublicKey(public))}
	f.Fuzz(func(t *testing.T, i, s, sig string, b []byte) {
		if _, err := (signature.Verifier{Keys: keys}).Verify(header(i, s, sig), b, at); err == nil && (i != id || s != strconv.Itoa(stamp) || string(b) != body) {
			t.Errorf("accepted %q %q %q %q", i, s, sig, b)
		}
	})
}

// A receiver in Go.
func ExampleVerifier() {
	secret, err := signature.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		panic(err)
	}
	verifier := signature.Verifier{Keys: []signature.VerifyingKey{secret}}
	receiver := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
			return
		}
		msg, err := verifier.Verify(r.Header, body, time.Now())
		if err != nil {
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		fmt.Println(msg.ID, string(body)) // do the work once for each id
	})

	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"type":"action.completed"}`))
	_ = signature.Sign(r.Header, "dlv_1", time.Now(), []byte(`{"type":"action.completed"}`), secret)
	receiver.ServeHTTP(httptest.NewRecorder(), r)
	// Output: dlv_1 {"type":"action.completed"}
}
