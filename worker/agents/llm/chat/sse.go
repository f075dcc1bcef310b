package chat

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxStream is how many bytes of one answer are read.
const maxStream = 64 << 20

var errTooLong = errors.New("the stream of the answer is longer than 64 MiB")

// event is one of a stream of server-sent events.
type event struct {
	name string
	data []byte
}

// events reads a stream of server-sent events: lines of any length that end by LF or
// CRLF, comments, and data of several lines. f returns false to stop. An event that the
// end of the stream cuts short is given, too: what it lacks shows when it is read.
func events(r io.Reader, f func(event) (bool, error)) error {
	limited := &io.LimitedReader{R: r, N: maxStream}
	lines := bufio.NewReaderSize(limited, 64<<10)
	var e event
	var data [][]byte
	emit := func() (bool, error) {
		if len(data) == 0 {
			e = event{}
			return true, nil
		}
		e.data = bytes.Join(data, []byte("\n"))
		whole := e
		e, data = event{}, nil
		return f(whole)
	}
	for {
		line, err := lines.ReadBytes('\n')
		ended := err != nil
		if ended && !errors.Is(err, io.EOF) {
			return err
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		more := true
		var fault error
		switch string(field) {
		case "": // the end of an event, or a comment
			if len(line) == 0 {
				more, fault = emit()
			}
		case "event":
			e.name = string(value)
		case "data":
			data = append(data, bytes.Clone(value))
		}
		if ended && more && fault == nil {
			_, fault = emit()
			more = false
			if fault == nil && limited.N == 0 {
				fault = errTooLong
			}
		}
		if !more || fault != nil {
			return fault
		}
	}
}
