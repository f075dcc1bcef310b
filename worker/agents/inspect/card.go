package inspect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// CardPath is where the card of an agent is below its base.
const CardPath = "/.well-known/agent-card.json"

// cardURL is where the card is: the address itself, or below it.
func cardURL(address string) string {
	if u, err := url.Parse(address); err == nil && strings.HasSuffix(u.Path, ".json") {
		return address
	}
	return strings.TrimSuffix(address, "/") + CardPath
}

// Card reads the card of an agent, and asks its interfaces.
func (t Target) Card(ctx context.Context) Report {
	at := cardURL(t.URL)
	r := newReport(A2A, Place(at))
	a, err := t.do(ctx, http.MethodGet, at, nil, http.Header{"Accept": {mediaJSON}})
	switch {
	case err != nil:
		r.fault("card", "it is not reached: %v", err)
		return r.done()
	case a.status != http.StatusOK:
		r.fault("card", "GET answers %s%s", a, moved(a))
		return r.done()
	}
	r.part("answer", func() string {
		if a.media != mediaJSON {
			r.fault("answer", "the media type is %q, it must be %s", a.media, mediaJSON)
		}
		for _, name := range []string{"Cache-Control", "ETag"} {
			if a.header.Get(name) == "" {
				r.warn("answer", "it should have the header %s, so that clients need not read the card each time", name)
			}
		}
		return "200, " + a.media
	})
	for _, i := range checkCard(r, a.body) {
		t.ask(ctx, r, i)
	}
	return r.done()
}

// iface is an interface that a card names.
type iface struct {
	at, url, binding, version, tenant string
	secured                           bool // the card says that credentials are needed
}

// checkCard checks a card, and returns the interfaces that can be asked.
func checkCard(r *Report, raw []byte) (all []iface) {
	o, err := parse(r, "card", raw)
	if err != nil {
		r.fault("card", "%v", err)
		return nil
	}
	r.part("card", func() string {
		r.Name = o.text("name", true)
		o.text("description", true)
		version := o.text("version", true)
		if p, ok := o.child("provider", false); ok {
			p.address("url", true)
			p.text("organization", true)
		}
		o.address("documentationUrl", false)
		o.address("iconUrl", false)
		o.modes("defaultInputModes", true)
		o.modes("defaultOutputModes", true)
		return r.Name + ", version " + version
	})
	old(o)
	r.part("capabilities", func() string { return capabilities(o) })
	r.part("skills", func() string { return skills(o) })
	secured := false
	r.part("security", func() string { secured = security(o); return "what it asks for is declared" })
	signatures(o)
	r.part("supportedInterfaces", func() string {
		all = interfaces(o, secured)
		return fmt.Sprintf("%d interfaces", len(all))
	})
	return all
}

// old warns of members of A2A 0.3: a card that has only those is none of 1.0.
func old(o object) {
	for _, name := range []string{"url", "preferredTransport", "additionalInterfaces", "protocolVersion", "supportsAuthenticatedExtendedCard", "security"} {
		if _, ok := o.m[name]; ok {
			o.r.warn(name, "it is of A2A 0.3: who reads 1.0 passes over it")
		}
	}
}

func (o object) modes(name string, must bool) {
	for i, mode := range o.texts(name, must) {
		if media, _, err := mime.ParseMediaType(mode); err != nil || !strings.Contains(media, "/") {
			o.r.fault(fmt.Sprintf("%s[%d]", o.where(name), i), "%q is no media type", mode)
		}
	}
}

// address checks a URL. It returns it where it is one of HTTP.
func (o object) address(name string, must bool) string {
	s := o.text(name, must)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		o.r.fault(o.where(name), "%q must be an absolute URL of http or https", Place(s))
		return ""
	case u.User != nil:
		o.r.fault(o.where(name), "it has a password, which everybody can read")
		return ""
	case u.Scheme == "http" && !loopback(u.Hostname()):
		o.r.warn(o.where(name), "it is not encrypted: http to another machine")
	}
	return s
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func capabilities(o object) string {
	c, ok := o.child("capabilities", true)
	if !ok {
		return ""
	}
	var has []string
	for _, name := range []string{"streaming", "pushNotifications", "extendedAgentCard"} {
		if yes, _ := c.flag(name); yes {
			has = append(has, name)
		}
	}
	for _, e := range c.objects("extensions", false) {
		uri := e.text("uri", true)
		e.text("description", false)
		e.child("params", false)
		if must, _ := e.flag("required"); must {
			o.r.warn(e.where("required"), "clients that do not have the extension %s are refused", uri)
		}
	}
	if len(has) == 0 {
		return "none of streaming, pushNotifications and extendedAgentCard"
	}
	return strings.Join(has, ", ")
}

func skills(o object) string {
	seen := map[string]bool{}
	all := o.objects("skills", true)
	for _, s := range all {
		id := s.text("id", true)
		if seen[id] && id != "" {
			o.r.fault(s.where("id"), "%q stands twice", id)
		}
		seen[id] = true
		s.text("name", true)
		s.text("description", true)
		s.texts("tags", true)
		s.texts("examples", false)
		s.modes("inputModes", false)
		s.modes("outputModes", false)
	}
	return fmt.Sprintf("%d skills", len(all))
}

// schemes are the forms of a security scheme, with the members that each must have.
var schemes = map[string][]string{
	"httpAuthSecurityScheme": {"scheme"}, "apiKeySecurityScheme": {"location", "name"}, "openIdConnectSecurityScheme": {"openIdConnectUrl"},
	"oauth2SecurityScheme": nil, "mtlsSecurityScheme": nil,
}

// security checks what a card asks of callers, and reports whether it asks for
// anything.
func security(o object) bool {
	declared := map[string]bool{}
	if all, ok := o.child("securitySchemes", false); ok {
		for _, name := range all.names() {
			declared[name] = true
			if s, ok := all.child(name, true); ok {
				scheme(s)
			}
		}
	}
	all := o.objects("securityRequirements", false)
	for _, one := range all {
		needs, ok := one.child("schemes", true)
		for _, name := range needs.names() {
			if ok && !declared[name] {
				o.r.fault(needs.where(name), "securitySchemes has no scheme of this name")
			}
			if s, ok := needs.child(name, true); ok {
				s.texts("list", false)
			}
		}
	}
	return len(all) > 0
}

func scheme(s object) {
	if _, ok := s.m["type"]; ok {
		s.r.fault(s.at, "it has the form of A2A 0.3 (type); 1.0 has one member, such as httpAuthSecurityScheme")
		return
	}
	if len(s.m) != 1 {
		s.r.fault(s.at, "it must have one member, it has %d", len(s.m))
		return
	}
	for _, form := range s.names() {
		must, known := schemes[form]
		if !known {
			s.r.fault(s.where(form), "there is no such scheme")
			return
		}
		inner, ok := s.child(form, true)
		if !ok {
			return
		}
		for _, name := range must {
			inner.text(name, true)
		}
		switch form {
		case "apiKeySecurityScheme":
			if at, _ := inner.m["location"].(string); at != "" && !oneOf(at, "query", "header", "cookie") {
				s.r.fault(inner.where("location"), "%q must be query, header or cookie", at)
			}
		case "oauth2SecurityScheme":
			inner.child("flows", true)
		}
	}
}

// signatures checks the form of signatures. Whether they hold is not known without the
// keys.
func signatures(o object) {
	all := o.objects("signatures", false)
	for _, s := range all {
		raw, err := base64.RawURLEncoding.DecodeString(s.text("protected", true))
		var header struct{ Alg string }
		if err != nil || json.Unmarshal(raw, &header) != nil || header.Alg == "" || strings.EqualFold(header.Alg, "none") {
			o.r.fault(s.where("protected"), "it must be the base64url of a JWS header with its alg")
		}
		if _, err := base64.RawURLEncoding.DecodeString(s.text("signature", true)); err != nil {
			o.r.fault(s.where("signature"), "it must be base64url without padding")
		}
	}
	if len(all) > 0 {
		o.r.skip("signatures", "%d, whose keys are not known here: whether they hold was not checked", len(all))
	}
}

func interfaces(o object, secured bool) (all []iface) {
	ours := 0
	for _, one := range o.objects("supportedInterfaces", true) {
		i := iface{at: one.at, binding: one.text("protocolBinding", true), version: one.text("protocolVersion", true), tenant: one.text("tenant", false), secured: secured}
		major, _, dotted := strings.Cut(i.version, ".")
		if i.version != "" && !dotted {
			o.r.fault(one.where("protocolVersion"), "%q must be MAJOR.MINOR, such as 1.0", i.version)
		}
		switch i.binding {
		case "JSONRPC", "HTTP+JSON":
			if i.url = one.address("url", true); i.url != "" && major == "1" {
				ours++
				all = append(all, i)
			}
		case "":
		case "GRPC":
			one.text("url", true)
		default:
			one.text("url", true)
			o.r.warn(one.where("protocolBinding"), "%q is none of JSONRPC, GRPC and HTTP+JSON", i.binding)
		}
	}
	if ours == 0 {
		o.r.warn("supportedInterfaces", "a mesh speaks A2A 1.x by JSONRPC and HTTP+JSON: there is none of these")
	}
	return all
}
