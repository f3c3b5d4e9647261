package transport

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// noticeInterval is how often one kind of event is written to the log, whoever causes it.
const noticeInterval = time.Second

// notices writes to the log what strangers can cause as often as they like: of each kind one line in a second, with the
// number of those left out before it.
type notices struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]*noticed
}

type noticed struct {
	at      time.Time
	omitted int
}

func newNotices(log *slog.Logger) *notices {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &notices{log: log, last: map[string]*noticed{}}
}

// warn writes a line. The kinds are constants, so that there are few.
func (n *notices) warn(kind string, attrs ...slog.Attr) {
	now := time.Now()
	n.mu.Lock()
	k := n.last[kind]
	if k == nil {
		k = &noticed{}
		n.last[kind] = k
	}
	if !k.at.IsZero() && now.Sub(k.at) < noticeInterval {
		k.omitted++
		n.mu.Unlock()
		return
	}
	omitted := k.omitted
	k.at, k.omitted = now, 0
	n.mu.Unlock()
	if omitted > 0 {
		attrs = append(attrs, slog.Int("omitted", omitted))
	}
	n.log.LogAttrs(context.Background(), slog.LevelWarn, kind, attrs...) //nolint:sloglint // the kinds are constants of this package
}

// The kinds of notices.
const (
	noticeHandshake = "cluster port: a connection was refused in its handshake"
	noticePeer      = "cluster port: a certificate was refused"
	noticeRefused   = "cluster port: another node does not accept this one; was it removed from the cluster?"
	noticeToken     = "cluster port: the node's own certificate cannot be used; is its token away?" //nolint:gosec // no credential
	noticeAccept    = "cluster port: connections cannot be accepted"
	noticeDropped   = "cluster port: connections of a node were closed"
	noticeFrame     = "cluster port: a node sent what is no frame of calls"
	noticePanic     = "cluster port: the handler of calls panicked"
)
