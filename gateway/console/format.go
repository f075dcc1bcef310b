package console

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"agentmesh/gateway/client"
)

// functions are those that every template has.
var functions = template.FuncMap{
	"icon": icon, "class": class, "fields": func(s string) []string { return strings.Split(s, "|") }, "pair": pair, "when": when, "clock": clock, "ago": func(t time.Time) string { return ago(time.Since(t)) }, "span": span, "seconds": seconds, "brief": brief, "ms": func(n int64) string { return span(time.Duration(n) * time.Millisecond) },
	"bytes": size, "num": num, "first": func(n int, all []client.Agent) []client.Agent { return all[:min(n, len(all))] }, "num64": func(n int64) string { return num(int(n)) }, "cost": cost, "short": short, "word": word, "mark": mark, "json": showJSON, "md": markdown, "text": plainText,
	"percent": percent, "plural": plural, "join": strings.Join, "clip": clip, "bars": bars, "words": words,
	"itemKey": func(f *field) string { return f.key }, "took": took, "does": does, "verdict": verdict, "rhythm": rhythm, "big": func(n int) int64 { return int64(n) }, "bulkQuery": bulkQuery, "lastAttempt": lastAttempt, "snippets": func(p *page, c call) []snippet { return snippetsOf(p.v, c) }, "add": func(a, b int) int { return a + b }, "since": func(a, b time.Time) string { return span(b.Sub(a)) },
}

// when is a time as people say it, with the whole of it for machines and on demand.
func when(t time.Time) template.HTML {
	if t.IsZero() {
		return `<span class="none">–</span>`
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.Format(time.RFC3339Nano), t.Format("2006-01-02 15:04:05.000 MST"), ago(time.Since(t)))) //nolint:gosec // a time has no markup
}

// clock is a time of the day, with the whole of it on demand.
func clock(t time.Time) template.HTML {
	if t.IsZero() {
		return `<span class="none">–</span>`
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s" data-clock>%s</time>`, t.Format(time.RFC3339Nano), t.Format("2006-01-02 15:04:05.000 MST"), t.Format("15:04:05"))) //nolint:gosec // a time has no markup
}

// ago says how long ago something was, or in how long it will be. It is coarse, so that
// a page at rest does not change each second. assets/own/live.js says the same.
func ago(d time.Duration) string {
	past := d >= 0
	d = d.Abs()
	var text string
	switch {
	case d < 10*time.Second:
		if past {
			return "just now"
		}
		return "in a moment"
	case d < time.Minute:
		text = fmt.Sprintf("%d s", int(d.Seconds())/10*10)
	case d < time.Hour:
		text = fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		text = fmt.Sprintf("%d h", int(d.Hours()))
	default:
		text = fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	if past {
		return text + " ago"
	}
	return "in " + text
}

// span is a length of time.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Microsecond:
		return "0 ms"
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e6, 'f', 1, 64) + " ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// seconds is a length of time that the API has as a number.
func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

// brief is a length of time in its largest unit.
func brief(s float64) string {
	words := strings.Fields(seconds(s))
	return strings.Join(words[:min(2, len(words))], " ")
}

// size is a number of bytes.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// num is a whole number with its thousands apart.
func num(n int) string {
	s := strconv.Itoa(n)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteRune('\u202f') // narrow, and does not break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// short is an id as people tell it from others: its kind and its end, since its
// beginning is the time.
func short(id string) string {
	kind, rest, ok := strings.Cut(id, "_")
	if !ok || len(rest) < 16 {
		return clip(id, 28)
	}
	return kind + "_…" + rest[len(rest)-8:]
}

// clip is the beginning of a text in one line.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(cut(s, 4*n), "�")), " ")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// statuses are the words and symbols of what things can be.
var statuses = map[string]struct{ word, mark string }{
	"pending": {"pending", "dot"}, "initiated": {"pending", "dot"}, "processing": {"running", "play"}, "input_required": {"asks you", "ask"},
	"completed": {"completed", "check"}, "failed": {"failed", "cross"}, "canceled": {"canceled", "stop"},
	"retrying": {"retrying", "again"}, "delivered": {"delivered", "check"}, "dead": {"given up", "cross"}, "parked": {"parked", "pause"},
	"running": {"running", "play"}, "retried": {"failed, again", "again"}, "lost": {"worker lost", "cross"}, "handed_back": {"handed back", "again"}, "suspended": {"waits", "pause"},
	"live": {"live", "check"}, "away": {"no worker", "cross"}, "paused": {"paused", "pause"}, "enabled": {"enabled", "check"}, "disabled": {"disabled", "pause"},
	"fired": {"ran", "check"}, "waiting": {"waits", "dot"}, "skipped": {"skipped", "stop"}, "missed": {"missed", "cross"}, "refused": {"refused", "cross"},
	"accepted": {"accepted", "check"}, "repeated": {"known already", "again"}, "challenge": {"challenge", "check"}, "ignored": {"ignored", "stop"}, "rejected": {"not verified", "cross"},
	"verified": {"verified", "check"}, "open": {"open", "check"}, "used_up": {"used up", "cross"}, "unverified": {"not verified", "cross"}, "busy": {"busy", "play"}, "idle": {"idle", "dot"}, "conflict": {"conflict", "cross"},
}

// word is a status as people say it.
func word(s string) string {
	if w, ok := statuses[s]; ok {
		return w.word
	}
	return strings.ReplaceAll(clip(s, 40), "_", " ")
}

// words is an enumeration of the wire as people say it.
func words(s string) string { return strings.ReplaceAll(s, "_", " ") }

// mark is the symbol of a status.
func mark(s string) string {
	if w, ok := statuses[s]; ok {
		return w.mark
	}
	return "dot"
}

// percent is a share of a whole in percent, from 0 to 100.
func percent(part, whole int) int {
	if whole <= 0 {
		return 0
	}
	return min(100, max(0, part*100/whole))
}

// plural is a number with its noun.
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return num(n) + " " + more
}

// bars draws numbers as a line of small bars, one for each.
func bars(values []int) template.HTML {
	most := 1
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="bars" viewBox="0 0 %d 20" preserveAspectRatio="none" aria-hidden="true">`, max(len(values), 1)*4)
	for i, v := range values {
		h := int(math.Ceil(float64(v) / float64(most) * 18))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="3" height="%d"/>`, i*4, 20-max(h, 1), max(h, 1))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers only
}

// plainText is a text that may have what no text has.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}
