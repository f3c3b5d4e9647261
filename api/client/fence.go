package client

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"cryptoserve/api/wire"
)

// staleReplica is the code of a problem of a node that has lost the others: it did nothing.
const staleReplica = "stale-replica"

type fenceKey struct{}

// WithFence returns a context under which each change that takes a right away adds to took how long it waited until no node of the
// cluster honoured the right any more. It stays 0 for other calls and for a cluster of one, where nobody is waited for. Calls
// under one such context must not run at the same time.
func WithFence(ctx context.Context, took *time.Duration) context.Context {
	return context.WithValue(ctx, fenceKey{}, took)
}

// noteFence reads what an answer says of its fence. What is no number says nothing.
func noteFence(ctx context.Context, h http.Header) {
	took, _ := ctx.Value(fenceKey{}).(*time.Duration)
	if took == nil {
		return
	}
	const most = int64(time.Hour / time.Microsecond)
	if n, err := strconv.ParseInt(h.Get(wire.FenceHeader), 10, 64); err == nil && n > 0 && n <= most {
		*took += time.Duration(n) * time.Microsecond
	}
}
