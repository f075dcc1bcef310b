package travel

import (
	"regexp"
	"slices"
	"strings"
)

// maxHeard is how much of a text is listened to, in bytes.
const maxHeard = 2000

// words are a text as the agent hears it. What has been understood is used up,
// so that nothing is understood twice.
type words struct {
	raw  []string // as written
	all  []string // in lower case
	used []bool
	hint role // the date that is said to be wrong
}

// A word is a date in digits, a run of letters or of digits, or a mark that
// matters.
var wordPattern = regexp.MustCompile(`\d{4}-\d{1,2}-\d{1,2}|\d{1,2}\.\d{1,2}\.(?:\d{4})?|\d{1,2}/\d{1,2}(?:/\d{4})?|[\p{L}\p{M}]+(?:'\p{L}+)?|\d+(?:st|nd|rd|th|ST|ND|RD|TH)?|[-–—,.?!]`)

func split(text string) *words {
	if len(text) > maxHeard {
		text = text[:maxHeard]
	}
	text = strings.ReplaceAll(strings.ToValidUTF8(text, " "), "’", "'")
	w := &words{raw: wordPattern.FindAllString(text, -1)}
	for _, word := range w.raw {
		w.all = append(w.all, strings.ToLower(word))
	}
	w.used = make([]bool, len(w.all))
	return w
}

// at is the word at i, empty outside and where it is used up.
func (w *words) at(i int) string {
	if i < 0 || i >= len(w.all) || w.used[i] {
		return ""
	}
	return w.all[i]
}

// said is the word at i even if it is used up.
func (w *words) said(i int) string {
	if i < 0 || i >= len(w.all) {
		return ""
	}
	return w.all[i]
}

func (w *words) use(from, to int) {
	for i := from; i < to; i++ {
		w.used[i] = true
	}
}

// phrase is how many words a phrase has, if it stands at i, else 0.
func (w *words) phrase(i int, text string) int {
	parts := strings.Fields(text)
	for k, part := range parts {
		if w.at(i+k) != part {
			return 0
		}
	}
	return len(parts)
}

// take uses up the first place where one of the phrases stands.
func (w *words) take(phrases ...string) bool {
	for i := range w.all {
		for _, p := range phrases {
			if n := w.phrase(i, p); n > 0 {
				w.use(i, i+n)
				return true
			}
		}
	}
	return false
}

// has reports whether one of the words is there, used up or not.
func (w *words) has(any ...string) bool {
	return slices.ContainsFunc(w.all, func(word string) bool { return slices.Contains(any, word) })
}

// before is the last word in front of i that is no filler, and its place.
func (w *words) before(i int) (string, int) {
	for i--; i >= 0; i-- {
		switch w.all[i] {
		case "the", "about", "around", "next", "this", "coming", "date", "city", "of":
			continue
		}
		return w.all[i], i
	}
	return "", -1
}

// denied reports whether what begins at i is said not to be so: "not the 15th",
// "instead of Tokyo".
func (w *words) denied(i int) bool {
	p, at := w.before(i)
	switch p {
	case "to", "from", "with", "on", "by": // not with ANA
		p, _ = w.before(at)
	}
	switch p {
	case "not", "without", "instead", "except", "but":
		return p != "but" || w.has("anything", "everything", "all")
	case "no":
		return true // "no, to Osaka" has a mark or a word between
	}
	return false
}

var numbers = []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}

// number reads a count of at most four digits, -1 where there is none.
func number(word string) int {
	if n := slices.Index(numbers, word); n >= 0 {
		return n
	}
	if len(word) == 0 || len(word) > 4 {
		return -1
	}
	n := 0
	for _, c := range []byte(word) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// clip shortens a word of the user's that is said back.
func clip(word string) string {
	if r := []rune(word); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return word
}

// list joins names as one says them.
func list(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + last + " " + names[len(names)-1]
}
