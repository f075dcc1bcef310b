package protocol

import (
	"bytes"
	"cmp"
	"context"
	"strings"
	"unicode/utf8"

	"agentmesh/worker/agent"
)

// frame is what a message may have besides its result.
const frame = 64 << 10

// maxBlank is how long the beginning of a line may be blank before it is text.
const maxBlank = 4 << 10

// stream cuts what an agent writes into messages and text. Bytes that can only be
// text are passed on as they come; a line that begins like an object is kept
// until it ends.
type stream struct {
	ctx     context.Context
	job     *agent.Job
	outcome *Outcome
	limit   int // bytes of the result and of all text

	types []string  // of messages
	book  *Book     // nil: the agent keeps no steps
	acks  func(Ack) // nil: it hears of none

	line   []byte // the beginning of a line that may be a message
	isText bool   // the line goes out as it comes
	begun  bool   // the first line is past
	ready  []byte // text that is not passed on yet
	text   strings.Builder
}

func newStream(ctx context.Context, job *agent.Job, b *Book, acks func(Ack)) *stream {
	s := &stream{ctx: ctx, job: job, book: b, acks: acks, outcome: &Outcome{}, types: types, limit: int(cmp.Or(job.MaxResult, agent.DefaultMaxResult))}
	if b != nil {
		s.types = allTypes
	}
	return s
}

// write takes the next bytes, in whatever pieces they come.
func (s *stream) write(data []byte) error {
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(data)
		}
		if err := s.piece(data[:n], whole); err != nil {
			return err
		}
		data = data[n:]
	}
	return s.pass(false)
}

// piece takes a part of one line; whole says that the line ends with it.
func (s *stream) piece(piece []byte, whole bool) error {
	if !s.isText {
		line := piece
		if len(s.line) > 0 || !whole {
			s.line = append(s.line, piece...)
			line = s.line
		}
		switch looks := looksOf(line); {
		case looks == likeMessage && len(line) > s.limit+frame:
			return tooLarge("a line", s.limit)
		case looks == likeMessage && whole:
			err := s.message(line)
			s.line = s.line[:0]
			return err
		case looks == likeMessage, looks == undecided && !whole:
			return nil
		}
		if piece = line; !s.begun {
			if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
				return bad("the output is UTF-16; write UTF-8")
			}
			piece = bytes.TrimPrefix(line, mark)
		}
	}
	s.ready = append(s.ready, piece...)
	s.line, s.isText, s.begun = s.line[:0], !whole, true
	return nil
}

// end takes what stands behind the last line break.
func (s *stream) end() (*Outcome, error) {
	if len(s.line) > 0 {
		if looksOf(s.line) == likeMessage {
			if err := s.message(s.line); err != nil {
				return nil, err
			}
		} else {
			s.ready = append(s.ready, s.line...)
		}
	}
	if err := s.pass(true); err != nil {
		return nil, err
	}
	s.outcome.Text = strings.ToValidUTF8(s.text.String(), "\uFFFD")
	return s.outcome, nil
}

// message takes a whole line that begins like an object, after the text before
// it.
func (s *stream) message(line []byte) error {
	s.begun = true
	m, ok, err := parse(line, s.types)
	switch {
	case err != nil:
		return err
	case !ok:
		s.ready = append(s.ready, line...)
		return nil
	}
	if err := s.pass(true); err != nil {
		return err
	}
	return s.take(m)
}

// pass passes text on: all of it, or but for the beginning of a character that
// has not come whole.
func (s *stream) pass(all bool) error {
	text := s.ready
	if !all {
		text = text[:len(text)-partial(text)]
	}
	err := s.output(string(text))
	s.ready = append(s.ready[:0], s.ready[len(text):]...)
	return err
}

// partial is how many bytes at the end begin a character that is not whole.
func partial(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if rest := b[len(b)-n:]; utf8.RuneStart(rest[0]) {
			if utf8.FullRune(rest) {
				return 0
			}
			return n
		}
	}
	return 0
}

func (s *stream) output(text string) error {
	if s.text.Len()+len(text) > s.limit {
		return tooLarge("the output text", s.limit)
	}
	s.text.WriteString(text)
	s.job.Output(text)
	return nil
}

// Verdicts on the beginning of a line.
const (
	undecided = iota
	likeMessage
	likeText
)

// mark is the byte order mark that some programs put before what they write.
var mark = []byte("\uFEFF")

const blanks = " \t\r\n\v\f"

func looksOf(line []byte) int {
	rest := bytes.TrimLeft(bytes.TrimPrefix(line, mark), blanks)
	switch {
	case len(rest) == 0 && len(line) < maxBlank, len(line) < len(mark) && bytes.HasPrefix(mark, line),
		len(line) == 1 && line[0] >= 0xfe: // a mark of UTF-16, perhaps
		return undecided
	case len(rest) > 0 && rest[0] == '{':
		return likeMessage
	}
	return likeText
}
