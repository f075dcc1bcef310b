package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a JSON value that the mesh keeps: another agent must be able to take
// each answer.
const (
	MaxNesting  = 1000 // arrays and objects within one another
	MaxDigits   = 400  // of a number
	MaxExponent = 400  // of a number, also below zero
)

// Normal is raw as the mesh keeps it: compact, valid UTF-8 without lone
// surrogates (U+FFFD is in their place) and without a name twice in one object
// (the last one counts, as for encoding/json). The rest of raw is as it was. An
// error says what cannot be kept: text that is no JSON, and values beyond the
// bounds above.
func Normal(raw []byte) ([]byte, error) {
	if !json.Valid(raw) {
		var none json.RawMessage
		return nil, json.Unmarshal(raw, &none) // says where
	}
	n := normalizer{in: raw, out: make([]byte, 0, len(raw))}
	if err := n.value(0); err != nil {
		return nil, err
	}
	return n.out, nil
}

// Encode encodes v as the mesh keeps it, see Normal.
func Encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		if normal, err := Normal(raw); err == nil {
			return normal, nil
		}
	}
	raw, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	return Normal(raw)
}

// normalizer copies a value that is known to be JSON.
type normalizer struct {
	in  []byte
	at  int
	out []byte
}

// next is the next byte that is no blank.
func (n *normalizer) next() byte {
	for {
		switch c := n.in[n.at]; c {
		case ' ', '\t', '\r', '\n':
			n.at++
		default:
			return c
		}
	}
}

func (n *normalizer) value(depth int) error {
	if depth > MaxNesting {
		return fmt.Errorf("it is nested more than %d deep", MaxNesting)
	}
	switch n.next() {
	case '{':
		return n.object(depth)
	case '[':
		return n.array(depth)
	case '"':
		n.text()
		return nil
	}
	return n.literal()
}

// take copies the next byte.
func (n *normalizer) take() {
	n.out = append(n.out, n.in[n.at])
	n.at++
}

func (n *normalizer) array(depth int) error {
	n.take()
	if n.next() != ']' {
		for {
			if err := n.value(depth + 1); err != nil {
				return err
			}
			if n.next() == ']' {
				break
			}
			n.take()
		}
	}
	n.take()
	return nil
}

// member is where a member of an object stands in the output.
type member struct {
	start, named, end int // named: where its name ends
	dropped           bool
}

// few is up to how many members looking through them is quicker than a map.
const few = 8

func (n *normalizer) object(depth int) error {
	n.take()
	begin := len(n.out)
	var room [few]member
	members, twice := room[:0], false
	var index map[string]int
	for n.next() != '}' {
		if len(members) > 0 {
			n.take()
			n.next()
		}
		m := member{start: len(n.out)}
		n.text()
		m.named = len(n.out)
		n.next()
		n.take()
		if err := n.value(depth + 1); err != nil {
			return err
		}
		m.end = len(n.out)
		before, ok := n.find(members, index, n.name(m))
		if ok {
			members[before].dropped, twice = true, true
		}
		members = append(members, m)
		if index == nil && len(members) > few {
			index = make(map[string]int, 4*few)
			for i, m := range members {
				index[string(n.name(m))] = i
			}
		} else if index != nil {
			index[string(n.name(m))] = len(members) - 1
		}
	}
	if twice {
		n.drop(begin, members)
	}
	n.take()
	return nil
}

// name is the name of a member as it stands in the output, where a character has one
// spelling.
func (n *normalizer) name(m member) []byte { return n.out[m.start:m.named] }

// find is the last member of a name.
func (n *normalizer) find(members []member, index map[string]int, name []byte) (int, bool) {
	if index != nil {
		i, ok := index[string(name)]
		return i, ok
	}
	for i := len(members) - 1; i >= 0; i-- {
		if bytes.Equal(n.name(members[i]), name) {
			return i, true
		}
	}
	return 0, false
}

// drop writes the object that begins at begin again, without what is dropped.
func (n *normalizer) drop(begin int, members []member) {
	end := begin
	for _, m := range members {
		if m.dropped {
			continue
		}
		if end > begin {
			n.out[end] = ','
			end++
		}
		end += copy(n.out[end:], n.out[m.start:m.end])
	}
	n.out = n.out[:end]
}

// text copies a string: its characters as they are, but for those that must be
// escaped.
func (n *normalizer) text() {
	n.take()
	for {
		start, c := n.at, n.in[n.at]
		for c != '"' && c != '\\' && c < utf8.RuneSelf {
			n.at++
			c = n.in[n.at]
		}
		n.out = append(n.out, n.in[start:n.at]...)
		switch c {
		case '"':
			n.take()
			return
		case '\\':
			n.escape()
		default:
			r, size := utf8.DecodeRune(n.in[n.at:])
			n.out = utf8.AppendRune(n.out, r) // U+FFFD for what is none
			n.at += size
		}
	}
}

// escape copies an escape as the character that it stands for, where that may
// stand for itself.
func (n *normalizer) escape() {
	c := n.in[n.at+1]
	if c != 'u' {
		if c == '/' {
			n.out = append(n.out, c)
		} else {
			n.out = append(n.out, '\\', c)
		}
		n.at += 2
		return
	}
	r := n.hex(n.at)
	n.at += 6
	if utf16.IsSurrogate(r) {
		if n.in[n.at] == '\\' && n.in[n.at+1] == 'u' {
			if pair := utf16.DecodeRune(r, n.hex(n.at)); pair != utf8.RuneError {
				n.out = utf8.AppendRune(n.out, pair)
				n.at += 6
				return
			}
		}
		r = utf8.RuneError
	}
	switch r {
	case '\b', '\f', '\n', '\r', '\t', '"', '\\':
		n.out = append(n.out, '\\', map[rune]byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '"': '"', '\\': '\\'}[r])
	default:
		if r < ' ' {
			n.out = fmt.Appendf(n.out, `\u%04x`, r)
			return
		}
		n.out = utf8.AppendRune(n.out, r)
	}
}

// hex is the number of the \uXXXX at i.
func (n *normalizer) hex(i int) rune {
	v, _ := strconv.ParseUint(string(n.in[i+2:i+6]), 16, 16)
	return rune(v)
}

// literal copies a number, true, false or null.
func (n *normalizer) literal() error {
	start, digits, exponent := n.at, 0, -1
	for n.at < len(n.in) {
		c := n.in[n.at]
		switch {
		case c >= '0' && c <= '9':
			if exponent < 0 {
				digits++
			}
		case c == 'e' || c == 'E':
			if digits > 0 { // not that of true
				exponent = n.at + 1
			}
		case c == '.', c == '-', c == '+', c >= 'a' && c <= 'z':
		default:
			return n.number(start, digits, exponent)
		}
		n.at++
	}
	return n.number(start, digits, exponent)
}

// number copies what was read from start on, if it is within the bounds.
func (n *normalizer) number(start, digits, exponent int) error {
	n.out = append(n.out, n.in[start:n.at]...)
	if digits > MaxDigits {
		return fmt.Errorf("a number has %d digits, allowed are %d: write it as a text", digits, MaxDigits)
	}
	if exponent >= 0 {
		if e, err := strconv.Atoi(string(n.in[exponent:n.at])); err != nil || e > MaxExponent || e < -MaxExponent {
			return fmt.Errorf("the exponent of a number is beyond %d: write it as a text", MaxExponent)
		}
	}
	return nil
}

// Nesting is how many arrays and objects of body, which is JSON, are within one
// another.
func Nesting(body []byte) (deepest int) {
	depth, text := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{', c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}', c == ']':
			depth--
		}
	}
	return deepest
}
