package summarize_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"agentmesh/shared/task"
	"agentmesh/worker/agent"
	"agentmesh/worker/agents/summarize"
)

func ignore(int, string) {}

func texts(sentences []summarize.Sentence) []string {
	all := []string{}
	for _, s := range sentences {
		all = append(all, s.Text)
	}
	return all
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{}},
		{" \n . ! ", []string{}},
		{"One. Two! Three? Four", []string{"One.", "Two!", "Three?", "Four"}},
		{"Dr. Smith met Mr. J. Doe at 5 p.m. on Jan. 3. They left.", []string{"Dr. Smith met Mr. J. Doe at 5 p.m. on Jan. 3.", "They left."}},
		{"Pi is 3.14 and e is 2.71. Version 1.2.0 is out.", []string{"Pi is 3.14 and e is 2.71.", "Version 1.2.0 is out."}},
		{`He said "Stop." Then he left. (She stayed.) End.`, []string{`He said "Stop."`, "Then he left.", "(She stayed.)", "End."}},
		{"Wait... what? Well... Yes.", []string{"Wait... what?", "Well...", "Yes."}},
		{"So am I. You too.", []string{"So am I.", "You too."}},
		{"Results\n\nThe mesh works. It\nreally does.\r\n\r\nNext", []string{"Results", "The mesh works.", "It\nreally does.", "Next"}},
		{"今日は晴れ。明日は雨！", []string{"今日は晴れ。", "明日は雨！"}},
		{"यह एक वाक्य है। यह दूसरा है।", []string{"यह एक वाक्य है।", "यह दूसरा है।"}},
		{"هل أنت هنا؟ نعم.", []string{"هل أنت هنا؟", "نعم."}},
		{"See e.g. this one. And that!! Really?! Yes", []string{"See e.g. this one.", "And that!!", "Really?!", "Yes"}},
	} {
		if got := texts(summarize.Split(tt.text)); !slices.Equal(got, tt.want) {
			t.Errorf("%q\n got %q\nwant %q", tt.text, got, tt.want)
		}
	}
}

// Sentences are pieces of the text, in order, apart from each other.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"One. Two.", "a.b.c", "...", "\xff. \xff", "\"'.)] x", "。。", "A\n \t\r\n\nB", "Dr. . Mr", "e\u0301. E\u0301!"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		end := 0
		for _, s := range summarize.Split(text) {
			if s.Start < end || s.End <= s.Start || s.End > len(text) || text[s.Start:s.End] != s.Text || strings.TrimSpace(s.Text) != s.Text {
				t.Fatalf("%q: %+v after %d", text, s, end)
			}
			if utf8.ValidString(text) && !utf8.ValidString(s.Text) {
				t.Fatalf("%q is cut within a character: %q", text, s.Text)
			}
			end = s.End
		}
	})
}

const tides = "Tides rise and fall twice a day. The moon pulls the sea towards it, and so the moon makes tides. " +
	"Tides are highest when moon and sun pull together. My cat is asleep. Some tides are used to make power. The sun pulls the sea less than the moon."

func TestSummarize(t *testing.T) {
	got, err := summarize.Summarize(t.Context(), tides, 2, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(texts(got.Sentences), []string{
		"The moon pulls the sea towards it, and so the moon makes tides.", "The sun pulls the sea less than the moon.",
	}) || got.Method != "lexrank" || got.Summary != strings.Join(texts(got.Sentences), " ") {
		t.Errorf("summary %+v", got)
	}
	for _, s := range got.Sentences {
		if tides[s.Start:s.End] != s.Text {
			t.Errorf("%+v is not at its place", s)
		}
	}
	for range 5 {
		if again, err := summarize.Summarize(t.Context(), tides, 2, ignore); err != nil || again.Summary != got.Summary || again.Sentences[0].Score != got.Sentences[0].Score {
			t.Errorf("another time: %+v", again)
		}
	}
	all, err := summarize.Summarize(t.Context(), tides, 20, ignore)
	if err != nil || len(all.Sentences) != 6 {
		t.Fatalf("%+v, %v", all, err)
	}
	sum, least := 0.0, all.Sentences[0]
	for _, s := range all.Sentences {
		if sum += s.Score; s.Score < least.Score {
			least = s
		}
	}
	if math.Abs(sum-1) > 1e-3 || least.Text != "My cat is asleep." {
		t.Errorf("scores sum to %v, least is %q", sum, least.Text)
	}
	same, err := summarize.Summarize(t.Context(), "The sea is deep. The sea is deep. The sea is deep.", 1, ignore)
	if err != nil || same.Sentences[0].Start != 0 {
		t.Errorf("of equal sentences: %+v, %v", same, err)
	}
}

func TestSummarizeEndsWithItsContext(t *testing.T) {
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := summarize.Summarize(ctx, tides, 2, ignore); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

type last struct{ percent int }

func (l *last) Progress(percent int, _ string)                                 { l.percent = percent }
func (*last) Milestone(context.Context, string, string, json.RawMessage) error { return nil }
func (*last) Output(string)                                                    {}

func TestAgent(t *testing.T) {
	run := func(instruction, input string) (any, *last, error) {
		l := &last{}
		var raw json.RawMessage
		if input != "" {
			raw = json.RawMessage(input)
		}
		v, err := summarize.Agent().Handler(t.Context(), agent.NewJob(&task.Task{Instruction: instruction}, raw, "", l))
		return v, l, err
	}
	for _, in := range [][2]string{{tides, ""}, {"", `{"text":"One is here. Two is here. Three is here. Four is here."}`}} {
		v, l, err := run(in[0], in[1])
		if s, ok := v.(summarize.Summary); err != nil || !ok || len(s.Sentences) != 3 || l.percent != 100 {
			t.Errorf("%+v at %d%%, %v", v, l.percent, err)
		}
	}
	for input, want := range map[string]string{
		`{"text":" "}`:                "there is no text",
		`{"text":"x","sentences":21}`: "sentences is 21, allowed is 1 to 20",
		`{"text":"x","sentences":-1}`: "sentences is -1",
		`{"text":7}`:                  "input: json",
		`{"text":"` + strings.Repeat("x", summarize.MaxText+1) + `"}`: "the text has 10485761 bytes",
	} {
		var e *agent.Error
		if _, _, err := run("", input); !errors.As(err, &e) || e.Code != "bad_input" || !e.Permanent || !strings.Contains(e.Message, want) {
			t.Errorf("%.40s: %v, want %q", input, err, want)
		}
	}
}

func TestSession(t *testing.T) {
	for text, want := range map[string]string{"One is here. Two is here.": "One is here. Two is here.", "...": "There is no sentence in that."} {
		job := agent.NewJob(&task.Task{Instruction: text}, nil, "", &last{})
		job.Turn = &agent.Turn{Messages: []agent.Message{{Text: text}}}
		v, err := summarize.Agent().Handler(t.Context(), job)
		if r, ok := v.(agent.Reply); err != nil || !ok || !strings.HasPrefix(r.Message, want) || r.State != nil {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
	}
}

// BenchmarkSummarize ranks texts of many sentences about a few topics.
func BenchmarkSummarize(b *testing.B) {
	for _, n := range []int{100, summarize.MaxSentences} {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "Sentence %d tells of topic%d and of place%d with word%d in it. ", i, i%17, i%29, i%501)
		}
		b.Run(fmt.Sprintf("sentences=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := summarize.Summarize(b.Context(), text.String(), 3, ignore); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
