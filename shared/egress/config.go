package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Config is the operator's part of the policy.
type Config struct {
	AllowPrivate Prefixes `flag:"allow-private-callbacks" env:"MESH_ALLOW_PRIVATE_CALLBACKS" help:"private networks (CIDR list) that callbacks may go to, with plain http and any port; mesh up on loopback allows 127.0.0.0/8,::1/128"`
	Deny         Prefixes `flag:"deny-callbacks" env:"MESH_DENY_CALLBACKS" help:"public networks (CIDR list) that callbacks must not go to"`
	Own          Names    `flag:"public-names" env:"MESH_PUBLIC_NAMES" help:"names that this mesh is reached by, separated by commas: callbacks must not go back to it"`
	Proxy        string   `flag:"egress-proxy" env:"MESH_EGRESS_PROXY" help:"http proxy that callbacks go through, such as http://proxy:3128"`
}

// Policy reads the config. The error names the flag.
func (c Config) Policy() (Policy, error) {
	p := Policy{Allow: c.AllowPrivate, Deny: c.Deny, Own: c.Own}
	if c.Proxy == "" {
		return p, nil
	}
	u, err := url.Parse(c.Proxy)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return p, errors.New("egress-proxy must be a URL such as http://proxy:3128")
	}
	p.Proxy = u
	return p, nil
}

// Prefixes is a list of networks, separated by commas in text form.
type Prefixes []netip.Prefix

// Loopback is this machine.
func Loopback() Prefixes {
	return Prefixes{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// Private is the networks that an operator may have services of their own in.
// Those of cloud metadata are not among them.
func Private() Prefixes {
	return append(Loopback(), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"))
}

// String is the text form.
func (p Prefixes) String() string {
	parts := make([]string, len(p))
	for i, one := range p {
		parts[i] = one.String()
	}
	return strings.Join(parts, ",")
}

// UnmarshalText reads the text form; an address means itself alone, none no
// network.
func (p *Prefixes) UnmarshalText(text []byte) error {
	*p = Prefixes{}
	for one := range strings.SplitSeq(string(text), ",") {
		one = strings.TrimSpace(one)
		if one == "" || one == "none" {
			continue
		}
		prefix, err := netip.ParsePrefix(one)
		if err != nil {
			addr, bad := netip.ParseAddr(one)
			if bad != nil {
				return fmt.Errorf("%q is no network such as 10.0.0.0/8", one)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		*p = append(*p, prefix.Masked())
	}
	return nil
}

// Names is a list of host names, separated by commas in text form.
type Names []string

// String is the text form.
func (n Names) String() string { return strings.Join(n, ",") }

// UnmarshalText reads the text form.
func (n *Names) UnmarshalText(text []byte) error {
	*n = Names{}
	for one := range strings.SplitSeq(string(text), ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if strings.ContainsAny(one, "/: ") {
			return fmt.Errorf("%q is no host name such as mesh.example.com", one)
		}
		*n = append(*n, one)
	}
	return nil
}
