package secret_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentmesh/shared/secret"
)

func keeper(t *testing.T, keys string) *secret.Keeper {
	t.Helper()
	k, err := secret.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealAndOpen(t *testing.T) {
	a, b := secret.NewKey(), secret.NewKey()
	old, fresh, both := keeper(t, a), keeper(t, b), keeper(t, b+", "+a)
	text := []byte("whsec_x")
	sealed := old.Seal("webhook 1", text)
	if bytes.Contains(sealed, text) {
		t.Error("the text is in the clear")
	}
	if bytes.Equal(sealed, old.Seal("webhook 1", text)) {
		t.Error("sealing twice gives the same bytes")
	}
	for name, k := range map[string]*secret.Keeper{"the same key": old, "a ring with the key": both} {
		if got, err := k.Open("webhook 1", sealed); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := fresh.Open("webhook 1", both.Seal("webhook 1", text)); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the first key of a ring does not seal: %q, %v", got, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another key":     func() ([]byte, error) { return fresh.Open("webhook 1", sealed) },
		"another purpose": func() ([]byte, error) { return old.Open("webhook 2", sealed) },
		"changed":         func() ([]byte, error) { return old.Open("webhook 1", changed) },
		"cut":             func() ([]byte, error) { return old.Open("webhook 1", sealed[:10]) },
		"nothing":         func() ([]byte, error) { return old.Open("webhook 1", nil) },
	} {
		if got, err := open(); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("%s opens: %q, %v", name, got, err)
		}
	}
	if bytes.Equal(old.Derive("a")[0], old.Derive("b")[0]) || !bytes.Equal(old.Derive("a")[0], old.Derive("a")[0]) || bytes.Equal(old.Derive("a")[0], fresh.Derive("a")[0]) {
		t.Error("derived keys do not follow key and purpose")
	}
}

func TestBadKeys(t *testing.T) {
	for _, text := range []string{"", "x", "c2hvcnQ=", secret.NewKey() + ",", strings.Repeat("A", 100)} {
		if _, err := secret.New(text); err == nil || !strings.Contains(err.Error(), "mesh key") || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("New(%q): %v", text, err)
		}
	}
}

// The key file is made once, for its owner only, and read after that.
func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret.key")
	if _, err := secret.File(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	first, err := secret.MakeFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := secret.MakeFile(name); err != nil || !slices.Equal(same.Fingerprints(), first.Fingerprints()) {
		t.Errorf("a key that is there is replaced: %v", err)
	}
	again, err := secret.File(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("p", first.Seal("p", []byte("x"))); err != nil || string(got) != "x" {
		t.Errorf("the second start has another key: %v", err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
	for _, text := range []string{"broken", "", "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := secret.File(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a file with %q: %v", text, err)
		}
		if _, err := secret.MakeFile(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a file with %q is made anew: %v", text, err)
		}
	}
}

// Two keys in a file, the new one first, are those that the flag takes.
func TestFileOfTwoKeys(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret.key")
	a, b := secret.NewKey(), secret.NewKey()
	want := keeper(t, a+","+b).Fingerprints()
	for _, text := range []string{a + "," + b, a + "\n" + b + "\n", a + ",\n" + b, " " + a + " , " + b + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := secret.File(name); err != nil || !slices.Equal(k.Fingerprints(), want) || want[0] == want[1] {
			t.Errorf("%q: %v", text, err)
		}
	}
}
