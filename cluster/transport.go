package cluster

import (
	"errors"
	"io"

	"github.com/hashicorp/raft"
)

// baseTransport is what Raft needs of a transport, with pre-vote, which Raft finds by type assertion.
type baseTransport interface {
	raft.Transport
	raft.WithPreVote
}

// transport closes two unsafe paths of hashicorp/raft 1.7.3, whatever transport is below.
//
// Heartbeats on a goroutine of the transport run beside Raft's main goroutine and may raise the term under it: an old
// leader can then store its entry under the term of a new one, and state machines diverge (hashicorp/raft#695). Without a
// handler they wait in the queue of all other messages.
//
// Pipelined replication can stop for good after one refusal of a follower (hashicorp/raft#611, #612). Without a pipeline
// there is one request in flight for each follower, as with MaxRPCsInFlight 1.
type transport struct {
	baseTransport
}

// SetHeartbeatHandler does nothing: the interface allows a transport to have no fast path.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntriesPipeline says that there is none; Raft then sends one request after the other.
func (transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// Close closes the transport below, if it can be closed.
func (t transport) Close() error {
	c, ok := t.baseTransport.(io.Closer)
	if !ok {
		return errors.ErrUnsupported
	}
	return c.Close()
}
