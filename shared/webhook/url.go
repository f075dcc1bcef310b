package webhook

import (
	"net/url"
	"strings"
)

// hidden stands for what may be a secret in a URL.
const hidden = "***"

// ShownURL is a URL as it may be shown and stored in the clear: who has its query
// or its user may be whoever they are meant for, so they are left out. secret says
// that there was something. Of a shown URL it is the same again.
func ShownURL(raw string) (shown string, secret bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return hidden, true
	}
	if u.RawQuery == "" && u.User == nil {
		return raw, false
	}
	if u.RawQuery != "" {
		fields := strings.Split(u.RawQuery, "&")
		for i, f := range fields {
			name, _, valued := strings.Cut(f, "=")
			if fields[i] = hidden; valued {
				fields[i] = name + "=" + hidden
			}
		}
		u.RawQuery = strings.Join(fields, "&")
	}
	if u.User != nil {
		u.User = url.User("hidden")
	}
	return u.String(), true
}

// HidesSecret reports whether a URL was shown before: it leads nowhere.
func HidesSecret(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	for f := range strings.SplitSeq(u.RawQuery, "&") {
		if _, value, valued := strings.Cut(f, "="); f == hidden || valued && value == hidden {
			return true
		}
	}
	return false
}
