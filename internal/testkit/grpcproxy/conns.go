package grpcproxy

import (
	"net"
	"sync"
)

// conns is a listener that knows its connections and can break them.
type conns struct {
	net.Listener

	mu      sync.Mutex
	open    map[net.Conn]bool
	refuses bool
}

// Accept returns the next connection that is not refused.
func (c *conns) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if own := c.keep(conn); own != nil {
			return own, nil
		}
		reset(conn)
	}
}

func (c *conns) keep(conn net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuses {
		return nil
	}
	c.open[conn] = true
	return &tracked{Conn: conn, of: c}
}

func (c *conns) refuse(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses = yes
}

// cut breaks every connection and returns how many there were.
func (c *conns) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.open)
	for conn := range c.open {
		reset(conn)
		delete(c.open, conn)
	}
	return n
}

// reset closes a connection so that the other side sees it broken, not finished.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is broken either way
	}
	_ = conn.Close()
}

// tracked is a connection that leaves the list when it is closed.
type tracked struct {
	net.Conn
	of *conns
}

func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t.Conn)
	t.of.mu.Unlock()
	return t.Conn.Close()
}
