package store

import "github.com/nats-io/nats.go"

// Connection is the store's way to NATS. It heals itself until it is closed.
type Connection struct{ nc *nats.Conn }

// Connected reports whether the connection stands now.
func (c Connection) Connected() bool { return c.nc.IsConnected() }

// Closed reports whether the connection has ended for good.
func (c Connection) Closed() bool { return c.nc.IsClosed() }

// Disconnect ends the connection for good.
func (c Connection) Disconnect() { c.nc.Close() }

// MaxPayload is the size of the largest message that the server takes, in bytes.
func (c Connection) MaxPayload() int64 { return c.nc.MaxPayload() }

// ServerVersion is that of the server at the other end, empty while there is none.
func (c Connection) ServerVersion() string { return c.nc.ConnectedServerVersion() }

// Reconnected tells each time that the connection stands again, until stop.
func (c Connection) Reconnected() (again <-chan struct{}, stop func()) {
	told, done := make(chan struct{}, 1), make(chan struct{})
	connected := c.nc.StatusChanged(nats.CONNECTED)
	go func() {
		defer close(done)
		for range connected { // until stop, or the end of the connection
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, func() {
		c.nc.RemoveStatusListener(connected)
		<-done
	}
}

// listen calls f with the messages on a subject, until stop.
func (c *core) listen(subject string, f func(*nats.Msg)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(subject, f)
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
