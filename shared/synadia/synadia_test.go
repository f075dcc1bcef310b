package synadia

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	seed    = "SUAEJ6GDK6FSSB54LD45Q7W25AW7NUT7MVLBABIR5MIPFUTBW7ZNPK2KYE"
	account = "AABYLMBR6Q2CDXTLGRQCFA2GP76BGCDF7NZF2OVHH4RQ7L3Y3TZWJDRL"
	user    = "UCDUW5V44EBDBIK2FL4CTNDBQFNGBEZVJHSZGQVKRHASN4AV4IWPB5NT"
	subject = "agents.prompt.demo-agent.alice.example"
	payload = `{"prompt":"hello"}`
)

// known is the known answer of the protocol.
func known() wireSender {
	return wireSender{
		V: 1, Account: account, User: user, Sub: subject, TS: "2026-08-28T12:00:00Z", Nonce: "nonce-operator-account-signed",
		Sig: "EPGc0tNF0ZQeBqXUduwUp3zdi33k1AKIXOX-PUPSeY9QtS4V3d2EZLq-fHuPuYkw6Cc3HdVn_jVI58Y_3YBZBw",
	}
}

func header(s wireSender) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

func code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestASignatureHoldsForItsPromptOnly(t *testing.T) {
	at := time.Date(2026, 8, 28, 12, 0, 0, 0, time.UTC)
	who, err := new(Nonces).Check(header(known()), subject, []byte(payload), at)
	if err != nil || who.Class != Verified || who.AgentID != account+"."+user {
		t.Fatalf("the known answer: %+v, %v", who, err)
	}
	for name, change := range map[string]func(*wireSender){
		"account": func(s *wireSender) { s.Account = "AADBDTLTGYVZVQTZ5KFEGCBRVGQMKSB3ZBF4TDR7LTUULFV7UZ3J5HEF" },
		"user":    func(s *wireSender) { s.User = strings.Replace(user, "U", "A", 1) },
		"subject": func(s *wireSender) { s.Sub += "x" },
		"time":    func(s *wireSender) { s.TS = "2026-08-28T12:00:01Z" },
		"nonce":   func(s *wireSender) { s.Nonce += "x" },
		"sig":     func(s *wireSender) { s.Sig = "A" + s.Sig[1:] },
		"version": func(s *wireSender) { s.V = 2 },
	} {
		s := known()
		change(&s)
		if who, err := new(Nonces).Check(header(s), subject, []byte(payload), at); err == nil || code(err) != 400 && code(err) != 401 {
			t.Errorf("another %s: %+v, %v", name, who, err)
		}
	}
	if _, err := new(Nonces).Check(header(known()), subject, []byte(payload+" "), at); code(err) != 401 {
		t.Errorf("another payload: %v", err)
	}
	if _, err := new(Nonces).Check(header(known()), subject+".x", []byte(payload), at); code(err) != 401 {
		t.Errorf("at another subject: %v", err)
	}
	for _, off := range []time.Duration{31 * time.Second, -31 * time.Second} {
		if _, err := new(Nonces).Check(header(known()), subject, []byte(payload), at.Add(off)); code(err) != 401 {
			t.Errorf("a clock %v off: %v", off, err)
		}
	}
	n := &Nonces{}
	_, first := n.Check(header(known()), subject, []byte(payload), at)
	if _, second := n.Check(header(known()), subject, []byte(payload), at); first != nil || code(second) != 401 {
		t.Errorf("twice: %v, %v", first, second)
	}
	s := known()
	s.Sig = ""
	if who, err := n.Check(header(s), subject, []byte(payload), at); err != nil || who.Class != Claimed {
		t.Errorf("without a signature: %+v, %v", who, err)
	}
	if _, err := n.Check(`{"v":1,"name":"`+strings.Repeat("x", maxSender)+`"}`, subject, nil, at); code(err) != 400 {
		t.Errorf("a header that is too large: %v", err)
	}
	if who, err := n.Check("", subject, nil, at); err != nil || who.Class != Absent {
		t.Errorf("none: %+v, %v", who, err)
	}
}

func TestWhatIsSignedHereHolds(t *testing.T) {
	now := time.Now()
	h, err := Sign([]byte(seed), account, "me", subject, []byte(payload), now)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := new(Nonces).Check(h, subject, []byte(payload), now); err != nil || who.Class != Verified || who.Name != "me" || who.AgentID != account+"."+user {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestPromptsAreReadByTheirFirstByte(t *testing.T) {
	for body, want := range map[string]string{
		"hello":                             "hello",
		`  {"prompt":"hi","of":"tomorrow"}`: "hi",
		`{"prompt":"","task_id":"tsk_1"}`:   "",
		`["a"]`:                             `["a"]`,
		`{"prompt":"x","attachments":[]}`:   "x",
		"{broken":                           "400",
		"":                                  "400",
		"  \n":                              "400",
		`{"prompt":" "}`:                    "400",
		`{"attachments":[]}`:                "400",
		`{"prompt":7}`:                      "400",
		`{"prompt":"x","attachments":[{"filename":"a","content":"AQ"}]}`:    "400",
		`{"prompt":"x","attachments":[{"filename":"..","content":"AQ=="}]}`: "400",
	} {
		r, err := ParseRequest([]byte(body))
		switch {
		case want == "400" && code(err) != 400:
			t.Errorf("%q: %+v, %v", body, r, err)
		case want != "400" && (err != nil || r.Prompt != want):
			t.Errorf("%q: %+v, %v", body, r, err)
		}
	}
	r, err := ParseRequest([]byte(`{"prompt":"x","attachments":[{"filename":"../../etc/passwd","content":"AQ=="},{"filename":"C:\\x\\b.txt","content":""}]}`))
	if err != nil || r.Attachments[0].Filename != "passwd" || r.Attachments[1].Filename != "b.txt" || len(r.Attachments[0].Content) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	many := `{"prompt":"x","attachments":[` + strings.Repeat(`{"filename":"a","content":""},`, MaxAttachments) + `{"filename":"a","content":""}]}`
	if _, err := ParseRequest([]byte(many)); code(err) != 400 {
		t.Errorf("%d attachments: %v", MaxAttachments+1, err)
	}
}

func TestSizesAreReadAndWritten(t *testing.T) {
	for text, n := range map[string]int64{"1MB": 1 << 20, "512KB": 512 << 10, "7B": 7, "1GB": 1 << 30, "1TB": 0, "MB": 0, "": 0, "-1KB": 0, "1": 0} {
		if got := parseSize(text); got != n {
			t.Errorf("%q is %d", text, got)
		}
	}
	if s := formatSize(1<<20 - 1); s != "1023KB" {
		t.Error(s)
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"hello", `{"prompt":"x","attachments":[{"filename":"a","content":"AQ=="}]}`, "{", `{"prompt":"a","cancel":"tsk_1"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := ParseRequest([]byte(body))
		if (err == nil) == (r == nil) || err != nil && code(err) != 400 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
