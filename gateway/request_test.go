package gateway

import (
	"net/http/httptest"
	"testing"
	"time"
)

// A wait in the query is a duration, or seconds as in Prefer; what is neither asks for none.
func TestAWaitInTheQueryIsADurationOrSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "1m": time.Minute, "500ms": 500 * time.Millisecond, "2h": maxWait,
		"10": 10 * time.Second, "1": time.Second, "61": maxWait, "99999999999": maxWait,
		"0": 0, "0s": 0, "-5": 0, "-5s": 0, "1.5": 0, "soon": 0, "10 s": 0, "99999999999999999999": 0,
	} {
		r := httptest.NewRequest("GET", "/tasks/tsk_1", nil)
		q := r.URL.Query()
		q.Set("wait", text)
		r.URL.RawQuery = q.Encode()
		if got := preferred(r).wait; got != want {
			t.Errorf("?wait=%s waits %v, want %v", text, got, want)
		}
	}
}
