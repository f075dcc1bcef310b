package gateway

import (
	"net/http"
	"strconv"
	"time"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
)

// pace takes a request into account of its tenant's rate, or refuses it. The
// answer says what is left (draft-ietf-httpapi-ratelimit-headers-10). What is
// public has no tenant, and an admin must be able to give a tenant more.
func (f *front) pace(c *call, need auth.Scope) error {
	if need == auth.Public || need == auth.Admin {
		return nil
	}
	left, err := f.tenants.Allow(c.caller())
	if left.Limited {
		announce(c.w.Header(), left)
	}
	return err
}

// announce puts an allowance into the header of an answer, as structured fields
// (RFC 9651).
func announce(h http.Header, a mesh.Allowance) {
	h["Ratelimit-Policy"] = []string{`"tenant";q=` + strconv.Itoa(a.Quota) + ";w=" + seconds(max(a.Window, time.Second))}
	h["Ratelimit"] = []string{`"tenant";r=` + strconv.Itoa(a.Left) + ";t=" + seconds(a.Reset)}
}

// seconds is a time in whole ones, so that it has passed when they have.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// hold takes one of the requests that the tenant may have kept at a time, or
// refuses this one: before anything of it is accepted. serve gives it back.
func (c *call) hold(why mesh.Held) (err error) {
	c.kept, err = c.front.tenants.Hold(c.caller(), why)
	return err
}

// letGo gives back what was held.
func (c *call) letGo() {
	if c.kept != nil {
		c.kept()
	}
}
