package gateway

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// taken is what an operation takes, read from the tags of its type.
type taken struct {
	fields []takenField

	headers, query, lists []param
	body                  reflect.Type // nil: it takes none
	optional              bool         // the body may be left out
	keyed                 bool         // it takes an Idempotency-Key, for which the body is kept
	kept                  bool         // it looks at the body as it was sent
}

// takenField is a field that a request sets.
type takenField struct {
	at   []int
	name string
	from byte // p, h or q
}

// paramReader is a parameter with a form of its own.
type paramReader interface {
	// read reads the values that were sent, which are at least one.
	read(c *call, values []string) error
}

var requestType = reflect.TypeFor[request]()

// takes reads what a type says.
func takes(t reflect.Type) *taken {
	k := &taken{}
	k.add(t, nil)
	return k
}

func (k *taken) add(t reflect.Type, at []int) {
	for i := range t.NumField() {
		f, at := t.Field(i), append(at[:len(at):len(at)], i)
		doc := f.Tag.Get("doc")
		switch {
		case f.Type == requestType:
		case f.Anonymous:
			k.add(f.Type, at)
		case f.Tag.Get("path") != "":
			k.fields = append(k.fields, takenField{at, f.Tag.Get("path"), 'p'})
		case f.Tag.Get("header") != "":
			name := f.Tag.Get("header")
			k.headers = append(k.headers, param{name, doc})
			k.keyed = k.keyed || name == "Idempotency-Key"
			k.take(f, takenField{at, http.CanonicalHeaderKey(name), 'h'})
		case f.Tag.Get("query") != "":
			name, kind, _ := strings.Cut(f.Tag.Get("query"), ",")
			if kind == "list" {
				k.lists = append(k.lists, param{name, doc})
			} else {
				k.query = append(k.query, param{name, doc})
			}
			k.take(f, takenField{at, name, 'q'})
		case f.Tag.Get("body") != "":
			need, more, _ := strings.Cut(f.Tag.Get("body"), ",")
			k.body, k.optional, k.kept = f.Type, need == "optional", more == "kept"
			k.fields = append(k.fields, takenField{at, "", 'b'})
		}
	}
}

// header says whether the operation takes a header.
func (k *taken) header(name string) bool {
	return slices.ContainsFunc(k.headers, func(h param) bool { return h.name == name })
}

// take notes a parameter, unless it is read elsewhere: a field without a value.
func (k *taken) take(f reflect.StructField, field takenField) {
	if f.Type != reflect.TypeFor[struct{}]() {
		k.fields = append(k.fields, field)
	}
}

// read fills in, a value of the type, from a request.
func (k *taken) read(c *call, in reflect.Value) error {
	for i := range k.fields {
		f := &k.fields[i]
		to := in.FieldByIndex(f.at)
		var err error
		switch f.from {
		case 'p':
			err = set(c, to, []string{c.inPath(f.name)})
		case 'h':
			err = set(c, to, c.r.Header[f.name])
		case 'q':
			err = f.readQuery(c, to)
		case 'b':
			err = k.readBody(c, to.Addr().Interface())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *takenField) readQuery(c *call, to reflect.Value) error {
	prefix, any := strings.CutSuffix(f.name, "{key}")
	if !any {
		return set(c, to, c.query[f.name])
	}
	found := map[string]string{}
	for name, values := range c.query {
		if key, ok := strings.CutPrefix(name, prefix); ok {
			found[key] = values[0]
		}
	}
	to.Set(reflect.ValueOf(found))
	return nil
}

// readBody reads the body into v, a pointer to its type. It is kept as it was
// sent where the operation takes a key, until the task is accepted, or looks at it.
func (k *taken) readBody(c *call, v any) error {
	if k.optional {
		if has, err := hasBody(c.r); err != nil || !has {
			return err
		}
	}
	body, err := c.front.readJSON(c.w, c.r)
	if err != nil {
		return err
	}
	if k.keyed || k.kept {
		c.body = body
	} else {
		releaseBody(c.r)
	}
	return decodeObject(body, v, c.prefs.lenient)
}

// set gives a field the values of a parameter, where there are any: to a text the
// first of them, to a list each of those between commas.
func set(c *call, field reflect.Value, values []string) error {
	if len(values) == 0 {
		return nil
	}
	switch to := field.Addr().Interface().(type) {
	case *[]string:
		*to = split(values)
	case paramReader:
		return to.read(c, values)
	default:
		if field.Kind() == reflect.String {
			field.SetString(values[0])
		}
	}
	return nil
}

// split reads a parameter that takes several values, separated by commas or each
// on its own.
func split(values []string) (all []string) {
	for _, v := range values {
		if v != "" {
			all = append(all, strings.Split(v, ",")...)
		}
	}
	return all
}
