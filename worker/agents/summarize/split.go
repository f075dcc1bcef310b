package summarize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// abbreviations end in a dot that ends no sentence.
var abbreviations = set("mr mrs ms dr prof sr jr st no vol fig eq al etc vs approx dept est inc ltd co corp gen col sgt capt rev hon " +
	"jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e cf ca u.s u.k a.m p.m ph.d z.b d.h bzw usw nr")

// Split cuts text into sentences. It knows abbreviations, initials, decimals,
// closing quotes, ellipses, headings (a line followed by an empty one) and the
// terminators of other scripts. Every sentence is text[Start:End], trimmed.
func Split(text string) []Sentence {
	var all []Sentence
	start := 0
	cut := func(end int) {
		piece := text[start:end]
		trimmed := strings.TrimSpace(piece)
		if strings.ContainsFunc(trimmed, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
			from := start + strings.Index(piece, trimmed)
			all = append(all, Sentence{Text: trimmed, Start: from, End: from + len(trimmed)})
		}
		start = end
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		next := i + size
		switch {
		case strings.ContainsRune("。！？｡।؟", r):
			next = skipClosers(text, next)
			cut(next)
		case r == '.' || r == '!' || r == '?' || r == '…':
			end := next
			for end < len(text) && strings.IndexByte(".!?", text[end]) >= 0 {
				end++
			}
			end = skipClosers(text, end)
			if ends(text, start, i, end, r) {
				cut(end)
			}
			next = end
		case r == '\n' && blankLine(text, next):
			cut(next)
		}
		i = next
	}
	cut(len(text))
	return all
}

// ends decides whether the terminator at dot, which runs to end, ends a
// sentence: white space or the end of the text must follow, no lower-case word,
// and a single dot must not belong to an abbreviation or an initial.
func ends(text string, start, dot, end int, r rune) bool {
	if end == len(text) {
		return true
	}
	following, _ := utf8.DecodeRuneInString(text[end:])
	if !unicode.IsSpace(following) {
		return false
	}
	after, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(text[end:], func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`"'“‘«([`, r) }))
	if r == '!' || r == '?' {
		return !unicode.IsLower(after)
	}
	if unicode.IsLower(after) {
		return false
	}
	if end-dot > 1 && text[dot] == '.' && text[dot+1] == '.' { // an ellipsis before a capital
		return true
	}
	word := strings.TrimLeftFunc(lastField(text[start:dot]), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	if abbreviations[strings.ToLower(word)] {
		return false
	}
	return !(utf8.RuneCountInString(word) == 1 && unicode.IsUpper([]rune(word)[0]) && word != "I")
}

func lastField(s string) string {
	i := strings.LastIndexFunc(s, unicode.IsSpace)
	return s[i+1:]
}

func skipClosers(text string, i int) int {
	for i < len(text) {
		r, size := utf8.DecodeRuneInString(text[i:])
		if !strings.ContainsRune(`"')]}”’»」』）`, r) {
			break
		}
		i += size
	}
	return i
}

func blankLine(text string, i int) bool {
	for ; i < len(text); i++ {
		switch text[i] {
		case '\n':
			return true
		case ' ', '\t', '\r':
		default:
			return false
		}
	}
	return false
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}
