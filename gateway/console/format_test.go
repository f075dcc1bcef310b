package console

import "testing"

func TestNumbersAndTimesAsPeopleReadThem(t *testing.T) {
	for s, want := range map[float64]string{0: "0 ms", 3.4: "3.4 s", 1373: "22 min", 7500: "2 h", 260_000: "3 days"} {
		if got := brief(s); got != want {
			t.Errorf("brief %v is %q, want %q", s, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", -1234567: "-1\u202f234\u202f567"} {
		if got := num(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0.00", .0042: "0.0042", 6.482: "6.48"} {
		if got := cost(v); got != want {
			t.Errorf("%v costs %q, want %q", v, got, want)
		}
	}
}
