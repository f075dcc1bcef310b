package store

import "github.com/nats-io/nats.go"

// Conn lets tests see what goes over the connection.
func (c Connection) Conn() *nats.Conn { return c.nc }
