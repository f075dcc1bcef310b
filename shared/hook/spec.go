package hook

import (
	"bytes"
	"encoding/json"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing that is wrong with a specification.
type Fault struct {
	Detail  string
	Pointer string // JSON pointer
}

// faults gathers them.
type faults []Fault

func (f *faults) add(pointer, detail string) { *f = append(*f, Fault{detail, pointer}) }

// Check returns what is wrong with a specification that has its defaults.
func (s *Spec) Check() []Fault {
	var f faults
	if len(s.Name) > maxName {
		f.add("/name", "it has at most "+strconv.Itoa(maxName)+" bytes")
	}
	s.Verify.check(&f)
	if len(s.Accept) > maxRules {
		f.add("/accept", "there are at most "+strconv.Itoa(maxRules)+" rules")
	}
	for i, r := range s.Accept[:min(len(s.Accept), maxRules)] {
		r.check(&f, "/accept/"+strconv.Itoa(i))
	}
	if s.MaxBody < 1 || s.MaxBody > MaxBody {
		f.add("/max_body", "it must be 1 to "+strconv.Itoa(MaxBody)+" bytes")
	}
	s.checkWork(&f)
	return f
}

func (s *Spec) checkWork(f *faults) {
	n := 0
	if s.Task != nil {
		n++
		s.Task.Input.check(f, &s.Verify)
	}
	if t := s.Session; t != nil {
		n++
		f.pointer("/session/key", t.Key)
		f.pointer("/session/text", t.Text)
	}
	if t := s.Signal; t != nil {
		n++
		f.pointer("/signal/task", t.Task)
		if !signalName.MatchString(t.Name) {
			f.add("/signal/name", "it is what the task waits for, and matches "+signalName.String())
		}
	}
	if n != 1 {
		f.add("/task", "a hook does one thing: send task, session or signal")
	}
}

var signalName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

func (r *Rule) check(f *faults, at string) {
	switch {
	case (r.Header == "") == (r.JSON == ""):
		f.add(at, "a rule names a header or a JSON pointer")
	case r.Header != "":
		f.header(at+"/header", r.Header)
	default:
		f.pointer(at+"/json", r.JSON)
	}
	if len(r.In) == 0 || len(r.In) > maxValues || slices.ContainsFunc(r.In, func(v string) bool { return len(v) > maxText }) {
		f.add(at+"/in", "it lists 1 to "+strconv.Itoa(maxValues)+" values of at most "+strconv.Itoa(maxText)+" bytes")
	}
}

func (in *Input) check(f *faults, v *Verify) {
	const at = "/task/input"
	switch {
	case in.From == FromBody, in.From == FromRequest, strings.HasPrefix(in.From, "/"):
	case in.From == FromHeaders:
		if len(in.Headers) == 0 {
			f.add(at+"/headers", "name the headers that the agent may see")
		}
	default:
		f.add(at+"/from", "it must be body, headers, request, or a JSON pointer such as /data/object")
	}
	if strings.HasPrefix(in.From, "/") {
		f.pointer(at+"/from", in.From)
	}
	if len(in.Headers) > maxHeaders {
		f.add(at+"/headers", "there are at most "+strconv.Itoa(maxHeaders))
		return
	}
	for i, name := range in.Headers {
		p := at + "/headers/" + strconv.Itoa(i)
		if f.header(p, name); v.Secretive(name) {
			f.add(p, "it carries credentials, which no agent gets")
		}
	}
	if in.Merge == nil {
		return
	}
	if m := bytes.TrimSpace(in.Merge); len(m) > maxMerge || !json.Valid(m) || m[0] != '{' {
		f.add(at+"/merge", "it must be a JSON object of at most "+strconv.Itoa(maxMerge)+" bytes")
	}
}

// Where the input of a task comes from, besides a JSON pointer into the body.
const (
	FromBody    = "body"
	FromHeaders = "headers"
	FromRequest = "request" // both, as members headers and body
)

// WithDefaults is the specification with what was left out.
func (s Spec) WithDefaults() Spec {
	s.Verify = s.Verify.withDefaults()
	if s.MaxBody == 0 {
		s.MaxBody = DefaultBody
	}
	if s.Task != nil && s.Task.Input.From == "" {
		w := *s.Task
		w.Input.From = FromBody
		s.Task = &w
	}
	return s
}

// secretHeaders reach no agent, whoever names them.
var secretHeaders = []string{
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Gitlab-Token", "X-Amz-Security-Token", "X-Csrf-Token", "X-Auth-Token",
}

func secretHeader(name string) bool {
	return slices.Contains(secretHeaders, textproto.CanonicalMIMEHeaderKey(name))
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")

func (f *faults) header(pointer, name string) {
	if !headerName.MatchString(name) {
		f.add(pointer, "it must be the name of a header, such as X-Event-Id")
	}
}

func (f *faults) pointer(pointer, text string) {
	if !strings.HasPrefix(text, "/") || len(text) > maxText {
		f.add(pointer, "it must be a JSON pointer into the body, such as /data/id")
	}
}
