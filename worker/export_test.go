package worker

// WithEntries is c with another bound of a journal's entries.
func (c Config) WithEntries(n int) Config {
	c.maxEntries = n
	return c
}
