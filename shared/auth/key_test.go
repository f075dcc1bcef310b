package auth_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"agentmesh/shared/auth"
)

// The form is what secret scanners are told to look for.
func TestAKeyHasTheFormThatItsReadersExpect(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		k := auth.NewKey()
		text := k.Reveal()
		if !regexp.MustCompile(`^amk_live_[0-9a-z]{10}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`).MatchString(text) || seen[text] || seen[k.ID()] {
			t.Fatalf("%s", text)
		}
		seen[text], seen[k.ID()] = true, true
		again, err := auth.ParseKey(text)
		if err != nil || again.Reveal() != text || again.ID() != k.ID() || !again.Matches(k.Hash()) || len(k.Hash()) != 64 {
			t.Fatalf("%s: %v, %s", text, err, again.Reveal())
		}
	}
	if a, b := auth.NewKeyFor("once"), auth.NewKeyFor("once"); a.ID() != b.ID() || a.Hash() == b.Hash() || auth.NewKeyFor("twice").ID() == a.ID() {
		t.Error("the id of a key for a text follows from the text, and nothing else does")
	}
}

// Each letter that is wrong, left out or doubled makes another text that is no key.
func TestATypoMakesNoKey(t *testing.T) {
	task := auth.NewTaskKey("default", "tsk_0199aab0c0de7000800000000000beef").Reveal()
	for _, text := range []string{auth.NewKey().Reveal(), task} {
		parse := func(text string) error {
			_, err := auth.ParseKey(text)
			if text[2] == 't' {
				_, err = auth.ParseTaskKey(text)
			}
			return err
		}
		if err := parse(text); err != nil {
			t.Fatal(err)
		}
		for i := len(auth.KeyPrefix); i < len(text); i++ {
			wrong := byte('x')
			if text[i] == wrong {
				wrong = 'y'
			}
			for _, typo := range []string{text[:i] + string(wrong) + text[i+1:], text[:i] + text[i+1:], text[:i+1] + text[i:]} {
				if parse(typo) == nil && typo != text {
					t.Errorf("%s is a key", typo)
				}
			}
		}
	}
	for _, bad := range []string{"", "amk_", "amk_live", "amk____", "amt_...", "Bearer x", strings.Repeat("amk_", 1<<20)} {
		if _, err := auth.ParseKey(bad); err != auth.ErrBadKey {
			t.Errorf("%.20q: %v", bad, err)
		}
		if _, err := auth.ParseTaskKey(bad); err != auth.ErrBadKey {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestAKeyOfATaskNamesItsTenantAndTask(t *testing.T) {
	made := auth.NewTaskKey("team-a", "act_0199aab0c0de7000800000000000beef")
	k, err := auth.ParseTaskKey(made.Reveal())
	if err != nil || k.Tenant != "team-a" || k.Task != "act_0199aab0c0de7000800000000000beef" || !k.Matches(made.Hash()) || k.Matches("") {
		t.Errorf("%v %v", k, err)
	}
}

// A key that is printed, in whatever way, hides its secret.
func TestAKeyThatIsPrintedHidesItsSecret(t *testing.T) {
	k, task := auth.NewKey(), auth.NewTaskKey("a", "tsk_1")
	for whole, v := range map[string]any{k.Reveal(): k, task.Reveal(): task} {
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("made", "key", v)
		raw, _ := json.Marshal(map[string]any{"key": v})
		for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%+v %#v %s %q %x", v, v, v, v, v), log.String(), string(raw)} {
			if strings.Contains(text, whole[len(whole)-40:len(whole)-10]) || !strings.Contains(text, "***") {
				t.Errorf("%s", text)
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(auth.NewKey().Reveal())
	f.Add(auth.NewTaskKey("default", "tsk_0199aab0c0de7000800000000000beef").Reveal())
	f.Add("amk_live___")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := auth.ParseKey(text); err == nil && (k.Reveal() != text || !auth.ValidKeyID(k.ID()) || len(text) > 100) {
			t.Errorf("%q is read as %q", text, k.Reveal())
		}
		if k, err := auth.ParseTaskKey(text); err == nil && (k.Reveal() != text || len(text) > 200) {
			t.Errorf("%q is read as %q", text, k.Reveal())
		}
	})
}
