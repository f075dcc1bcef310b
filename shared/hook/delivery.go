package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Delivery is a request that was verified, read.
type Delivery struct {
	Headers Headers
	Body    json.RawMessage // the body as JSON: that of a form is an object of its fields, a text is a string
}

// Forms of a body; empty: one that is not taken.
const (
	formJSON = "json"
	formForm = "form"
	formText = "text"
)

// FormOf is the form of a body by its content type, empty where it is not taken.
func FormOf(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return ""
	case media == "application/json", strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
		return formJSON
	case media == "application/x-www-form-urlencoded":
		return formForm
	case media == "text/plain":
		return formText
	}
	return ""
}

// ErrBody is a body that is not what its content type says.
var ErrBody = errors.New("the body is not what its content type says")

// AsJSON is the body as JSON, which the caller checks where it was JSON before. Of
// a form whose one field is payload, as GitHub and Slack send it, it is that.
func AsJSON(form string, body []byte) (json.RawMessage, error) {
	switch form {
	case formJSON:
		return body, nil
	case formText:
		if !utf8.Valid(body) {
			return nil, fmt.Errorf("%w: it is no UTF-8", ErrBody)
		}
		return json.Marshal(string(body))
	}
	fields, err := url.ParseQuery(string(body))
	if err != nil || !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: it is no form", ErrBody)
	}
	if p := fields["payload"]; len(fields) == 1 && len(p) == 1 && json.Valid([]byte(p[0])) {
		return json.RawMessage(p[0]), nil
	}
	object := make(map[string]any, len(fields))
	for name, values := range fields {
		if !utf8.ValidString(name) || slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }) {
			return nil, fmt.Errorf("%w: a field is no UTF-8", ErrBody)
		}
		if object[name] = values; len(values) == 1 {
			object[name] = values[0]
		}
	}
	return json.Marshal(object)
}

// Pick is the value at a JSON pointer.
func Pick(from json.RawMessage, pointer string) (json.RawMessage, bool) {
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = pointerEscapes.Replace(token)
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(from, &object) == nil && object != nil:
			in, ok := object[token]
			if !ok {
				return nil, false
			}
			from = in
		case json.Unmarshal(from, &list) == nil:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(list) || strconv.Itoa(i) != token {
				return nil, false
			}
			from = list[i]
		default:
			return nil, false
		}
	}
	return from, true
}

var pointerEscapes = strings.NewReplacer("~1", "/", "~0", "~")

// Text is the text at a JSON pointer: of a string, a number or a boolean.
func (d *Delivery) Text(pointer string) (string, bool) {
	v, ok := Pick(d.Body, pointer)
	if !ok || len(v) == 0 {
		return "", false
	}
	switch v[0] {
	case '"':
		var s string
		err := json.Unmarshal(v, &s)
		return s, err == nil
	case '{', '[', 'n':
		return "", false
	}
	return string(v), true
}

// ID is the id of the delivery. known is false where the hook has none: every
// delivery is a new one.
func (v *Verify) DeliveryID(d *Delivery) (id string, known bool, err error) {
	if v.ID == IDNone {
		return "", false, nil
	}
	if v.idHeader() {
		id, err = v.delivery(d.Headers)
		return id, err == nil, err
	}
	id, ok := d.Text(v.ID)
	if !ok && v.Style == Slack { // commands and actions have no event
		id, ok = d.Text("/trigger_id")
	}
	if !ok || !validDelivery(id) {
		return "", false, fmt.Errorf("%w: the body has no id of 1 to %d characters at %s", ErrMissing, maxDelivery, v.ID)
	}
	return id, true, nil
}

// Challenge is what a sender is answered that asks whether anybody is there. ok
// is false of any other delivery.
func (v *Verify) Challenge(d *Delivery) (text string, ok bool) {
	switch v.Style {
	case GitHub:
		return "", d.Headers.Get("X-Github-Event") == "ping"
	case Slack:
		if kind, _ := d.Text("/type"); kind == "url_verification" {
			return d.Text("/challenge")
		}
	}
	return "", false
}

// Accepts says whether the rules of a hook want a delivery, and which does not.
func (s *Spec) Accepts(d *Delivery) (why string, ok bool) {
	for _, r := range s.Accept {
		value, has, at := "", false, r.JSON
		if r.Header != "" {
			value, at = d.Headers.Get(r.Header), r.Header
			has = value != ""
		} else {
			value, has = d.Text(r.JSON)
		}
		if !has || !slices.Contains(r.In, value) {
			return at + " is not one of those that are accepted", false
		}
	}
	return "", true
}

// InputOf makes the input of a task. ok is false where the body has nothing at the
// pointer.
func (s *Spec) InputOf(d *Delivery) (input json.RawMessage, ok bool, err error) {
	in := s.Task.Input
	switch in.From {
	case FromHeaders:
		input, err = json.Marshal(s.headers(d))
	case FromRequest:
		input, err = json.Marshal(map[string]any{"headers": s.headers(d), "body": d.Body})
	case FromBody:
		input = d.Body
	default:
		if input, ok = Pick(d.Body, in.From); !ok {
			return nil, false, nil
		}
	}
	if err != nil || in.Merge == nil {
		return input, true, err
	}
	var object, constant map[string]json.RawMessage
	if json.Unmarshal(input, &object) != nil || object == nil {
		object = map[string]json.RawMessage{"body": input}
	}
	if err := json.Unmarshal(in.Merge, &constant); err != nil {
		return nil, false, err
	}
	for name, value := range constant {
		object[name] = value
	}
	input, err = json.Marshal(object)
	return input, true, err
}

// headers are those that the agent may see, under the names that the owner gave.
func (s *Spec) headers(d *Delivery) map[string]string {
	all := map[string]string{}
	for _, name := range s.Task.Input.Headers {
		if values := d.Headers[textproto.CanonicalMIMEHeaderKey(name)]; len(values) > 0 && !s.Verify.Secretive(name) {
			all[name] = strings.Join(values, ", ")
		}
	}
	return all
}
