package natsconn

import (
	"os"
	"path/filepath"
	"testing"
)

// A token that lies on this machine is shown to servers on this machine, and to
// nobody else.
func TestTheTokenOfANeighbourGoesToLoopbackOnly(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, TokenFile), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"nats://127.0.0.1:4222":                          "s3cret",
		"localhost:4222, tls://[::1]:4222":               "s3cret",
		"nats://mesh.example:4222":                       "",
		"nats://127.0.0.1.example:4222":                  "",
		"nats://127.0.0.1:4222,nats://mesh.example:4222": "",
		"nats://u:p@127.0.0.1:4222":                      "",
		"nats://another-token@127.0.0.1:4222":            "",
		"nats://127.0.0.1:port":                          "",
	} {
		got, err := Config{URL: url, Data: data}.neighbour()
		if err != nil || string(got) != want {
			t.Errorf("%s: token %q, %v", url, string(got), err)
		}
	}
}
