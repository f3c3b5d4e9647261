package api

import (
	"net"
	"sync"
)

// listener accepts a connection only while there are fewer than the server may have; the next one waits in the queue of
// the operating system. It closes once and says the same every time: Shutdown closes it before http.Server does.
type listener struct {
	net.Listener
	slots  chan struct{} // a token for each connection, shared by the listeners of a server
	closed chan struct{}
	close  func() error
}

func newListener(l net.Listener, slots chan struct{}) *listener {
	closed := make(chan struct{})
	return &listener{l, slots, closed, sync.OnceValue(func() error {
		close(closed)
		return l.Close()
	})}
}

// Accept waits for a slot and then for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{conn, sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *listener) Close() error { return l.close() }

// slotConn gives its slot back when it closes.
type slotConn struct {
	net.Conn
	free func()
}

func (c *slotConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
