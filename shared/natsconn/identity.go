package natsconn

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"

	"agentmesh/shared/config"
)

// TokenFile is the token of an embedded server, in its data folder.
const TokenFile = "nats.token"

// ReadToken reads the token in a data folder. The error is fs.ErrNotExist when there
// is none.
func ReadToken(data string) (config.Secret, error) {
	name := filepath.Join(data, TokenFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read NATS token: %w", err)
	}
	token := config.Secret(strings.TrimSpace(string(text)))
	if token == "" {
		return "", fmt.Errorf("NATS token file %s is empty: remove it, mesh up then makes another", name)
	}
	return token, nil
}

// identity says who we are.
func (c Config) identity() ([]nats.Option, error) {
	var opts []nats.Option
	ways := 0
	use := func(set bool, o nats.Option) {
		if set {
			opts, ways = append(opts, o), ways+1
		}
	}
	if (c.User == "") != (c.Password == "") {
		return nil, errors.New("nats-user and nats-password go together: one of them is missing")
	}
	use(c.Creds != "", nats.UserCredentials(c.Creds))
	use(c.User != "", nats.UserInfo(c.User, string(c.Password)))
	use(c.Token != "", nats.Token(string(c.Token)))
	if c.NKey != "" {
		nkey, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("read NKey seed %s: %w", c.NKey, err)
		}
		use(true, nkey)
	}
	if ways > 1 {
		return nil, errors.New("nats-creds, nats-nkey, nats-user and nats-token are ways to say who we are: choose one")
	}
	if ways == 0 && c.Cert == "" {
		token, err := c.neighbour()
		if err != nil {
			return nil, err
		}
		use(token != "", nats.Token(string(token)))
	}
	encryption, err := c.encryption()
	return append(opts, encryption...), err
}

func (c Config) encryption() (opts []nats.Option, err error) {
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("nats-cert and nats-key go together: one of them is missing")
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	return opts, nil
}

// neighbour is the token of an embedded server on this machine. It goes to nobody
// but servers on loopback, and only where the URL does not say who we are.
func (c Config) neighbour() (config.Secret, error) {
	for server := range strings.SplitSeq(c.URL, ",") {
		u, err := parseServer(server)
		if err != nil || u.User != nil {
			return "", nil // the client says what is wrong with it
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return "", nil
		}
	}
	token, err := ReadToken(c.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return token, err
}

// inbox gives the connection an inbox of its own: a user that may read `_INBOX.>` reads the
// answers to others. An inbox that a NATS context names stands.
func (c Config) inbox() nats.Option {
	return func(o *nats.Options) error {
		if c.Inbox != "" {
			return nats.CustomInboxPrefix(c.Inbox)(o)
		}
		if o.InboxPrefix != "" {
			return nil
		}
		name := c.Role
		for _, user := range []string{o.User, userOf(c.URL)} {
			if plain.MatchString(user) {
				name = user
				break
			}
		}
		return nats.CustomInboxPrefix(inboxes + name)(o)
	}
}

const inboxes = "_INBOX."

// plain is what may stand in a subject.
var plain = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// userOf is the user that a URL names, empty where that is a token.
func userOf(servers string) string {
	first, _, _ := strings.Cut(servers, ",")
	u, err := parseServer(first)
	if err != nil {
		return ""
	}
	if _, password := u.User.Password(); !password {
		return ""
	}
	return u.User.Username()
}

// parseServer reads a server's URL as the client does, which needs no scheme.
func parseServer(server string) (*url.URL, error) {
	if server = strings.TrimSpace(server); !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	return url.Parse(server)
}

// veiledError is an error whose text names no secret of a URL.
type veiledError struct{ err error }

var userinfo = regexp.MustCompile(`//[^\s",]*@`)

func (e veiledError) Error() string { return userinfo.ReplaceAllString(e.err.Error(), "//***@") }
func (e veiledError) Unwrap() error { return e.err }

func veiled(err error) error { return veiledError{err} }
