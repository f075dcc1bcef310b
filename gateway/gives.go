package gateway

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// given is what an operation answers, read from the tags of its type.
type given struct {
	whole   bool // the type is the body of a 200
	answers []givenAnswer
	headers []givenHeader
}

// givenAnswer is one of the answers.
type givenAnswer struct {
	at     []int
	status int
	doc    string
	body   reflect.Type // nil: there is none
	media  string
}

// givenHeader is a header of some answers.
type givenHeader struct {
	at     []int
	name   string
	key    string // the name as http.Header has it
	always string // its value, where that is always the same
	on     int    // the status that has it; 0: all
	doc    string
}

const (
	mediaJSON   = "application/json"
	mediaEvents = "text/event-stream"
)

var (
	eventsType = reflect.TypeFor[events]()
	valueType  = reflect.TypeFor[value]()
)

// gives reads what a type says.
func gives(t reflect.Type) *given {
	k := &given{}
	if t.Kind() == reflect.Struct {
		k.add(t, nil)
	}
	if len(k.answers) == 0 {
		k.whole = true
		k.answers = []givenAnswer{{status: http.StatusOK, body: t, media: mediaJSON}}
	}
	return k
}

func (k *given) add(t reflect.Type, at []int) {
	for i := range t.NumField() {
		f, at := t.Field(i), append(at[:len(at):len(at)], i)
		switch name, always, _ := strings.Cut(f.Tag.Get("header"), ": "); {
		case name != "":
			on, _ := strconv.Atoi(f.Tag.Get("on"))
			k.headers = append(k.headers, givenHeader{at, name, http.CanonicalHeaderKey(name), always, on, f.Tag.Get("doc")})
		case f.Tag.Get("status") != "":
			k.answers = append(k.answers, answerIn(f, at))
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			k.add(f.Type, at)
		}
	}
}

func answerIn(f reflect.StructField, at []int) givenAnswer {
	status, err := strconv.Atoi(f.Tag.Get("status"))
	if err != nil {
		panic("the field " + f.Name + " has no status") // the types are ours
	}
	a := givenAnswer{at: at, status: status, doc: f.Tag.Get("doc"), media: mediaJSON}
	switch f.Type {
	case eventsType:
		a.body, a.media = reflect.TypeFor[string](), mediaEvents
	case valueType:
		a.body = reflect.TypeFor[anyJSON]()
	default:
		if f.Type.Kind() == reflect.Pointer {
			a.body = f.Type.Elem()
		}
	}
	return a
}

// write answers with out, a value of the type.
func (k *given) write(c *call, out reflect.Value) error {
	if k.whole {
		return writeJSON(c.w, http.StatusOK, out.Addr().Interface())
	}
	for i := range k.answers {
		a := &k.answers[i]
		f := out.FieldByIndex(a.at)
		if f.IsZero() {
			continue
		}
		k.setHeaders(c.w.Header(), out, a.status)
		switch write := f.Interface().(type) {
		case bool:
			c.w.WriteHeader(a.status)
		case events:
			write(c.w, c.r)
		case value:
			write(c.w, c.r)
		default:
			return writeJSON(c.w, a.status, write)
		}
		return nil
	}
	panic("a handler answers with nothing") // the handlers are ours
}

func (k *given) setHeaders(to http.Header, out reflect.Value, status int) {
	pairs := make([]string, 0, 16)
	for i := range k.headers {
		h := &k.headers[i]
		if h.on != 0 && h.on != status {
			continue
		}
		v := h.always
		if v == "" {
			v = out.FieldByIndex(h.at).String()
		}
		switch {
		case v == "":
		case h.key == varyHeader:
			varies(to, v)
		default:
			pairs = append(pairs, h.key, v)
		}
	}
	putHeaders(to, pairs...)
}
