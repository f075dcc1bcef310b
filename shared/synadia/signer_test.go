package synadia_test

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"agentmesh/shared/natstest"
	"agentmesh/shared/synadia"
)

// pair makes a key, its public form and its seed.
func pair(t *testing.T, make func() (nkeys.KeyPair, error)) (k nkeys.KeyPair, public, seed string) {
	t.Helper()
	k, err := make()
	if err != nil {
		t.Fatal(err)
	}
	public, _ = k.PublicKey()
	raw, _ := k.Seed()
	return k, public, string(raw)
}

// Prompts are signed by whoever the connection is: a user with a JWT, or one with an
// NKey in an account that has a key. Where nobody could check it, nothing is signed.
func TestPromptsAreSignedByTheUserOfTheConnection(t *testing.T) {
	operator, operatorKey, _ := pair(t, nkeys.CreateOperator)
	account, accountKey, _ := pair(t, nkeys.CreateAccount)
	user, userKey, seed := pair(t, nkeys.CreateUser)
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	_, systemKey, _ := pair(t, nkeys.CreateAccount)
	systemJWT, err := jwt.NewAccountClaims(systemKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	for key, token := range map[string]string{accountKey: accountJWT, systemKey: systemJWT} {
		if err := resolver.Store(key, token); err != nil {
			t.Fatal(err)
		}
	}
	nkey := nats.Nkey(userKey, user.Sign)
	in := func(account string) server.Options {
		a := server.NewAccount(account)
		return server.Options{Accounts: []*server.Account{a}, Nkeys: []*server.NkeyUser{{Nkey: userKey, Account: a}}}
	}
	for name, tt := range map[string]struct {
		opts  server.Options
		who   nats.Option
		signs bool
	}{
		"JWT":              {server.Options{TrustedKeys: []string{operatorKey}, AccountResolver: resolver, SystemAccount: systemKey}, nats.UserJWTAndSeed(userJWT, seed), true},
		"NKey":             {in(accountKey), nkey, true},
		"account by name":  {in("PEOPLE"), nkey, false},
		"nobody has a key": {server.Options{}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var opts []nats.Option
			if tt.who != nil {
				opts = append(opts, tt.who)
			}
			c := synadia.New(natstest.StartWith(t, tt.opts).Connect(t, opts...), "")
			sign, err := c.Signer(t.Context(), "mesh")
			if err != nil || (sign != nil) != tt.signs {
				t.Fatalf("signs: %v, %v", sign != nil, err)
			}
			if sign == nil {
				return
			}
			header, err := sign("agents.prompt.a.b.c", []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			who, err := new(synadia.Nonces).Check(header, "agents.prompt.a.b.c", []byte("hello"), time.Now())
			if err != nil || who.Class != synadia.Verified || who.AgentID != accountKey+"."+userKey || who.Name != "mesh" {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
}
