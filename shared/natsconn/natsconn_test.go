package natsconn_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"agentmesh/shared/config"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/natstest"
)

// start runs a server that listens on loopback.
func start(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	natstest.ForgetBubbles()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	srv, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats server not ready")
	}
	return srv
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func at(srv *server.Server) natsconn.Config {
	cfg := natsconn.Default("gateway")
	cfg.URL, cfg.Data = srv.ClientURL(), "no such folder"
	return cfg
}

// connect connects, and asks itself something by its own inbox.
func connect(t *testing.T, cfg natsconn.Config) *nats.Conn {
	t.Helper()
	nc, err := natsconn.Connect(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("echo", nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	return nc
}

// refused tries without, and expects a word that says what to do.
func refused(t *testing.T, cfg natsconn.Config, words ...string) {
	t.Helper()
	nc, err := natsconn.Connect(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err == nil {
		nc.Close()
		t.Fatal("connected")
	}
	if natsconn.Away(err) {
		t.Errorf("it is said to pass by itself: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v; want %q in it", err, word)
		}
	}
}

func TestATokenAUserAndANKeySayWhoConnects(t *testing.T) {
	t.Run("token", func(t *testing.T) {
		cfg := at(start(t, server.Options{Authorization: "s3cret"}))
		refused(t, cfg, "NATS_TOKEN", "--data")
		cfg.Token = "s3cret"
		connect(t, cfg)
	})
	t.Run("user", func(t *testing.T) {
		cfg := at(start(t, server.Options{Users: []*server.User{{Username: "worker.research", Password: "s3cret"}}}))
		refused(t, cfg, "NATS_USER")
		cfg.User, cfg.Password = "worker.research", "s3cret"
		if nc := connect(t, cfg); !strings.HasPrefix(nc.NewInbox(), "_INBOX.worker.research.") {
			t.Errorf("inbox %s", nc.NewInbox())
		}
		cfg.Password = ""
		refused(t, cfg, "nats-user and nats-password go together")
	})
	t.Run("nkey", func(t *testing.T) {
		pair, _ := nkeys.CreateUser()
		seed, _ := pair.Seed()
		public, _ := pair.PublicKey()
		cfg := at(start(t, server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}}))
		refused(t, cfg, "NATS_NKEY")
		cfg.NKey = write(t, "user.nk", seed)
		if nc := connect(t, cfg); !strings.HasPrefix(nc.NewInbox(), "_INBOX.gateway.") {
			t.Errorf("inbox %s", nc.NewInbox())
		}
		cfg.Token = "both"
		refused(t, cfg, "choose one")
	})
}

func TestCredentialsOfAnAccountSayWhoConnects(t *testing.T) {
	operator, _ := nkeys.CreateOperator()
	account, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	operatorKey, _ := operator.PublicKey()
	accountKey, _ := account.PublicKey()
	userKey, _ := user.PublicKey()
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	_ = resolver.Store(accountKey, accountJWT)
	cfg := at(start(t, server.Options{TrustedKeys: []string{operatorKey}, AccountResolver: resolver}))
	refused(t, cfg, "NATS_CREDS")
	userJWT, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := user.Seed()
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Creds = write(t, "user.creds", creds)
	connect(t, cfg)
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(private)
	return write(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestTLSChecksBothSides(t *testing.T) {
	serverCert, serverKey := certificate(t)
	clientCert, clientKey := certificate(t)
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	pemClient, _ := os.ReadFile(clientCert)
	clients.AppendCertsFromPEM(pemClient)
	cfg := at(start(t, server.Options{TLS: true, TLSVerify: true, TLSTimeout: 5, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
	}}))
	refused(t, cfg, "certificate")
	cfg.CA, cfg.Cert, cfg.Key = serverCert, clientCert, clientKey
	connect(t, cfg)
	cfg.Key = ""
	refused(t, cfg, "nats-cert and nats-key go together")
}

func TestAContextSaysWhereAndWho(t *testing.T) {
	srv := start(t, server.Options{Users: []*server.User{{Username: "someone", Password: "s3cret"}}})
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	folder := filepath.Join(home, "nats", "context")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"plain": "", "inbox": `, "inbox_prefix": "_INBOX.mine"`} {
		url, _ := json.Marshal(srv.ClientURL())
		text := `{"url": ` + string(url) + `, "user": "someone", "password": "s3cret"` + more + `}`
		if err := os.WriteFile(filepath.Join(folder, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, prefix := range map[string]string{"plain": "_INBOX.someone.", "inbox": "_INBOX.mine."} {
		cfg := natsconn.Default("gateway")
		cfg.Context = name
		if nc := connect(t, cfg); !strings.HasPrefix(nc.NewInbox(), prefix) {
			t.Errorf("%s: inbox %s, want %s", name, nc.NewInbox(), prefix)
		}
	}
	cfg := natsconn.Default("gateway")
	cfg.Context = "none"
	refused(t, cfg, "nats context ls")
}

// The token of an embedded server is found by its data folder.
func TestTheTokenOfANeighbourIsTaken(t *testing.T) {
	srv := start(t, server.Options{Authorization: "s3cret"})
	cfg := at(srv)
	cfg.Data = filepath.Dir(write(t, natsconn.TokenFile, []byte("s3cret\n")))
	connect(t, cfg)

	if _, err := natsconn.ReadToken(filepath.Dir(write(t, natsconn.TokenFile, nil))); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty token file is %v", err)
	}
}

// heard collects what a connection logs.
type heard struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.String()
}

// Passwords and tokens of settings and of URLs are in no error and no log.
func TestSecretsAreInNoErrorAndNoLog(t *testing.T) {
	log := &heard{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := start(t, server.Options{Users: []*server.User{{Username: "u", Password: "hunter2"}}})
	address := strings.TrimPrefix(srv.ClientURL(), "nats://")
	for name, cfg := range map[string]natsconn.Config{
		"settings":     {URL: srv.ClientURL(), User: "u", Password: "hunter3"},
		"token":        {URL: srv.ClientURL(), Token: "hunter3"},
		"url":          {URL: "nats://u:hunter3@" + address},
		"url token":    {URL: "nats://hunter3@" + address},
		"several":      {URL: "nats://u:hunter3@" + address + ", nats://u:hunter3@127.0.0.1:1"},
		"nobody there": {URL: "nats://u:hunter3@127.0.0.1:1"},
		"no url":       {URL: "nats://u:hunter3@127.0.0.1:port"},
		"odd":          {URL: "nats://u:hunter3/%zz@127.0.0.1:1"},
	} {
		nc, err := natsconn.Connect(t.Context(), cfg, "test", logger)
		if err == nil {
			nc.Close()
			t.Fatalf("%s: connected", name)
		}
		if strings.Contains(err.Error(), "hunter3") {
			t.Errorf("%s: %v", name, err)
		}
		logger.Error("refused", "error", err)
	}
	nc, err := natsconn.Connect(t.Context(), natsconn.Config{URL: "nats://u:hunter2@" + address}, "test", logger)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	srv.Shutdown()
	natstest.Until(t, "the loss is logged", func() bool { return strings.Contains(log.String(), "disconnected") })
	for _, secret := range []config.Secret{"hunter2", "hunter3"} {
		if strings.Contains(log.String(), string(secret)) {
			t.Errorf("the log has a password: %s", log.String())
		}
	}
}

// A subscription that is asked for each message costs kilobytes: a worker has one for
// each agent, and each listing makes one.
func TestASubscriptionIsSmall(t *testing.T) {
	srv := natstest.Start(t)
	nc, err := natsconn.InProcess(srv.Server, "test", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const n, most = 50, 64 << 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if _, err := nc.SubscribeSync(nc.NewInbox()); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > most {
		t.Errorf("a subscription allocates %d KB, want %d at most", each>>10, most>>10)
	}
}
