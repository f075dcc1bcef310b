package llm

import (
	"strings"

	"agentmesh/worker/agent"
	"agentmesh/worker/agents/llm/chat"
)

// hidden stands in the place of what is not shown.
const hidden = "***"

// mask hides the secrets of a file wherever they appear.
type mask struct {
	secrets *strings.Replacer
	any     bool
}

func newMask(secrets []string) *mask {
	var pairs []string
	for _, s := range secrets {
		if len(s) >= 6 { // shorter ones are words
			pairs = append(pairs, s, hidden)
		}
	}
	return &mask{strings.NewReplacer(pairs...), len(pairs) > 0}
}

func (m *mask) text(s string) string { return m.secrets.Replace(s) }

// shown is a text as it may leave the conversation.
func (a *compiled) shown(text string) string {
	text = a.catalog.mask.text(text)
	for _, pattern := range a.redact {
		text = pattern.ReplaceAllString(text, hidden)
	}
	return text
}

// shownJSON is a JSON value as it may leave: its texts are redacted.
func (a *compiled) shownJSON(v any) any {
	switch v := v.(type) {
	case string:
		return a.shown(v)
	case []any:
		for i := range v {
			v[i] = a.shownJSON(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = a.shownJSON(v[name])
		}
	}
	return v
}

// live shows an answer while it comes. A text that may have to be redacted is shown
// line by line, since a piece of it does not tell.
type live struct {
	job   *agent.Job
	agent *compiled
	at    int64 // where the answer begins in the output
	end   int64 // behind what is shown of it
	line  strings.Builder

	thought   int64 // how much of the reasoning of the answer is shown
	thoughtOn strings.Builder
}

func (l *live) text(piece string) {
	if piece == "" || l.agent.Quiet {
		return
	}
	if l.thoughtOn.Len() > 0 { // it is over
		l.think("\n")
	}
	if shown := l.ready(&l.line, piece); shown != "" {
		l.job.OutputAt(l.end, shown)
		l.end += int64(len(shown))
	}
}

// think shows a piece of what the model thinks.
func (l *live) think(piece string) {
	if piece == "" || l.agent.Quiet {
		return
	}
	if shown := l.ready(&l.thoughtOn, piece); shown != "" {
		l.job.Reasoning(l.thought, shown)
		l.thought += int64(len(shown))
	}
}

// ready is what may be shown of a text that goes on with a piece.
func (l *live) ready(line *strings.Builder, piece string) string {
	line.WriteString(piece)
	whole := line.String()
	n := len(whole)
	if l.careful() {
		n = strings.LastIndexByte(whole, '\n') + 1
	}
	line.Reset()
	line.WriteString(whole[n:])
	return l.agent.shown(whole[:n])
}

// delta takes a piece of an answer on its way.
func (l *live) delta(d chat.Delta) {
	if d.Restart {
		l.restart()
	}
	l.think(d.Reasoning)
	l.text(d.Text)
}

// careful reports whether something may have to be hidden.
func (l *live) careful() bool {
	return len(l.agent.redact) > 0 || l.agent.catalog.mask.any
}

// restart voids what was shown of the answer.
func (l *live) restart() {
	l.line.Reset()
	l.thoughtOn.Reset()
	l.end, l.thought = l.at, 0
}

// done shows the answer as it is in the end, and returns where the next one begins.
func (l *live) done(text string) int64 {
	if l.thoughtOn.Len() > 0 {
		l.think("\n")
	}
	if l.agent.Quiet || text == "" {
		return l.at
	}
	text = l.agent.shown(text) + "\n"
	l.job.OutputAt(l.at, text)
	return l.at + int64(len(text))
}
