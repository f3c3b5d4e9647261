package clustertest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Capture is everything that crosses the bridge of a network, from its beginning to its end.
type Capture struct {
	fd   int
	done chan struct{}
	stop chan struct{}
	once sync.Once

	packets int
	streams map[string]*stream // by addresses, ports and first sequence number: one direction of a TCP connection
	others  []byte             // frames that are no TCP over IPv4
	err     error
}

// stream is one direction of a TCP connection, put together from its segments however they came.
type stream struct {
	first uint32 // sequence number of data[0]
	data  []byte
}

const (
	// captureBuffer is how many bytes of packets the kernel keeps while nobody reads.
	captureBuffer = 64 << 20
	// mostStream is far above what a join sends: a sequence number beyond it belongs to no stream that is known.
	mostStream = 256 << 20
	etherHead  = 14
)

// NewCapture begins to capture. It ends with Close or with the test.
func NewCapture(tb testing.TB, n *Network) *Capture {
	tb.Helper()
	c := &Capture{fd: -1, done: make(chan struct{}), stop: make(chan struct{}), streams: map[string]*stream{}}
	err := onOwnThread(func() (err error) {
		if err := n.hub.enter(); err != nil {
			return err
		}
		// All interfaces of the hub. The protocol is in network byte order: packet(7).
		all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
		return err
	})
	if err != nil {
		tb.Fatalf("clustertest: packets cannot be captured: %v: run the tests as root with CAP_NET_RAW", err)
	}
	err = errors.Join(unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	if err != nil {
		_ = unix.Close(c.fd)
		tb.Fatalf("clustertest: packets cannot be captured: %v", err)
	}
	go c.read()
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// drain is how long packets are taken after the capture was stopped: what came before is in the buffer. Nodes that go on talking would
// keep it from ever being empty.
const drain = 200 * time.Millisecond

// read takes packets until the capture is stopped, and what came before that.
func (c *Capture) read() {
	defer close(c.done)
	frame := make([]byte, 256<<10) // above what one segment can have before it is cut for the wire
	var until time.Time            // set once the capture is stopped
	for {
		select {
		case <-c.stop:
			if until.IsZero() {
				until = time.Now().Add(drain)
			} else if time.Now().After(until) {
				return
			}
		default:
		}
		n, _, err := unix.Recvfrom(c.fd, frame, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil:
			c.err = err
			return
		case n > len(frame):
			c.err = fmt.Errorf("a packet of %d bytes", n)
			return
		default:
			c.packets++
			c.add(frame[:n])
		}
	}
}

// add puts a frame where it belongs. The same packet comes once for each interface that it crosses.
func (c *Capture) add(frame []byte) {
	if len(frame) < etherHead+20 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP || frame[etherHead+9] != unix.IPPROTO_TCP {
		c.others = append(c.others, frame...)
		return
	}
	ip := frame[etherHead:]
	head, size := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if size < head+20 || size > len(ip) {
		c.others = append(c.others, frame...)
		return
	}
	tcp := ip[head:size]
	payload := tcp[min(len(tcp), int(tcp[12]>>4)*4):]
	key := string(ip[12:20]) + string(tcp[:4])
	sequence, syn := binary.BigEndian.Uint32(tcp[4:]), tcp[13]&2 != 0
	if syn {
		if s := c.streams[key]; s != nil && s.first != sequence+1 {
			c.streams[fmt.Sprintf("%s %d", key, s.first)] = s // an earlier connection with the same ports
			delete(c.streams, key)
		}
		if c.streams[key] == nil {
			c.streams[key] = &stream{first: sequence + 1}
		}
		return
	}
	s := c.streams[key]
	if len(payload) == 0 {
		return
	}
	at := 0
	if s != nil {
		at = int(sequence - s.first)
	}
	if s == nil || at > mostStream {
		c.others = append(c.others, payload...)
		return
	}
	if short := at + len(payload) - len(s.data); short > 0 {
		s.data = append(s.data, make([]byte, short)...)
	}
	copy(s.data[at:], payload)
}

// Close ends the capture. It is an error when the kernel dropped packets because they came too fast.
func (c *Capture) Close() error {
	c.once.Do(func() {
		close(c.stop)
		<-c.done
		stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		c.err = errors.Join(c.err, err, unix.Close(c.fd))
		if err == nil && stats.Drops > 0 {
			c.err = errors.Join(c.err, fmt.Errorf("clustertest: the capture lost %d packets", stats.Drops))
		}
	})
	return c.err
}

// inClear returns what a stream of TLS 1.3 records shows before its keys are agreed: the hellos and early alerts (RFC 8446 section 5.1).
// An error when it is none. The last record may be cut off.
func inClear(b []byte) (shown []byte, sealed int, err error) {
	const head, most = 5, 1<<14 + 256
	for at := 0; at+head <= len(b); {
		kind, size := b[at], int(binary.BigEndian.Uint16(b[at+3:]))
		if kind < 20 || kind > 23 || b[at+1] != 3 || size > most {
			return shown, sealed, fmt.Errorf("no TLS record at byte %d: % x", at, b[at:at+head])
		}
		end := min(len(b), at+head+size)
		if kind == 23 {
			sealed += end - at - head
		} else {
			shown = append(shown, b[at+head:end]...)
		}
		at = end
	}
	return shown, sealed, nil
}
