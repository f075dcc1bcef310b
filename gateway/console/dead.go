package console

import (
	"net/url"
	"slices"

	"agentmesh/gateway/api"
	"agentmesh/gateway/client"
)

// deadScreen is what nobody tries again by itself, grouped by why.
var deadScreen = screen{name: "dead", path: "/dead", title: "Dead letters", load: loadDead}

type deadPage struct {
	Tab    string
	Tabs   []tab
	Groups []deadGroup
	More   bool // older ones are not counted
}

// deadGroup is those that have failed for one reason.
type deadGroup struct {
	Code, Title string
	Count       int
	Query       string // of the list
	Bulk        string // of the page that does something with all of them
	Tasks       []client.Task
	Deliveries  []client.Delivery
}

// classes are what the last answer to a delivery that was given up means.
var classes = map[string]string{
	"config_error": "The receiver, or how the endpoint is set, is wrong: it answered with a refusal that a repeat does not change.", "throttled": "The receiver asked for fewer requests, to the last attempt.",
	"server_error": "The receiver failed, to the last attempt.", "redirect": "The receiver answered with another address. None is followed: change the URL.", "timeout": "The receiver gave no whole answer in time.",
	"connection_failed": "Nobody took the connection: it was refused or reset, or the name is not known.", "tls_error": "A certificate, of either side, was not taken.", "callback_blocked": "The mesh must not send to this address: --allow-private-callbacks and the policy say why.",
	"aborted": "The receiver wants this event no more.", "gone": "The receiver wants no event any more (410).", "egress_proxy": "The mesh's own proxy did not let it through.", "no_signing_key": "There was no key to sign with: rotate the webhook's secret.",
}

// deadMost is how many are looked at, and of each group shown.
const (
	deadMost  = 200
	deadShown = 5
)

func loadDead(v *visit) (any, error) {
	p := &deadPage{Tab: firstOf(v.q("tab"), "deliveries")}
	for _, one := range []tab{{Name: "deliveries", Text: "Deliveries given up"}, {Name: "tasks", Text: "Tasks failed for good"}} {
		one.Query, one.Here = with(v.r.URL.Query(), "tab", one.Name), one.Name == p.Tab
		p.Tabs = append(p.Tabs, one)
	}
	codes, err := v.api.Problems(v.ctx())
	if err != nil {
		return nil, err
	}
	if p.Tab == "tasks" {
		err = p.failed(v)
	} else {
		err = p.givenUp(v)
	}
	slices.SortStableFunc(p.Groups, func(a, b deadGroup) int { return b.Count - a.Count })
	for i := range p.Groups {
		p.Groups[i].Title = classes[p.Groups[i].Code]
		if at := slices.IndexFunc(codes, func(c api.ProblemPage) bool { return c.Code == p.Groups[i].Code }); at >= 0 {
			p.Groups[i].Title = codes[at].Title
		}
	}
	return p, err
}

// group is the one of a code, which is made where there is none.
func (p *deadPage) group(code string) *deadGroup {
	if i := slices.IndexFunc(p.Groups, func(g deadGroup) bool { return g.Code == code }); i >= 0 {
		return &p.Groups[i]
	}
	p.Groups = append(p.Groups, deadGroup{Code: code})
	return &p.Groups[len(p.Groups)-1]
}

func (p *deadPage) failed(v *visit) error {
	all, next, err := v.api.Tasks.List(v.ctx(), client.Filter{Statuses: []string{"failed"}, Limit: deadMost}, "")
	p.More = next != ""
	for _, t := range all {
		code := "unknown"
		if t.Error != nil {
			code = t.Error.Code
		}
		g := p.group(code)
		if g.Count++; len(g.Tasks) < deadShown {
			g.Tasks = append(g.Tasks, t)
		}
		q := url.Values{"status": {"failed"}, "error": {code}}
		g.Query, g.Bulk = "tasks?"+q.Encode(), "tasks/bulk?action=retry&"+q.Encode()
	}
	return err
}

func (p *deadPage) givenUp(v *visit) error {
	all, next, err := v.api.Deliveries.List(v.ctx(), client.DeliveryFilter{Status: "dead", Limit: deadMost}, "")
	p.More = next != ""
	for _, d := range all {
		code := "unknown"
		if a := lastAttempt(d); a != nil {
			code = a.Class
		}
		g := p.group(code)
		if g.Count++; len(g.Deliveries) < deadShown {
			g.Deliveries = append(g.Deliveries, d)
		}
		q := url.Values{"status": {"dead"}, "class": {code}}
		g.Query, g.Bulk = "deliveries?"+q.Encode(), "deliveries/bulk?"+q.Encode()
	}
	return err
}
