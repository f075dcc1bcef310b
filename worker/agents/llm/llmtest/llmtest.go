// Package llmtest is a scripted model: a server that speaks the protocols of
// OpenAI-compatible endpoints and answers what its script says. Tests of llm agents
// run against it, and mesh up --demo-llm shows one to a newcomer.
//
// It promises to do exactly what the script says, faults and quirks of real servers
// included, and to count what it was asked. It understands no language.
package llmtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is what the model was asked.
type Request struct {
	Path     string
	Header   http.Header
	Body     map[string]any
	Messages []Message // of chat completions
	Number   int       // from 1
}

// Message is one of a request.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	CallID  string `json:"tool_call_id"`
	Calls   []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// Last is the newest message.
func (r Request) Last() Message {
	if len(r.Messages) == 0 {
		return Message{}
	}
	return r.Messages[len(r.Messages)-1]
}

// Results are how many results of tools stand behind the newest message of a user.
func (r Request) Results() (n int) {
	for _, m := range slices.Backward(r.Messages) {
		if m.Role == "user" {
			break
		}
		if m.Role == "tool" {
			n++
		}
	}
	return n
}

// Said is the newest message of a user.
func (r Request) Said() string {
	for _, m := range slices.Backward(r.Messages) {
		if m.Role == "user" {
			return m.Content
		}
	}
	return ""
}

// Tools are the names of the tools that the request offers.
func (r Request) Tools() (names []string) {
	all, _ := r.Body["tools"].([]any)
	for _, t := range all {
		m, _ := t.(map[string]any)
		if f, ok := m["function"].(map[string]any); ok {
			m = f
		}
		names = append(names, fmt.Sprint(m["name"]))
	}
	return names
}

// Call is a tool that the model calls.
type Call struct {
	ID, Name, Arguments string
}

// Reply is what the model answers.
type Reply struct {
	Text      string
	Reasoning string
	Refusal   string
	Calls     []Call
	Finish    string // empty: stop, or tool_calls

	Chunk  int           // bytes of text in one piece; 0: whole
	Delay  time.Duration // before each piece
	Cut    int           // the connection breaks off after so many bytes; 0: it does not
	Quirks []Quirk

	Input, Output int // tokens; 0: 10 and 5
	NoUsage       bool

	Status  int // of a refusal; 0: none
	Headers map[string]string
	Body    string // of a refusal
}

// Quirk is a habit of some server.
type Quirk string

// The quirks.
const (
	CRLF           Quirk = "lines end by CRLF"
	Pings          Quirk = "comments between the events"
	NoDone         Quirk = "no [DONE] at the end"
	NoFinish       Quirk = "no finish reason, and no [DONE]"
	StopForCalls   Quirk = "calls end with stop"
	NoIndex        Quirk = "calls without an index"
	NoIDs          Quirk = "calls without an index and an id"
	SameIndex      Quirk = "all calls have the index 0"
	RepeatIDs      Quirk = "the id in each piece of a call"
	RepeatName     Quirk = "the name in each piece of a call"
	LateName       Quirk = "the name in the last piece of a call"
	WholeArguments Quirk = "arguments in one piece"
	ObjectArgs     Quirk = "arguments as an object"
	EachUsage      Quirk = "usage in each chunk"
	ChoiceUsage    Quirk = "usage in the choice"
	EmptyChoices   Quirk = "a chunk without choices first"
	Unknown        Quirk = "members that nobody knows"
	NoStream       Quirk = "the answer in one piece, not streamed"
	ErrorInStream  Quirk = "an error in the middle of the stream"
)

// Script decides what the model answers.
type Script func(Request) Reply

// Say answers the texts one after the other, the last one for ever.
func Say(texts ...string) Script {
	return func(r Request) Reply { return Reply{Text: texts[min(r.Number, len(texts))-1]} }
}

// Replies answers them one after the other, the last one for ever.
func Replies(all ...Reply) Script {
	return func(r Request) Reply { return all[min(r.Number, len(all))-1] }
}

// Server answers by a script.
type Server struct {
	mu     sync.Mutex
	script Script
	asked  []Request
	open   int
	most   int
}

// New makes a server.
func New(s Script) *Server { return &Server{script: s} }

// Script changes what it answers from now on.
func (s *Server) Script(to Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = to
}

// Asked are the requests so far.
func (s *Server) Asked() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Most is how many requests were open at once.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, func() { _ = http.NewResponseController(w).Flush() }, r.Context().Done())
}

// RoundTrip implements http.RoundTripper: the server without a socket.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	reader, writer := io.Pipe()
	w := &pipe{header: http.Header{}, w: writer, began: make(chan struct{})}
	go func() {
		err := func() (err error) {
			defer func() {
				p := recover()
				if aborted, _ := p.(error); errors.Is(aborted, http.ErrAbortHandler) {
					err = io.ErrUnexpectedEOF
				} else if p != nil {
					panic(p)
				}
			}()
			s.answer(w, r, func() {}, r.Context().Done())
			return nil
		}()
		w.WriteHeader(http.StatusOK)
		_ = writer.CloseWithError(err)
	}()
	select {
	case <-w.began:
		return &http.Response{StatusCode: w.status, Header: w.header, Body: reader, Request: r}, nil
	case <-r.Context().Done():
		_ = reader.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
}

// pipe is a ResponseWriter into a pipe.
type pipe struct {
	header http.Header
	w      *io.PipeWriter
	began  chan struct{}
	once   sync.Once
	status int
}

func (p *pipe) Header() http.Header { return p.header }
func (p *pipe) WriteHeader(status int) {
	p.once.Do(func() { p.status = status; close(p.began) })
}
func (p *pipe) Write(b []byte) (int, error) { p.WriteHeader(http.StatusOK); return p.w.Write(b) }

func (s *Server) answer(w http.ResponseWriter, r *http.Request, flush func(), gone <-chan struct{}) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	asked := Request{Path: r.URL.Path, Header: r.Header.Clone()}
	var body struct {
		Messages []Message `json:"messages"`
	}
	if json.Unmarshal(raw, &asked.Body) != nil || json.Unmarshal(raw, &body) != nil {
		http.Error(w, `{"error":{"message":"the body is no JSON","type":"invalid_request_error"}}`, http.StatusBadRequest)
		return
	}
	asked.Messages = body.Messages
	script := s.enter(&asked)
	leave := sync.OnceFunc(s.leave)
	defer leave()
	if why := unanswered(asked.Messages); why != "" {
		refuse(w, Reply{Status: 400, Body: `{"error":{"message":` + strconv.Quote(why) + `,"type":"invalid_request_error"}}`})
		return
	}
	reply := script(asked)
	if reply.Status != 0 {
		refuse(w, reply)
		return
	}
	out := &stream{w: w, flush: flush, gone: gone, reply: reply, over: leave}
	if strings.HasSuffix(asked.Path, "/responses") {
		out.responses(asked)
	} else {
		out.completion(asked)
	}
}

func (s *Server) enter(r *Request) Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Number = len(s.asked) + 1
	s.asked = append(s.asked, *r)
	s.open++
	s.most = max(s.most, s.open)
	return s.script
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// unanswered says what a real server says of calls that have no results.
func unanswered(messages []Message) string {
	open := map[string]bool{}
	for _, m := range messages {
		if m.Role == "tool" {
			if !open[m.CallID] {
				return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
			}
			delete(open, m.CallID)
			continue
		}
		if len(open) > 0 {
			break
		}
		for _, c := range m.Calls {
			open[c.ID] = true
		}
	}
	if len(open) > 0 {
		return "an assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id': " + strings.Join(slices.Sorted(maps.Keys(open)), ", ")
	}
	return ""
}

func refuse(w http.ResponseWriter, r Reply) {
	w.Header().Set("Content-Type", "application/json")
	for name, value := range r.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(r.Status)
	_, _ = io.WriteString(w, cmp.Or(r.Body, fmt.Sprintf(`{"error":{"message":"status %d","type":"error","code":null}}`, r.Status)))
}
