package store

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// form is a record in the one form in which this store writes it: its members in their
// order, none that is empty, no blanks. A walk over the members both writes and reads it,
// without reflection, in a fraction of the codec's time. A record in any other form is
// odd: it is left to the codec, which also says what is wrong with it. Whatever is not odd
// is written and read as the codec does it.
type form struct {
	reading bool
	odd     bool

	out []byte // writing: what is written

	in    []byte // reading: the record
	at    int    // behind what was read
	name  []byte // of the member at hand; nil: the object has no more
	words words
}

// forms are kept for their buffers and words.
var forms = sync.Pool{New: func() any { return new(form) }}

const longestKept = 64 << 10 // bytes of a buffer

// writePlain writes v by a walk; nil: it is odd.
func writePlain[T any](v *T, walk func(*form, *T)) (data []byte) {
	f := forms.Get().(*form)
	defer forms.Put(f)
	f.reading, f.odd, f.out = false, false, f.out[:0]
	object(f, v, walk)
	if !f.odd {
		data = bytes.Clone(f.out)
	}
	if cap(f.out) > longestKept {
		f.out = nil
	}
	return data
}

// readPlain reads v by a walk, and reports whether it did: else it is odd, and v is
// spoilt.
func readPlain[T any](data []byte, v *T, walk func(*form, *T)) bool {
	f := forms.Get().(*form)
	defer forms.Put(f)
	f.reading, f.odd, f.in, f.at, f.name = true, false, data, 0, nil
	object(f, v, walk)
	plain := !f.odd && f.at == len(data)
	f.in, f.name = nil, nil
	return plain
}

// Whether a member is written that is empty.
const (
	always = true
	ifAny  = false
)

// member begins a member and reports whether it is there: to be written, or the next one
// to be read. Then its value follows, and next.
func (f *form) member(name string, there bool) bool {
	if f.reading {
		return string(f.name) == name
	}
	if there {
		if f.out[len(f.out)-1] != '{' {
			f.out = append(f.out, ',')
		}
		f.out = append(f.out, '"')
		f.out = append(f.out, name...)
		f.out = append(f.out, '"', ':')
	}
	return there
}

// next reads on to the next member, or behind the end of the object.
func (f *form) next() {
	if !f.reading {
		return
	}
	f.name = nil
	switch f.take() {
	case ',':
		f.key()
	case '}':
	default:
		f.spoil()
	}
}

// key reads the name of a member.
func (f *form) key() {
	f.blank()
	if f.take() == '"' {
		if n := bytes.IndexByte(f.in[f.at:], '"'); n >= 0 {
			f.name = f.in[f.at : f.at+n]
			f.at += n + 1
			if f.take() == ':' {
				f.blank()
				return
			}
		}
	}
	f.spoil()
}

// blank reads over the one blank that the server puts before some names and values.
func (f *form) blank() {
	if f.peek() == ' ' {
		f.at++
	}
}

// peek is the next byte, 0: there is none.
func (f *form) peek() byte {
	if f.at < len(f.in) {
		return f.in[f.at]
	}
	return 0
}

func (f *form) take() byte {
	c := f.peek()
	f.at++
	return c
}

// spoil gives up: nothing more is read.
func (f *form) spoil() {
	f.odd, f.name, f.at = true, nil, len(f.in)
}

// object is one whose members a walk knows.
func object[T any](f *form, v *T, walk func(*form, *T)) {
	if !f.reading {
		f.out = append(f.out, '{')
		walk(f, v)
		f.out = append(f.out, '}')
		return
	}
	switch f.name = nil; {
	case f.take() != '{':
		f.spoil()
	case f.peek() == '}':
		f.at++
	default:
		f.key()
	}
	walk(f, v)
	if f.name != nil { // one that is not known, or not in its place
		f.spoil()
	}
}

// part is a member that is an object.
func part[T any](f *form, name string, v *T, there bool, walk func(*form, *T)) {
	if f.member(name, there) {
		object(f, v, walk)
		f.next()
	}
}

// pointer is part for one that may be missing.
func pointer[T any](f *form, name string, v **T, walk func(*form, *T)) {
	if f.reading && string(f.name) == name {
		*v = new(T)
	}
	part(f, name, *v, *v != nil, walk)
}

// list is a member that is a list of objects, left out when it is empty.
func list[T any](f *form, name string, v *[]T, walk func(*form, *T)) {
	if !f.member(name, len(*v) > 0) {
		return
	}
	if f.reading {
		readList(f, v, walk)
		f.next()
		return
	}
	before := byte('[')
	for i := range *v {
		f.out = append(f.out, before)
		object(f, &(*v)[i], walk)
		before = ','
	}
	f.out = append(f.out, ']')
}

func readList[T any](f *form, v *[]T, walk func(*form, *T)) {
	before, c := byte('['), f.take()
	for ; c == before; c = f.take() {
		var none T
		*v = append(*v, none)
		object(f, &(*v)[len(*v)-1], walk)
		before = ','
	}
	if c != ']' || before != ',' {
		f.spoil()
	}
}

// text is a member that is a text.
func text[S ~string](f *form, name string, v *S, must bool) {
	if !f.member(name, must || *v != "") {
		return
	}
	if f.reading {
		*v = S(f.readText())
		f.next()
		return
	}
	out, err := jsontext.AppendQuote(f.out, *v)
	f.out, f.odd = out, f.odd || err != nil
}

func (f *form) readText() string {
	end, plain := textEnd(f.in, f.at)
	if end < 0 {
		f.spoil()
		return ""
	}
	raw := f.in[f.at:end]
	f.at = end
	if plain {
		return f.words.of(raw[1 : len(raw)-1])
	}
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		f.spoil()
	}
	return string(unquoted)
}

// number is a member that is a whole number.
func number[N ~int | ~int64 | ~uint64](f *form, name string, v *N, must bool) {
	if !f.member(name, must || *v != 0) {
		return
	}
	switch {
	case f.reading:
		n := f.readNumber()
		if *v = N(n); uint64(*v) != n {
			f.spoil()
		}
		f.next()
	case *v < 0:
		f.out = strconv.AppendInt(f.out, int64(*v), 10)
	default:
		f.out = strconv.AppendUint(f.out, uint64(*v), 10)
	}
}

// known is number for one that may be missing.
func known(f *form, name string, v **int) {
	if f.reading && string(f.name) == name {
		*v = new(int)
	}
	if *v != nil {
		number(f, name, *v, always)
	}
}

func (f *form) readNumber() (n uint64) {
	begin := f.at
	for c := f.peek(); c >= '0' && c <= '9'; c = f.peek() {
		n = n*10 + uint64(c-'0')
		f.at++
	}
	const most = 18 // that no type is too small for
	if digits := f.at - begin; digits == 0 || digits > most || digits > 1 && f.in[begin] == '0' {
		f.spoil()
	}
	return n
}

// flag is a member that is true or false.
func flag(f *form, name string, v *bool, must bool) {
	if !f.member(name, must || *v) {
		return
	}
	if !f.reading {
		f.out = strconv.AppendBool(f.out, *v)
		return
	}
	rest := f.in[f.at:]
	if *v = bytes.HasPrefix(rest, []byte("true")); *v {
		f.at += len("true")
	} else if bytes.HasPrefix(rest, []byte("false")) {
		f.at += len("false")
	}
	f.next() // refuses what is neither
}

// moment is a member that is a time.
func moment(f *form, name string, v *time.Time, must bool) {
	if !f.member(name, must || !v.IsZero()) {
		return
	}
	if !f.reading {
		out, err := v.AppendText(append(f.out, '"'))
		if err != nil {
			f.odd = true
			return
		}
		f.out = append(out, '"')
		return
	}
	end, plain := textEnd(f.in, f.at)
	if !plain || v.UnmarshalText(f.in[f.at+1:end-1]) != nil {
		f.spoil()
	} else {
		f.at = end
	}
	f.next()
}

// raw is a member that is any value, left out when it is empty.
func raw(f *form, name string, v *json.RawMessage) {
	if !f.member(name, len(*v) > 0) {
		return
	}
	if !f.reading {
		if f.out = append(f.out, *v...); valueEnd(*v, 0) != len(*v) || !utf8.Valid(*v) {
			f.odd = true
		}
		return
	}
	if end := valueEnd(f.in, f.at); end < 0 || f.peek() == 'n' || !utf8.Valid(f.in[f.at:end]) {
		f.spoil()
	} else {
		*v = bytes.Clone(f.in[f.at:end])
		f.at = end
	}
	f.next()
}

// rare is a member that the codec writes and reads.
func rare[T any](f *form, name string, v *T, there bool) {
	if !f.member(name, there) {
		return
	}
	if !f.reading {
		data, err := marshal(v)
		f.out, f.odd = append(f.out, data...), f.odd || err != nil
		return
	}
	if end := valueEnd(f.in, f.at); end < 0 || unmarshal(f.in[f.at:end], v) != nil {
		f.spoil()
	} else {
		f.at = end
	}
	f.next()
}

// words are texts that records have again and again, such as names: they are made once.
type words [256]string

const longestWord = 64 // bytes

var wordSeed = maphash.MakeSeed()

func (w *words) of(b []byte) string {
	if len(b) > longestWord {
		return string(b)
	}
	at := &w[maphash.Bytes(wordSeed, b)%uint64(len(w))]
	if *at != string(b) {
		*at = string(b)
	}
	return *at
}
