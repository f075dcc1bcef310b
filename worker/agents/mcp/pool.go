package mcp

import (
	"encoding/json"
	"sync"
)

// Pool has one client for each server of a worker, however many agents use it.
type Pool struct {
	o Options

	mu      sync.Mutex
	clients map[string]*Client
}

// NewPool makes an empty pool.
func NewPool(o Options) *Pool { return &Pool{o: o, clients: map[string]*Client{}} }

// Client is the client of a server: the same one for the same configuration.
func (p *Pool) Client(cfg Config) *Client {
	raw, _ := json.Marshal(cfg) // texts, lists and maps of them
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[string(raw)]
	if c == nil {
		c = NewClient(cfg, p.o)
		p.clients[string(raw)] = c
	}
	return c
}

// Close ends all sessions; a nil pool has none.
func (p *Pool) Close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	var all []*Client
	for _, c := range p.clients {
		all = append(all, c)
	}
	clear(p.clients)
	p.mu.Unlock()
	var ended sync.WaitGroup
	for _, c := range all {
		ended.Go(c.Close)
	}
	ended.Wait()
}
