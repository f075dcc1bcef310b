package store

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// deepest is how many lists and objects within one another are looked through.
const deepest = 100

// valueEnd is where the JSON value ends that begins at a place, -1: none does that has no
// blanks.
func valueEnd(b []byte, at int) int { return endWithin(b, at, deepest) }

func endWithin(b []byte, at, depth int) int {
	if at >= len(b) {
		return -1
	}
	switch b[at] {
	case '"':
		end, _ := textEnd(b, at)
		return end
	case '{', '[':
		return listEnd(b, at, depth)
	case 't':
		return wordEnd(b, at, "true")
	case 'f':
		return wordEnd(b, at, "false")
	case 'n':
		return wordEnd(b, at, "null")
	}
	return numberEnd(b, at)
}

// listEnd is where a list or an object ends.
func listEnd(b []byte, at, depth int) int {
	named, end := b[at] == '{', b[at]+('}'-'{')
	if at++; at < len(b) && b[at] == end {
		return at + 1
	}
	for ; depth > 0; at++ {
		if named {
			if at, _ = textEnd(b, at); at < 0 || at == len(b) || b[at] != ':' {
				return -1
			}
			at++
		}
		if at = endWithin(b, at, depth-1); at < 0 || at == len(b) {
			return -1
		}
		if b[at] == end {
			return at + 1
		}
		if b[at] != ',' {
			return -1
		}
	}
	return -1
}

func wordEnd(b []byte, at int, word string) int {
	if bytes.HasPrefix(b[at:], []byte(word)) {
		return at + len(word)
	}
	return -1
}

func numberEnd(b []byte, at int) int {
	if b[at] == '-' {
		at++
	}
	begin := at
	if at = digitsEnd(b, at); at < 0 || b[begin] == '0' && at > begin+1 {
		return -1
	}
	if at < len(b) && b[at] == '.' {
		if at = digitsEnd(b, at+1); at < 0 {
			return -1
		}
	}
	if at < len(b) && (b[at] == 'e' || b[at] == 'E') {
		if at++; at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		return digitsEnd(b, at)
	}
	return at
}

// digitsEnd is where the digits end that begin at a place, -1: none do.
func digitsEnd(b []byte, at int) int {
	end := at
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		end++
	}
	if end == at {
		return -1
	}
	return end
}

// textEnd is where the text ends that begins at a place, -1: none does. It is plain when
// every character stands for itself.
func textEnd(b []byte, at int) (end int, plain bool) {
	if at >= len(b) || b[at] != '"' {
		return -1, false
	}
	plain, ascii := true, true
	for i := at + 1; i < len(b); i++ {
		switch c := b[i]; {
		case standsForItself[c]:
		case c == '"':
			return i + 1, plain && (ascii || utf8.Valid(b[at:i]))
		case c < ' ':
			return -1, false
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			plain = false
			if i = escapeEnd(b, i+1) - 1; i < 0 {
				return -1, false
			}
		}
	}
	return -1, false
}

// standsForItself are the ASCII characters that do in a text.
var standsForItself = func() (all [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		all[c] = c != '"' && c != '\\'
	}
	return all
}()

// escapeEnd is where an escape ends whose backslash stands before a place, -1: it is none.
func escapeEnd(b []byte, at int) int {
	switch {
	case at == len(b):
		return -1
	case b[at] != 'u':
		if strings.IndexByte(`"\/bfnrt`, b[at]) < 0 {
			return -1
		}
		return at + 1
	case len(b) < at+5:
		return -1
	}
	for _, c := range b[at+1 : at+5] {
		if strings.IndexByte("0123456789abcdefABCDEF", c) < 0 {
			return -1
		}
	}
	return at + 5
}
