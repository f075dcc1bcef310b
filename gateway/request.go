package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"agentmesh/gateway/problem"
	"agentmesh/shared/mesh"
	"agentmesh/shared/task"
)

// readJSON reads a JSON body whole: of the right content type, within the
// limit, well-formed, without duplicate keys. Only then is it looked at.
func (f *front) readJSON(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, mesh.Refuse(problem.ErrUnsupportedMediaType, "The content type is %q; send Content-Type: application/json.", r.Header.Get("Content-Type"))
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, mesh.Refuse(problem.ErrUnsupportedMediaType, "The content encoding is %q; send the body as it is.", enc)
	}
	if r.ContentLength > f.cfg.MaxBody { // before any of it is read, or asked for
		f.drainRefused(r)
		return nil, &http.MaxBytesError{Limit: f.cfg.MaxBody}
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, f.cfg.MaxBody), min(r.ContentLength, smallBody))
	if err != nil {
		if err = brokenBody(err); refusedWhole(err) {
			f.drainRefused(r)
		}
		return nil, err
	}
	if err := checkJSON(body); err != nil {
		return nil, mesh.Refuse(mesh.ErrMalformedJSON, "%s", err)
	}
	if depth := task.Nesting(body); depth > maxNesting {
		return nil, mesh.Refuse(mesh.ErrValidationFailed, "The body is nested %d deep, allowed are %d. Send what lies deeper as a text, or as a reference.", depth, maxNesting)
	}
	if faults := mesh.WildNumbers(body); len(faults) > 0 {
		return nil, mesh.WithFaults(mesh.ErrNumberOutOfRange, faults)
	}
	return body, nil
}

// isJSON reports whether a content type is that of JSON, which most clients write in
// the same way.
func isJSON(contentType string) bool {
	if contentType == mediaJSON {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == mediaJSON
}

// readAll is io.ReadAll where a size is expected; of one that is not known: -1. What was
// read before an error is dropped.
func readAll(r io.Reader, expected int64) ([]byte, error) {
	room := 512
	if expected >= 0 {
		room = int(expected) + 1 // so that the end is seen
	}
	body := make([]byte, 0, room)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		switch body = body[:len(body)+n]; {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case len(body) == cap(body):
			body = slices.Grow(body, len(body))
		}
	}
}

// maxNesting is that of a value and of the object that it came in.
const maxNesting = task.MaxNesting + 2

// checkJSON refuses what is no single JSON text, or has a key twice in one
// object, or is not UTF-8. Errors give the place.
func checkJSON(body []byte) error {
	if jsontext.Value(body).IsValid() {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(body)) // again, for the place and the reason
	if err := d.SkipValue(); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the body is empty")
		}
		return errors.New(strings.TrimPrefix(err.Error(), "jsontext: "))
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the JSON value")
	}
	return nil
}

// idempotencyKey reads the Idempotency-Key header: a structured-field string,
// or leniently a bare token. Empty: the client sent none.
func idempotencyKey(h http.Header) (string, error) {
	lines := h.Values("Idempotency-Key")
	if len(lines) == 0 {
		return "", nil
	}
	if len(lines) > 1 {
		return "", mesh.Refuse(problem.ErrBadIdempotencyKey, "There are %d Idempotency-Key headers; send one.", len(lines))
	}
	key := strings.TrimSpace(lines[0])
	if strings.HasPrefix(key, `"`) {
		item, err := httpsfv.UnmarshalItem(lines)
		s, ok := item.Value.(string)
		if err != nil || !ok {
			return "", mesh.Refuse(problem.ErrBadIdempotencyKey, "The key starts with a quote but is no structured-field string.")
		}
		key = s
	} else if strings.ContainsFunc(key, func(c rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-", c)
	}) {
		return "", mesh.Refuse(problem.ErrBadIdempotencyKey, `A key without quotes may have letters, digits and . _ ~ - only; send it quoted: Idempotency-Key: "...".`)
	}
	if key == "" || len(key) > 255 {
		return "", mesh.Refuse(problem.ErrBadIdempotencyKey, "The key has %d characters; it must have 1 to 255.", len(key))
	}
	return key, nil
}

// maxWait is the longest that a request is held.
const maxWait = 60 * time.Second

// preferences are those of RFC 7240 that we know. Unknown and malformed ones
// are ignored, never an error.
type preferences struct {
	wait    time.Duration // 0: none
	async   bool
	lenient bool // ignore what is not known
}

// preferred reads the Prefer headers and ?wait=, which browsers can send.
func preferred(r *http.Request) preferences {
	var p preferences
	for _, line := range r.Header.Values("Prefer") {
		for pref := range strings.SplitSeq(line, ",") {
			pref, _, _ = strings.Cut(pref, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(pref), "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "respond-async":
				p.async = true
			case "handling":
				p.lenient = p.lenient || strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "lenient")
			case "wait":
				if p.wait == 0 {
					p.wait = wholeSeconds(strings.Trim(strings.TrimSpace(value), `"`))
				}
			}
		}
	}
	if p.wait == 0 && r.URL.RawQuery != "" {
		text := r.URL.Query().Get("wait")
		if d, err := time.ParseDuration(text); err == nil && d > 0 {
			p.wait = min(d, maxWait)
		} else {
			p.wait = wholeSeconds(text) // as Prefer has it
		}
	}
	return p
}

// wholeSeconds is a wait of a whole number of seconds, 0 of anything else.
func wholeSeconds(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return 0
	}
	return min(time.Duration(min(n, 3600))*time.Second, maxWait)
}

// honoured is what Preference-Applied says.
func (p preferences) honoured() string {
	all := make([]string, 0, 3)
	if p.async {
		all = append(all, "respond-async")
	}
	if p.wait > 0 {
		all = append(all, "wait="+strconv.Itoa(int(p.wait.Round(time.Second)/time.Second)))
	}
	if p.lenient {
		all = append(all, "handling=lenient")
	}
	return strings.Join(all, ", ")
}

// answerCodec writes what encoding/json would write, in two thirds of its time.
var answerCodec = json.JoinOptions(jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))

func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v, answerCodec)
	if err != nil {
		return err
	}
	putHeaders(w.Header(), "Content-Type", mediaJSON, "Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
	return nil
}
