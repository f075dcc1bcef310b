package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteJSON writes a value as a line of JSON.
func WriteJSON(out io.Writer, v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return writeRaw(out, line.Bytes())
}

// writeRaw writes lines of JSON. JSON escapes only some of what commands a
// terminal; the rest, which stands in strings alone, is escaped here.
func writeRaw(out io.Writer, line []byte) error {
	var b strings.Builder
	for _, r := range string(line) {
		if r != '\n' && commands(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
