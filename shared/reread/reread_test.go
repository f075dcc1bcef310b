package reread_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentmesh/shared/reread"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// joined takes two texts that begin alike, as a certificate and its key belong
// together.
func joined(texts [][]byte) (string, error) {
	if texts[0][0] != texts[1][0] {
		return "", errors.New("they do not belong together")
	}
	return string(texts[0]) + "+" + string(texts[1]), nil
}

func TestChangedFilesAreReadAgainAndBadOnesChangeNothing(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write(t, one, "a1")
	write(t, two, "a2")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f, err := reread.Open("pair", slog.New(slog.NewTextHandler(&log, nil)), joined, one, two)
		if err != nil || f.Get() != "a1+a2" {
			t.Fatal(err)
		}
		write(t, one, "b1") // the second one follows
		if f.Get() != "a1+a2" {
			t.Error("it looks at once, and so would every request")
		}
		for range 5 {
			time.Sleep(reread.Every)
			if got := f.Get(); got != "a1+a2" {
				t.Errorf("half of a change counts: %s", got)
			}
		}
		write(t, two, "b2")
		time.Sleep(reread.Every)
		if got := f.Get(); got != "b1+b2" {
			t.Errorf("the change is not seen: %s", got)
		}
		if err := os.Remove(two); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(reread.Every)
			if got := f.Get(); got != "b1+b2" {
				t.Errorf("a file that is away: %s", got)
			}
		}
		write(t, two, "b3")
		time.Sleep(reread.Every)
		if got := f.Get(); got != "b1+b3" {
			t.Errorf("the file is back: %s", got)
		}
		if faults, changes := strings.Count(log.String(), "not read again"), strings.Count(log.String(), "pair read again"); faults != 2 || changes != 2 {
			t.Errorf("2 mistakes and 2 changes were said %d and %d times:\n%s", faults, changes, log.String())
		}
	})
}

func TestAMistakeAtTheStartIsAnError(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write(t, one, "a1")
	if _, err := reread.Open("pair", slog.New(slog.DiscardHandler), joined, one, two); err == nil || !strings.HasPrefix(err.Error(), "pair: ") {
		t.Error(err)
	}
	write(t, two, "b1")
	if _, err := reread.Open("pair", slog.New(slog.DiscardHandler), joined, one, two); err == nil {
		t.Error("they do not belong together, and that is no error")
	}
}
