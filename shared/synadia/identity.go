package synadia

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nkeys"
)

// senderHeader says who sends a prompt.
const senderHeader = "Agent-Sender"

// Class is how far the sender of a prompt is known.
type Class string

// The classes.
const (
	Absent   Class = "absent"
	Claimed  Class = "claimed"  // it says so
	Verified Class = "verified" // it has signed
)

// Sender is who sends a prompt.
type Sender struct {
	Class   Class  `json:"class"`
	AgentID string `json:"agent_id,omitempty"` // account.user
	Name    string `json:"name,omitempty"`
}

// wireSender is the header.
type wireSender struct {
	V       int    `json:"v"`
	Account string `json:"account"`
	User    string `json:"user"`
	Name    string `json:"name,omitempty"`
	Sub     string `json:"sub"`
	TS      string `json:"ts"`
	Nonce   string `json:"nonce"`
	Sig     string `json:"sig,omitempty"`
}

const (
	maxSender   = 4 << 10 // bytes of the header
	clockWithin = 30 * time.Second
	nonceFor    = time.Minute
	maxNonce    = 128
	maxNonces   = 100_000
)

func (s wireSender) signed(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	return fmt.Appendf(nil, "AGENT-SENDER-V1\n%s\n%s\n%s\n%s\n%s\n%s\n", s.Account, s.User, s.Sub, s.TS, s.Nonce, hex.EncodeToString(sum[:]))
}

// Sign is the header of a prompt that the holder of a seed sends.
func Sign(seed []byte, account, name, subject string, payload []byte, now time.Time) (string, error) {
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return "", errors.New("sign a prompt: the seed is none of a NATS user")
	}
	defer pair.Wipe()
	user, err := pair.PublicKey()
	if err != nil {
		return "", err
	}
	s := wireSender{V: 1, Account: account, User: user, Name: name, Sub: subject, TS: now.UTC().Format(time.RFC3339), Nonce: rand.Text()}
	sig, err := pair.Sign(s.signed(payload))
	if err != nil {
		return "", err
	}
	s.Sig = base64.RawURLEncoding.EncodeToString(sig)
	raw, err := json.Marshal(s)
	return string(raw), err
}

// SignerOf reads a credentials file, and makes a function that signs as its user. The
// account is the one that the user's JWT names.
func SignerOf(creds []byte, name string) (func(subject string, payload []byte) (string, error), error) {
	token, err := nkeys.ParseDecoratedJWT(creds)
	if err != nil {
		return nil, errors.New("read credentials: there is no JWT of a user")
	}
	pair, err := nkeys.ParseDecoratedNKey(creds)
	if err != nil {
		return nil, errors.New("read credentials: there is no seed of a user")
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, errors.New("read credentials: the seed is none of a user")
	}
	var claims struct {
		Issuer string `json:"iss"`
		NATS   struct {
			Account string `json:"issuer_account"`
		} `json:"nats"`
	}
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return nil, errors.New("read credentials: the JWT is malformed")
	}
	account := cmp.Or(claims.NATS.Account, claims.Issuer)
	return func(subject string, payload []byte) (string, error) {
		return Sign(seed, account, name, subject, payload, time.Now())
	}, nil
}

// Nonces remembers what was signed lately, so that nothing counts twice.
type Nonces struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// fresh notes a nonce and reports whether it is new.
func (n *Nonces) fresh(key string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil {
		n.seen = map[string]time.Time{}
	}
	if at, ok := n.seen[key]; ok && now.Sub(at) < nonceFor {
		return false
	}
	if len(n.seen) >= maxNonces {
		for k, at := range n.seen {
			if now.Sub(at) >= nonceFor {
				delete(n.seen, k)
			}
		}
		if len(n.seen) >= maxNonces {
			return false // more than anybody signs honestly
		}
	}
	n.seen[key] = now
	return true
}

// Check says who sends a prompt with a header. The error is an [*Error]: 400 of a
// header that is malformed, 401 of one that does not hold.
func (n *Nonces) Check(header, subject string, payload []byte, now time.Time) (Sender, error) {
	if header == "" {
		return Sender{Class: Absent}, nil
	}
	malformed := badRequest("The header %s is malformed.", senderHeader)
	var s wireSender
	if len(header) > maxSender || json.Unmarshal([]byte(header), &s) != nil || s.V != 1 {
		return Sender{}, malformed
	}
	if !nkeys.IsValidPublicAccountKey(s.Account) || !nkeys.IsValidPublicUserKey(s.User) || len(s.Name) > maxName {
		return Sender{}, malformed
	}
	who := Sender{Class: Claimed, AgentID: s.Account + "." + s.User, Name: s.Name}
	if s.Sig == "" {
		return who, nil
	}
	fails := func(why string) (Sender, error) {
		return Sender{}, &Error{Code: 401, Name: "unauthorized", Message: "The signature of the sender does not hold: " + why + "."}
	}
	at, err := time.Parse(time.RFC3339, s.TS)
	sig, bad := base64.RawURLEncoding.DecodeString(s.Sig)
	if err != nil || bad != nil || s.Nonce == "" || len(s.Nonce) > maxNonce {
		return Sender{}, malformed
	}
	if late := now.Sub(at); late > clockWithin || late < -clockWithin {
		return fails("its time is more than 30 seconds off")
	}
	if s.Sub != subject {
		return fails("it is for another subject")
	}
	pair, err := nkeys.FromPublicKey(s.User)
	if err != nil || pair.Verify(s.signed(payload), sig) != nil {
		return fails("it is not of this user and this prompt")
	}
	if !n.fresh(s.User+" "+s.Nonce, now) {
		return fails("it has come before")
	}
	who.Class = Verified
	return who, nil
}
