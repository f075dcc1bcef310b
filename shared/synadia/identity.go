package synadia

import (
	"cmp"
	"context"
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

	Nonce string `json:"-"` // of a signature that holds
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
	return signed(pair.Sign, user, account, name, subject, payload, now)
}

// signed is the header of a prompt, signed.
func signed(sign func([]byte) ([]byte, error), user, account, name, subject string, payload []byte, now time.Time) (string, error) {
	s := wireSender{V: 1, Account: account, User: user, Name: name, Sub: subject, TS: now.UTC().Format(time.RFC3339), Nonce: rand.Text()}
	sig, err := sign(s.signed(payload))
	if err != nil {
		return "", fmt.Errorf("sign a prompt: %w", err)
	}
	s.Sig = base64.RawURLEncoding.EncodeToString(sig)
	raw, err := json.Marshal(s)
	return string(raw), err
}

// Signer makes a function that signs prompts as the user of the connection, whose seed
// stays where it is: credentials, an NKey or a NATS context. It is nil where the
// connection has no seed, and where the account has no key: nobody could check that.
func (c *Conn) Signer(ctx context.Context, name string) (func(subject string, payload []byte) (string, error), error) {
	sign := c.nc.Opts.SignatureCB
	if sign == nil {
		return nil, nil
	}
	account, user, err := c.identity(ctx)
	if err != nil || !nkeys.IsValidPublicAccountKey(account) || !nkeys.IsValidPublicUserKey(user) {
		return nil, err
	}
	return func(subject string, payload []byte) (string, error) {
		return signed(sign, user, account, name, subject, payload, time.Now())
	}, nil
}

// identity is who the connection is: as its JWT says, else as the server does.
func (c *Conn) identity(ctx context.Context) (account, user string, err error) {
	if c.nc.Opts.UserJWT != nil {
		token, err := c.nc.Opts.UserJWT()
		if err != nil {
			return "", "", errors.New("read credentials: there is no JWT of a user")
		}
		return ofJWT(token)
	}
	ctx, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	msg, err := c.nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return "", "", fmt.Errorf("ask NATS who we are: %w", err)
	}
	var info struct {
		Data struct {
			User    string `json:"user"`
			Account string `json:"account"`
		} `json:"data"`
	}
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		return "", "", fmt.Errorf("ask NATS who we are: %w", err)
	}
	return info.Data.Account, c.nc.Opts.Nkey, nil
}

// ofJWT is whose JWT it is. Its signature is the server's business.
func ofJWT(token string) (account, user string, err error) {
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
		NATS    struct {
			Account string `json:"issuer_account"`
		} `json:"nats"`
	}
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return "", "", errors.New("read credentials: the JWT is malformed")
	}
	return cmp.Or(claims.NATS.Account, claims.Issuer), claims.Subject, nil
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
	who.Class, who.Nonce = Verified, s.Nonce
	return who, nil
}
