package mesh

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of numbers. Beyond them exact arithmetic, which schemas ask for, takes
// seconds and megabytes for a few bytes of text; no agent counts so far.
const (
	maxDigits   = 400
	maxExponent = 400
)

// WildNumbers finds the numbers of a well-formed JSON text that are out of
// bounds, the first few with their pointers.
func WildNumbers(body []byte) (faults []Invalid) {
	if !anyWild(body) {
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(body)) // again, for the places
	for len(faults) < MaxFaults {
		token, err := d.ReadToken()
		if err != nil {
			break
		}
		if token.Kind() == jsontext.KindNumber && wild(token.String()) {
			faults = append(faults, Field("a number may have "+strconv.Itoa(maxDigits)+" digits and an exponent from -"+strconv.Itoa(maxExponent)+" to "+strconv.Itoa(maxExponent)+"; send it as a string",
				string(d.StackPointer())))
		}
	}
	return faults
}

// anyWild looks for a number that is out of bounds, without reading more than
// once what is none.
func anyWild(body []byte) bool {
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '"':
			for i++; body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case c == '-' || '0' <= c && c <= '9':
			begin := i
			for i++; i < len(body) && numeric(body[i]); i++ {
			}
			if i-begin > 3 && wild(string(body[begin:i])) {
				return true
			}
			i--
		}
	}
	return false
}

func numeric(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// wild says whether a JSON number is out of bounds.
func wild(number string) bool {
	mantissa, exponent := number, ""
	for i := range len(number) {
		if number[i] == 'e' || number[i] == 'E' {
			mantissa, exponent = number[:i], number[i+1:]
			break
		}
	}
	digits := len(mantissa)
	if digits > maxDigits {
		for _, c := range []byte(mantissa) {
			if c == '-' || c == '.' {
				digits--
			}
		}
	}
	if digits > maxDigits {
		return true
	}
	if exponent == "" {
		return false
	}
	n, err := strconv.Atoi(exponent)
	return err != nil || n > maxExponent || n < -maxExponent
}
