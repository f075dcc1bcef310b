package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// object reads the members of a JSON object, and notes what is wrong with them.
type object struct {
	r  *Report
	at string
	m  map[string]any
}

// parse reads a text that must be one object.
func parse(r *Report, at string, raw []byte) (object, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return object{}, errors.New("it is no JSON: " + err.Error())
	}
	m, ok := v.(map[string]any)
	if !ok {
		return object{}, fmt.Errorf("it must be an object, it is %s", kindOf(v))
	}
	if !jsontext.Value(raw).IsValid() {
		r.warn(at, "a member stands twice, or a text is no UTF-8: readers make different things of it")
	}
	return object{r: r, m: m}, nil
}

func (o object) where(name string) string {
	if o.at == "" {
		return name
	}
	return o.at + "." + name
}

// get is a member that is there; null is none. One that is missing and must not be is a
// fault, with the name that it may have instead.
func (o object) get(name string, must bool) (any, bool) {
	if v, ok := o.m[name]; ok && v != nil {
		return v, true
	}
	if !must {
		return nil, false
	}
	for _, other := range slices.Sorted(maps.Keys(o.m)) {
		if other != name && strings.EqualFold(strings.ReplaceAll(strings.ReplaceAll(other, "_", ""), "-", ""), name) {
			o.r.fault(o.where(name), "it is missing; there is %q, which nobody reads", other)
			return nil, false
		}
	}
	o.r.fault(o.where(name), "it is missing")
	return nil, false
}

// typed is a member of a type.
func typed[T any](o object, name string, must bool, what string) (v T, ok bool) {
	raw, there := o.get(name, must)
	if !there {
		return v, false
	}
	if v, ok = raw.(T); !ok {
		o.r.fault(o.where(name), "it must be %s, it is %s", what, kindOf(raw))
	}
	return v, ok
}

// text is a text that is shown to people or models. One that must be there must not be
// empty.
func (o object) text(name string, must bool) string {
	s, ok := typed[string](o, name, must, "a text")
	if ok && must && strings.TrimSpace(s) == "" {
		o.r.fault(o.where(name), "it must not be empty")
	}
	if r := hidden(s); r != 0 {
		o.r.warn(o.where(name), "it has characters that nobody sees, such as %U: read it before you trust it", r)
	}
	return s
}

func (o object) flag(name string) (v, there bool) {
	return typed[bool](o, name, false, "true or false")
}

// child is a member that is an object.
func (o object) child(name string, must bool) (object, bool) {
	m, ok := typed[map[string]any](o, name, must, "an object")
	return object{o.r, o.where(name), m}, ok
}

// list is a member that is a list. One that must be there must not be empty.
func (o object) list(name string, must bool) []any {
	all, ok := typed[[]any](o, name, must, "a list")
	if ok && must && len(all) == 0 {
		o.r.fault(o.where(name), "it must have at least one element")
	}
	if len(all) > maxList {
		o.r.warn(o.where(name), "it has %d elements, of which %d are read", len(all), maxList)
		all = all[:maxList]
	}
	return all
}

// texts is a list of texts.
func (o object) texts(name string, must bool) (all []string) {
	for i, v := range o.list(name, must) {
		s, ok := v.(string)
		if !ok {
			o.r.fault(fmt.Sprintf("%s[%d]", o.where(name), i), "it must be a text, it is %s", kindOf(v))
			continue
		}
		all = append(all, s)
	}
	return all
}

// objects is a list of objects.
func (o object) objects(name string, must bool) (all []object) {
	for i, v := range o.list(name, must) {
		at := fmt.Sprintf("%s[%d]", o.where(name), i)
		m, ok := v.(map[string]any)
		if !ok {
			o.r.fault(at, "it must be an object, it is %s", kindOf(v))
			continue
		}
		all = append(all, object{o.r, at, m})
	}
	return all
}

// names are the members of an object, sorted.
func (o object) names() []string { return slices.Sorted(maps.Keys(o.m)) }
