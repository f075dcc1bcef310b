package console

import (
	"cmp"
	"fmt"
	"slices"
)

// meshMap is who calls whom, laid out in layers: who is called by nobody stands left,
// and each agent right of those that call it.
type meshMap struct {
	W, H  int
	Nodes []mapNode
	Edges []mapEdge
}

type mapNode struct {
	Name, Sub string
	X, Y      int
	Down      bool // no live worker
}

type mapEdge struct {
	Path, Text string
	X, Y       int
	Bad        bool
}

// Sizes of the map, in pixels.
const (
	nodeW, nodeH = 168, 48
	layerGap     = 120
	rowGap       = 22
	mapPad       = 14
	mapNodesMost = 120
)

// drawMap lays out agents and their calls.
func drawMap(agents []agentCard, calls []flow) *meshMap {
	agents = agents[:min(len(agents), mapNodesMost)]
	layer := layersOf(agents, calls)
	m := &meshMap{}
	rows, at := map[int]int{}, map[string]*mapNode{}
	sorted := slices.Clone(agents)
	slices.SortStableFunc(sorted, func(a, b agentCard) int { // those that call or are called come first
		return cmp.Or(cmp.Compare(traffic(calls, b.Name), traffic(calls, a.Name)), cmp.Compare(a.Name, b.Name))
	})
	m.Nodes = make([]mapNode, 0, len(sorted))
	for _, a := range sorted {
		col := layer[a.Name]
		sub := fmt.Sprintf("%d of %d slots", a.Busy, a.Slots)
		if a.LiveWorkers == 0 {
			sub = "no live worker"
		}
		m.Nodes = append(m.Nodes, mapNode{Name: a.Name, Sub: sub, X: mapPad + col*(nodeW+layerGap), Y: mapPad + rows[col]*(nodeH+rowGap), Down: a.LiveWorkers == 0})
		at[a.Name] = &m.Nodes[len(m.Nodes)-1]
		rows[col]++
		m.W, m.H = max(m.W, mapPad*2+(col+1)*nodeW+col*layerGap), max(m.H, mapPad*2+rows[col]*(nodeH+rowGap)-rowGap)
	}
	for _, c := range calls {
		from, to := at[c.From], at[c.To]
		if from != nil && to != nil {
			m.Edges = append(m.Edges, edge(from, to, c))
		}
	}
	return m
}

// traffic is how many calls an agent takes part in.
func traffic(calls []flow, name string) (n int) {
	for _, c := range calls {
		if c.From == name || c.To == name {
			n += c.Count
		}
	}
	return n
}

// layersOf gives each agent its layer: one more than that of the deepest that calls it.
// A circle ends where it is closed.
func layersOf(agents []agentCard, calls []flow) map[string]int {
	layer := map[string]int{}
	for range min(len(agents), 12) {
		changed := false
		for _, c := range calls {
			if c.From != c.To && layer[c.To] < layer[c.From]+1 && layer[c.From]+1 <= 12 && !reaches(calls, c.To, c.From) {
				layer[c.To], changed = layer[c.From]+1, true
			}
		}
		if !changed {
			break
		}
	}
	return layer
}

// reaches reports whether calls lead from one agent to another one.
func reaches(calls []flow, from, to string) bool {
	seen, open := map[string]bool{from: true}, []string{from}
	for len(open) > 0 {
		at := open[0]
		open = open[1:]
		for _, c := range calls {
			if c.From != at || seen[c.To] {
				continue
			}
			if c.To == to {
				return true
			}
			seen[c.To] = true
			open = append(open, c.To)
		}
	}
	return false
}

// words are how often it was, and how often it failed.
func (c flow) words() string {
	if c.Failed > 0 {
		return num(c.Count) + ", " + num(c.Failed) + " failed"
	}
	return num(c.Count)
}

func edge(from, to *mapNode, c flow) mapEdge {
	x1, y1, x2, y2 := from.X+nodeW, from.Y+nodeH/2, to.X, to.Y+nodeH/2
	bend := max((x2-x1)/2, 40)
	if to.X <= from.X { // back, or to itself
		x1, x2, bend = from.X+nodeW, to.X+nodeW, 60
		if from == to {
			y1, y2 = y1-10, y2+10
		}
		return mapEdge{
			Path: fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2+bend, y2, x2, y2),
			Text: c.words(), X: max(x1, x2) + 34, Y: (y1 + y2) / 2, Bad: c.Failed > 0,
		}
	}
	return mapEdge{
		Path: fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2),
		Text: c.words(), X: (x1 + x2) / 2, Y: (y1+y2)/2 - 5, Bad: c.Failed > 0,
	}
}
